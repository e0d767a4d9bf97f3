"""Streams, what is written about them, and how long each completion takes: all drawn from one seed.

Every chunk names itself in its `source`, bank and place, and the prompt shows that. So whoever gets a prompt
knows which completion it is, and a stub in another process draws the same time and the same calls. Times
belong to the call, not to the moment: every loop meets the same engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from memalpha.agent import wire
from memalpha.agent.tools import ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage
from memalpha.tasks.writers import insert, update

Kind = Literal["fixed", "log-normal"]
Key = tuple[int, int]
"""A completion: bank, place of the chunk."""

SIGMA = 0.6
NOBODY = "$SHOWN"
"""Stands in a text for the first memory that its prompt shows."""
CORE_EVERY = 4
"""Core memory is written anew after so many chunks."""

_NAMES = ("Ann", "Ben", "Carla", "Deniz", "Emil", "Fatima", "Goran", "Hana", "Ivo", "Jana")
_WORDS = (
    *("house", "street", "dog", "river", "table", "blue", "green", "walk", "bread", "letter", "train"),
    *("winter", "garden", "doctor", "music", "piano", "market", "school", "bridge", "window", "brother"),
    *("sister", "summer", "ticket", "kitchen", "mountain"),
)
_SOURCE = re.compile(r'<(?:new_)?chunk[^>\n]* source="(\d+) (\d+)"')
_SHOWN = re.compile(r"<semantic_memory[^\n]*\n\[(\w+)\]")


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to do.

    Attributes:
        banks: Streams, one for each bank.
        chunks: Least and most of a stream.
        words: Of a chunk; a word is about a token.
        inserts: Semantic, and as many episodic, of a chunk.
    """

    banks: int
    chunks: tuple[int, int]
    words: int
    inserts: int


@dataclass(frozen=True)
class Workload:
    """What a run is about; two of the same fields are the same.

    Attributes:
        size: How much.
        kind: All completions take the median, or log-normal times with `SIGMA`.
        median: Seconds of a completion.
        wire_format: That the calls are written in.
        seed: Of everything.
    """

    size: Size
    kind: Kind
    median: float
    wire_format: str
    seed: int

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Chunks of each bank."""
        chance = Random(f"lengths {self.seed}")
        return tuple(chance.randint(*self.size.chunks) for _ in range(self.size.banks))

    def stream(self, bank: int) -> list[Chunk]:
        """A bank's chunks."""
        return [self._chunk((bank, place)) for place in range(self.lengths[bank])]

    def _chunk(self, key: Key) -> Chunk:
        bank, place = key
        chance = Random(f"chunk {self.seed} {key}")
        text = "\n".join(
            f"{chance.choice(_NAMES)}: {_sentence(chance, 20)}" for _ in range(self.size.words // 20)
        )
        return Chunk(chunk_id=str(place), text=text, event_time=_day(place), source=f"{bank} {place}")

    @cached_property
    def seconds(self) -> dict[Key, float]:
        """How long each completion takes."""
        chance = Random(f"{self.kind} {self.seed}")
        keys = [(bank, place) for bank, length in enumerate(self.lengths) for place in range(length)]
        if self.kind == "fixed":
            return dict.fromkeys(keys, self.median)
        middle = math.log(self.median) if self.median else -math.inf
        return {key: math.exp(middle + SIGMA * chance.gauss(0, 1)) for key in keys}

    def bound(self, rows: int) -> float:
        """Seconds that no loop beats: all the work spread over all rows, or the longest stream by itself."""
        chains = [0.0] * self.size.banks
        for (bank, _), seconds in self.seconds.items():
            chains[bank] += seconds
        return max(*chains, sum(chains) / rows)

    @cached_property
    def texts(self) -> dict[Key, str]:
        """What is written about each chunk, with `NOBODY` for a memory that is shown."""
        form = wire.get(self.wire_format)
        return {key: form.render(self._calls(key)) for key in self.seconds}

    def _calls(self, key: Key) -> list[ToolCall]:
        chance, place = Random(f"calls {self.seed} {key}"), key[1]
        calls = [insert(_fact(chance)) for _ in range(self.size.inserts)]
        calls += [insert(_fact(chance), _day(place)) for _ in range(self.size.inserts)]
        if place:
            calls.append(update(NOBODY, _fact(chance)))
        if place % CORE_EVERY == 0:
            core = " ".join(_fact(chance) for _ in range(4))
            calls.append(ToolCall("memory_update", {"memory_type": "core_memory", "new_content": core}))
        return calls

    def written(self, messages: Sequence[ChatMessage]) -> str:
        """The calls for the chunk that a prompt shows."""
        text = self.texts[key_of(messages)]
        shown = next(filter(None, (_SHOWN.search(each.content) for each in messages)), None)
        return text.replace(NOBODY, shown[1] if shown else "none")


def key_of(messages: Sequence[ChatMessage]) -> Key:
    """Which completion a prompt asks for.

    Raises:
        ValueError: Its chunk is not one of a workload.
    """
    found = _SOURCE.search(messages[-1].content)
    if found is None:
        raise ValueError("the prompt's last message shows no chunk with bank and place as its source")
    return int(found[1]), int(found[2])


def _day(place: int) -> str:
    return f"2025-{1 + place // 28 % 12:02}-{1 + place % 28:02}"


def _fact(chance: Random) -> str:
    return f"{chance.choice(_NAMES)} {_sentence(chance, 16)}"


def _sentence(chance: Random, words: int) -> str:
    # A number keeps two memories from being the same.
    return f"{' '.join(chance.choices(_WORDS, k=words - 1))} {chance.randrange(10**6)}."
