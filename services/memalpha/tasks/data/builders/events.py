"""PerLTQA: one chunk for each event of a character, with the dialogues about it.

The paper keeps a question if a strong model answers it from the chunks. Here it is kept if half of its
answer's words stand in the events that it is about, which no model has to be asked for.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from memalpha.agent.chunking import split_text
from memalpha.tasks.data.draft import Draft, Job
from memalpha.tasks.data.readers.perltqa import Character, Event, EventQuestion
from memalpha.tasks.instance import Chunk, Instance, Question

_WORD = re.compile(r"[^\W_]{3,}")


def build(rows: Iterable[Character], job: Job) -> Iterator[Instance]:
    """One instance for each character that the limits let through."""
    number = 1
    for character in rows:
        if instance := _instance(character, job.draft(number)):
            yield instance
            number += 1


def _instance(character: Character, draft: Draft) -> Instance | None:
    chunks: list[Chunk] = []
    places: dict[str, tuple[int, ...]] = {}
    for event in character.events:
        told = _chunks(event, character.name, draft.limits.chunk_tokens[1])
        places[event.id] = tuple(range(len(chunks), len(chunks) + len(told)))
        chunks += told
    for question in character.questions:
        evidence = tuple(sorted(place for id_ in _events(question, places) for place in places[id_]))
        if is_told(question.answer, " ".join(chunks[place].text for place in evidence)):
            draft.questions.append(
                Question(question.text, (question.answer,), "parts", evidence, question.kind)
            )
    return draft.finish(chunks)


def _chunks(event: Event, name: str, most: int) -> list[Chunk]:
    header = f"[What happened to {name}" + (f" on {event.time}]" if event.time else "]")
    return [
        Chunk(f"{header}\n{piece}", _iso(event.time))
        for piece in split_text(event.text, most)
        if piece.strip()
    ]


def _events(question: EventQuestion, places: Iterable[str]) -> list[str]:
    """The event of a key such as `4_0_0#1`, or all events below a key such as `4_0`."""
    key = question.key.partition("#")[0]
    return [id_ for id_ in places if id_ == key or id_.startswith(f"{key}_")]


def is_told(answer: str, text: str) -> bool:
    """Whether at least half of an answer's words stand in a text."""
    wanted = {word.lower() for word in _WORD.findall(answer)}
    known = {word.lower() for word in _WORD.findall(text)}
    return bool(wanted) and 2 * len(wanted & known) >= len(wanted)


def _iso(time: str) -> str:
    """The time where it is ISO 8601, else empty: none is made up."""
    with suppress(ValueError):
        return datetime.fromisoformat(time.strip()).isoformat()
    return ""
