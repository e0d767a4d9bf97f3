"""First person turned into third, so that a sentence can stand without its turn.

"I adopted a dog", said by Caroline, becomes "Caroline adopted a dog". Only where the rules are sure of the
verb: a sentence with "we", "you", an unknown verb after "I", or a second verb that would need another
ending is left as it is and gets its speaker in front instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from memalpha.policy.extractive.lexicon import (
    ADVERBS,
    BASE_VERBS,
    GREETING,
    IRREGULAR_PAST,
    MODALS,
    NOT_PAST,
)

_UNSAFE = re.compile(
    r"\b(?:we|us|our|ours|ourselves|myself|mine|you|your|yours|y['’]all|ya|u)\b|[“”\"].*\bI\b|\b(?:am|do"
    r"|did|have|was|can|should|will|would|could) I\b",
    re.IGNORECASE,
)
_FIRST = re.compile(r"\bI\b|\b(?:me|my)\b", re.IGNORECASE)
_ADVERB = rf"(?:{'|'.join(sorted(ADVERBS))}|no longer|\w+ly)"
_SUBJECT = re.compile(
    rf"\bI(?:['’](?P<short>m|ve|d|ll))?(?P<adverbs>(?: {_ADVERB}\b)*) (?P<verb>[A-Za-z]+(?:['’]t)?)\b"
)
_SECOND_VERB = re.compile(rf"\b(?:and|or|but)(?: {_ADVERB})* (?P<verb>[a-z]+)\b")
_MINE = re.compile(r"\b(?P<word>my|me)\b(?!-)", re.IGNORECASE)
_CLAUSE = re.compile(r"(?:^|[,;:–—-]|\b(?:and|but|or|because|that|when|if|so|while|since))\s$")
_OPENING = re.compile(
    rf"(?:(?:{'|'.join(sorted(GREETING))}|well|so|oh|ah|um|hmm|anyway|actually|btw|by the way|also|and"
    rf"|but|plus|anyways|"
    r"guess what|(?:big|good|great|bad|exciting|sad) news|fun fact|quick update|small update|fyi|heads up"
    r"|oh and|sounds good|no worries|you know|i mean|honestly|speaking of which|good question|no problem)"
    r"(?: (?P<name>[A-Z][\w'’-]*))?(?:\s*[,!.…;:—–-]+\s*| (?=I\b|my\b))|(?P<called>[A-Z][\w'’-]*)[,!.]+ )",
    re.IGNORECASE,
)
_IRREGULAR_PRESENT = {
    "am": "is",
    "have": "has",
    "haven't": "hasn't",
    "do": "does",
    "don't": "doesn't",
    "go": "goes",
}


def strip_opening(sentence: str, names: Iterable[str]) -> str:
    """Takes interjections and calls by name off a sentence ("Thanks, Mel, I …")."""
    known = tuple(name.lower() for name in names)
    text = sentence
    while match := _OPENING.match(text):
        name = match["called"]
        if name and not is_called(name, known):
            break
        text = text[match.end() :]
    if text is not sentence and text.startswith("for "):
        return ""  # what the thanks were for
    closing = re.search(r", ([A-Z][\w'’-]*)(?=[.!]*$)", text)
    if closing and is_called(closing[1], known):
        text = text[: closing.start()] + text[closing.end() :]
    return text[:1].upper() + text[1:] if text is not sentence else text


def is_called(name: str, known: Iterable[str]) -> bool:
    """Whether `name` is one of the known lower-case names or a short form of one ("Mel" for "melanie")."""
    short = name.lower()
    return any(short == full or (len(short) >= 3 and full.startswith(short)) for full in known)


def third_person(sentence: str, name: str) -> str | None:
    """The sentence with `name` for "I", "me" and "my"; None if it has none or the rules are not sure."""
    if not _FIRST.search(sentence) or _UNSAFE.search(sentence):
        return None
    if re.search(rf"\bI(?:['’]m| am) {re.escape(name)}\b", sentence):
        return None  # who they are is said by the words themselves
    present: list[str] = []
    text = _SUBJECT.sub(lambda match: _conjugated(match, name, present), sentence)
    if re.search(r"\bI\b", text):
        return None
    if present and any(verb["verb"] in BASE_VERBS for verb in _SECOND_VERB.finditer(sentence)):
        return None
    named = text.find(name)
    return _MINE.sub(lambda match: _possessive(match, name, named), text)


def _conjugated(match: re.Match[str], name: str, present: list[str]) -> str:
    """Replaces "I … verb"; leaves the match alone, "I" and all, if the verb is not known."""
    short, adverbs, verb = match["short"], match["adverbs"], match["verb"]
    if short:
        full = {"m": "is", "ve": "has", "ll": "will"}.get(short) or _had_or_would(verb)
        present.extend([full] if short in "mve" else [])
        return f"{name} {full}{adverbs} {verb}"
    lower = verb.lower().replace("’", "'")
    if lower in MODALS or lower in IRREGULAR_PAST or _is_regular_past(lower):
        return f"{name}{adverbs} {verb}"
    if lower in _IRREGULAR_PRESENT or lower in BASE_VERBS:
        present.append(lower)
        return f"{name}{adverbs} {_IRREGULAR_PRESENT.get(lower) or _with_s(lower)}"
    return match[0]


def _is_regular_past(verb: str) -> bool:
    return verb.endswith("ed") and verb not in NOT_PAST and len(verb) > 3


def _had_or_would(verb: str) -> str:
    return "had" if verb in ("been", "gone", "better", "never") or _is_regular_past(verb) else "would"


def _with_s(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "s"


def _possessive(match: re.Match[str], name: str, named: int) -> str:
    if match["word"].lower() == "me":
        return name
    opens = _CLAUSE.search(match.string, 0, match.start())
    return f"{name}'s" if opens or not 0 <= named < match.start() else "their"
