"""What a teacher writes about streams, through the real path: the agent's loop over a bank in RAM.

The teacher sees the prompt alone, in the words of the pack that the model is going to read, and later chunks
show the memory that its mistakes left behind. A file has one JSON line for each stream, its step being the
stream's number; whoever finds one that ends early goes on where it ends. No torch here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import memcore
from memalpha.agent import AgentSettings
from memalpha.errors import CorruptionError, InternalError, InvalidInputError, make
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.memory import BANK
from memalpha.tasks.ledger.writers import TEACHER, Rates, Teacher
from memalpha.tasks.memorized import memorize
from memalpha.tasks.writers import ScriptedPolicy, Writer
from memalpha_trainer.rollouts.seeds import seed
from memalpha_trainer.runs import lines
from memalpha_trainer.runs.lines import JsonLines
from memalpha_trainer.warmstart.example import Example

Progress = Callable[[int, int], None]
"""Called with streams done and streams in all."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is taught, on streams of the training split.

    Attributes:
        streams: How many.
        units: Their lengths in units of six chunks, in turns. Longer ones show fuller memories.
        rates: How often the teacher is wrong.
        seed: Of streams and mistakes.
    """

    streams: int = 360
    units: tuple[int, ...] = (1, 1, 4, 13)
    rates: Rates = TEACHER
    seed: int = 0

    def stream(self, number: int) -> Instance:
        """A stream by its number."""
        return ledger(seed(self.seed, "lesson", number), self.units[number % len(self.units)])

    def teacher(self, number: int) -> Teacher:
        """Who writes about it."""
        return Teacher(self.rates, seed(self.seed, "teacher", number))


def taught(
    lessons: Lessons, settings: AgentSettings, path: Path, progress: Progress = lambda done, of: None
) -> list[Example]:
    """The examples of all streams; those that the file lacks are made and appended to it.

    Args:
        lessons: What is taught. The file's are taken to be the same but for their number.
        settings: Of the agent.
        path: The file, which may not exist yet.
        progress: Is told of each stream.

    Raises:
        CorruptionError: DAMAGED_LINE: the file holds something else.
        InvalidInputError: OTHER_LESSONS: the file holds other streams.
    """
    examples = []
    done = _done(path)
    with closing(JsonLines(path)) as file:
        for number in range(lessons.streams):
            stream = lessons.stream(number)
            if number < len(done):
                examples += _read(done[number], stream, path)
            else:
                new = trajectory(stream, lessons.teacher(number), settings)
                file.append([_line(number, stream, new)])
                examples += new
            progress(number + 1, lessons.streams)
    return examples


def trajectory(stream: Instance, writer: Writer, settings: AgentSettings) -> list[Example]:
    """What a writer is shown and writes, chunk by chunk.

    Raises:
        InternalError: WRITER_FAILED: a chunk could not be memorized.
    """
    with memcore.Store.in_memory() as store:
        done = asyncio.run(memorize(store, stream, ScriptedPolicy("teacher", writer), settings, BANK))
    examples: list[Example] = []
    for outcome in done.outcomes:
        if outcome.completion is None or outcome.failure:
            raise make(InternalError, "WRITER_FAILED", f"{stream.instance_id}: {outcome.failure}")
        system, user = (each.content for each in outcome.prompt.messages)
        examples.append(Example(system, user, outcome.completion.text))
    return examples


def _done(path: Path) -> list[dict[str, Any]]:
    """Streams that the file has, in order."""
    try:
        return [json.loads(line) for line in lines.read(path)]
    except (CorruptionError, ValueError) as error:
        raise _damaged(str(error), path) from None


def _damaged(what: str, path: Path) -> CorruptionError:
    return make(CorruptionError, "DAMAGED_LINE", f"{what}; {_anew(path)}", path=path)


def _anew(path: Path) -> str:
    return f"remove {path}, and its lessons are made anew"


def _line(number: int, stream: Instance, examples: list[Example]) -> str:
    shown = [asdict(each) for each in examples]
    return json.dumps({"step": number, "stream": stream.instance_id, "examples": shown})


def _read(record: dict[str, Any], stream: Instance, path: Path) -> list[Example]:
    try:
        found, examples = record["stream"], [Example(**each) for each in record["examples"]]
    except (KeyError, TypeError) as error:
        raise _damaged(f"{path} holds a line of another shape: {error!r:.200}", path) from None
    if found != stream.instance_id:
        message = f"{path} holds {found} where these lessons have {stream.instance_id}; {_anew(path)}"
        raise make(InvalidInputError, "OTHER_LESSONS", message, path=path)
    return examples
