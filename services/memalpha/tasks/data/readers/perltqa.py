"""PerLTQA (arXiv 2402.16288): what happened to a character, the dialogues about it, and questions.

Two files: the memory (`perltmem*.json`: profile, social relationships, events, dialogues whose id begins with
their event's) and the questions (`perltqa*.json`, nested by the memory that answers them). Questions about
the profile are left out, as the paper does: no event tells it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, encodable, list_of, read_json, text_of

_KINDS = ("social_relationship", "events", "dialogues")


@dataclass(frozen=True, slots=True)
class Event:
    """An event as text, with the dialogues that belong to it."""

    id: str
    time: str
    text: str


@dataclass(frozen=True, slots=True)
class EventQuestion:
    """A question and the key of the memory that answers it: an event's id, or one that begins with it."""

    kind: str
    key: str
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Character:
    """One character's events in file order, and the questions about them."""

    name: str
    events: tuple[Event, ...]
    questions: tuple[EventQuestion, ...]

    def lines(self) -> Iterator[str]:
        """What an instance would say of it."""
        yield from (question.text for question in self.questions)
        for event in self.events:
            yield from event.text.split("\n")


def read(memory: Path, questions: Path) -> Iterator[Character]:
    """Reads the characters that both files know."""
    asked = {name: found for name, found in _by_name(questions)}
    people = read_json(memory)
    if not isinstance(people, list):
        raise DatasetError(f"{memory.name} must be an array of characters")
    for number, person in enumerate(people, start=1):
        where = f"{memory.name}, character {number}"
        fields = person if isinstance(person, dict) else {}
        name = text_of(_object(fields, "profile", where), "Protagonist", f"{where}, profile")
        if name in asked:
            yield Character(name, tuple(_events(fields, where)), asked[name])


def _by_name(path: Path) -> Iterator[tuple[str, tuple[EventQuestion, ...]]]:
    people = read_json(path)
    for number, person in enumerate(people if isinstance(people, list) else [people], start=1):
        where = f"{path.name}, character {number}"
        if not isinstance(person, dict):
            raise DatasetError(f"{where} must be an object of one name")
        for name, kinds in person.items():
            yield name, tuple(_questions(kinds, f"{where}, {name}"))


def _questions(kinds: object, where: str) -> Iterator[EventQuestion]:
    fields = kinds if isinstance(kinds, dict) else {}
    for kind in _KINDS:
        for group in list_of(fields, kind, where) if kind in fields else []:
            if not isinstance(group, dict):
                raise DatasetError(f"{where}, {kind}: questions must stand under the memory's key")
            for key in group:
                for place, entry in enumerate(list_of(group, key, f"{where}, {kind}"), start=1):
                    yield _question(entry, kind, key, f"{where}, {kind} {key}, question {place}")


def _question(entry: object, kind: str, key: str, where: str) -> EventQuestion:
    fields = entry if isinstance(entry, dict) else {}
    return EventQuestion(kind, key, text_of(fields, "Question", where), text_of(fields, "Answer", where))


def _events(person: dict[str, Any], where: str) -> Iterator[Event]:
    dialogues = _object(person, "dialogues", where)
    for id_, event in _object(person, "events", where).items():
        at = f"{where}, event {id_}"
        fields = event if isinstance(event, dict) else {}
        parts = [str(fields.get(key, "")).strip() for key in ("summary", "content")]
        if not any(parts):
            raise DatasetError(f'{at} needs a "summary" or a "content"')
        told = [
            line
            for key, dialogue in dialogues.items()
            if key.partition("#")[0] == id_
            for line in _lines(dialogue, f"{where}, dialogue {key}")
        ]
        yield Event(id_, str(fields.get("Creation Time", "")), encodable("\n".join([*parts, *told]), at))


def _lines(dialogue: object, where: str) -> Iterator[str]:
    contents = _object(dialogue if isinstance(dialogue, dict) else {}, "contents", where)
    for time, messages in contents.items():
        yield f"[{time}]"
        for message in messages if isinstance(messages, list) else [messages]:
            yield from (str(part) for part in (message if isinstance(message, list) else [message]))


def _object(row: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict):
        raise DatasetError(f'{where}: "{key}" must be an object')
    return value
