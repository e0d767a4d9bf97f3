"""BEAM (ICLR 2026): one long chat each, with probing questions whose evidence is named by message id.

A folder of chats as published (`N/chat.json` with `N/probing_questions/probing_questions.json`), or the same
files side by side as `N.chat.json` and `N.probing_questions.json`, gzip allowed. Where a chat comes truncated
too, the truncated file counts, as in the authors' own pipeline. A message keeps its words and loses the
generator's mark at its end; it bears the date of its batch.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memalpha.sources.structured import kind_of
from memalpha.tasks.data.readers.files import (
    DatasetError,
    check_unique,
    encodable,
    list_of,
    read_json,
    text_of,
)

LONGEST = 64 * 1024
"""Bytes of a message that are kept: as many as one memory holds. One message of the set is a longer log."""

_CHATS = ("chat_trunecated.json", "chat.json")  # the published spelling
_QUESTIONS = "probing_questions.json"
_MARK = re.compile(r"->->\s*[\d,]+\s*$")
_ANCHOR = "%B-%d-%Y"
_GOLD = ("answer", "ideal_response", "ideal_answer", "ideal_summary", "expected_compliance")


@dataclass(frozen=True, slots=True)
class Files:
    """Where one chat lies."""

    number: int
    chat: Path
    questions: Path


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `time` is an ISO 8601 date or empty."""

    id: str
    role: str
    text: str
    time: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A probing question, its gold answer under whichever name the kind has, and the message ids it cites.

    `rubric` is what the paper's judge looks for, one nugget each. `sides` are the ids once more by the role
    that they play, such as what was said first and what updates it; empty where the file tells no roles.
    """

    kind: str
    text: str
    answer: str
    cited: tuple[str, ...]
    rubric: tuple[str, ...] = ()
    sides: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat with its probing questions."""

    number: int
    messages: tuple[Message, ...]
    probes: tuple[Probe, ...]

    def lines(self) -> Iterator[str]:
        """What instances would say of it."""
        for message in self.messages:
            yield from message.text.split("\n")
        for probe in self.probes:
            yield probe.text


def find(folder: Path, numbers: Collection[int] | None = None) -> list[Files]:
    """The chats of a folder, or those with the given numbers, in their order.

    Raises:
        DatasetError: the folder has no such chat.
    """
    found = {files.number: files for files in _files(folder)}
    missing = sorted(set(numbers or ()) - set(found))
    if missing or not found:
        wanted = f"chat {missing[0]}" if missing else "BEAM chat"
        raise DatasetError(f"there is no {wanted} in {folder}")
    return [found[number] for number in sorted(numbers or found)]


def read(files: Files) -> Chat:
    """Reads a chat.

    Raises:
        DatasetError: a file is not BEAM.
    """
    messages = tuple(_messages(read_json(files.chat), files.chat.name))
    check_unique((message.id for message in messages), f"{files.chat.name}: id")
    return Chat(files.number, messages, tuple(_probes(files.questions)))


def _files(folder: Path) -> Iterator[Files]:
    """Each chat with its questions; a truncated chat goes before the whole one."""
    seen: set[int] = set()
    for name in _CHATS:
        for chat in sorted(folder.glob(f"*/{name}")):
            if chat.parent.name.isdecimal() and (number := int(chat.parent.name)) not in seen:
                seen.add(number)
                yield Files(number, chat, chat.parent / "probing_questions" / _QUESTIONS)
        for chat in sorted(folder.glob(f"*.{name}*")):
            prefix, _, suffix = chat.name.partition(f".{name}")
            if prefix.isdecimal() and suffix in ("", ".gz") and (number := int(prefix)) not in seen:
                seen.add(number)
                yield Files(number, chat, folder / f"{prefix}.{_QUESTIONS}{suffix}")


def _messages(batches: object, name: str) -> Iterator[Message]:
    if not isinstance(batches, list):
        raise DatasetError(f"{name} is not BEAM: it must be an array of batches, not {kind_of(batches)}")
    for number, batch in enumerate(_batches(batches), start=1):
        groups = batch.get("turns") if isinstance(batch, dict) else None
        if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
            raise DatasetError(f'{name}, batch {number}: "turns" must be an array of arrays of messages')
        messages = [message for group in groups for message in group]
        time = _time(messages, f"{name}, batch {number}")
        for place, message in enumerate(messages, start=1):
            yield _message(message, time, f"{name}, batch {number}, message {place}")


def _batches(entries: list[Any]) -> Iterator[Any]:
    """The batches, which the longest chats keep by plan: `{"plan-1": [batches]}`."""
    for entry in entries:
        plans = entry if isinstance(entry, dict) and "turns" not in entry else None
        if plans and all(isinstance(plan, list) for plan in plans.values()):
            for plan in plans.values():
                yield from plan
        else:
            yield entry


def _message(message: object, time: str, where: str) -> Message:
    fields = message if isinstance(message, dict) else {}
    id_, content = fields.get("id"), fields.get("content")
    if not isinstance(id_, (int, str)) or not isinstance(content, str):
        raise DatasetError(f'{where} must be an object with "id" and the string "content"')
    text = encodable(_MARK.sub("", content), where).encode()[:LONGEST].decode(errors="ignore")
    return Message(str(id_), str(fields.get("role", "")), text, time)


def _time(messages: list[Any], where: str) -> str:
    """The date that the batch's first dated message names, such as `March-15-2024`."""
    anchors = (message.get("time_anchor") for message in messages if isinstance(message, dict))
    anchor = next((anchor for anchor in anchors if anchor), None)
    if anchor is None:
        return ""
    try:
        return datetime.strptime(anchor, _ANCHOR).strftime("%Y-%m-%d")
    except (TypeError, ValueError) as error:
        message = f'"time_anchor" must be a date such as March-15-2024, not {anchor!r}'
        raise DatasetError(f"{where}: {message}") from error


def _probes(path: Path) -> Iterator[Probe]:
    kinds = read_json(path)
    if not isinstance(kinds, dict) or not all(isinstance(entries, list) for entries in kinds.values()):
        raise DatasetError(f"{path.name} must be an object of arrays, one for each type of question")
    for kind, entries in kinds.items():
        for place, entry in enumerate(entries, start=1):
            yield _probe(entry, kind, f"{path.name}, {kind} {place}")


def _probe(entry: object, kind: str, where: str) -> Probe:
    fields = entry if isinstance(entry, dict) else {}
    gold = next((str(fields[key]) for key in _GOLD if fields.get(key)), "")
    sources = fields.get("source_chat_ids")
    cited = tuple(dict.fromkeys(_ids(sources)))
    sides = tuple(map(tuple, map(_ids, sources.values()))) if isinstance(sources, dict) else ()
    rubric = tuple(str(nugget) for nugget in _rubric(fields, where))
    return Probe(kind, text_of(fields, "question", where), encodable(gold, where), cited, rubric, sides)


def _rubric(fields: dict[str, Any], where: str) -> list[Any]:
    return list_of(fields, "rubric", where) if fields.get("rubric") else []


def _ids(cited: object) -> Iterator[str]:
    """Message ids, however deep the file nests them by the role they play."""
    if isinstance(cited, dict):
        cited = list(cited.values())
    if isinstance(cited, list):
        for part in cited:
            yield from _ids(part)
    elif isinstance(cited, (int, str)) and not isinstance(cited, bool):
        yield str(cited)
