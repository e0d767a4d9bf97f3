"""What kind of answer a question asks for, and which words of a sentence are of that kind.

Rules in the manner of early question answering by patterns: a question's first words say what is asked for,
and of the sentence that is taken for the answer only words of that kind are given. A sentence without such
words is no answer to it. Where no kind is known, the answer is a stretch of the sentence without the
question's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from memalpha.policy.extractive.dates import parse_time, resolve, written
from memalpha.policy.extractive.lexicon import MONTHS, NUMBERS, STOP, WEEKDAYS
from memalpha.policy.extractive.segment import Sentence
from memalpha.policy.extractive.similarity import gist, stem

Finder = Callable[[str, Sentence], str]
"""Takes a question and a sentence; the answer's words, or nothing."""

LONGEST = 12
"""Words of an answer whose kind is not known."""

_MONTH = "|".join(each.capitalize() for each in MONTHS)
_DATE = re.compile(
    rf"\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}} (?:{_MONTH}) \d{{4}}"
    rf"|the (?:week|weekend|night) (?:before|after|of) \d{{1,2}} (?:{_MONTH}) \d{{4}}"
    rf"|\w+ weeks? before \d{{1,2}} (?:{_MONTH}) \d{{4}}|(?:{_MONTH}),? \d{{4}}|\b(?:19|20)\d{{2}}\b"
)
_NUMBER_WORDS = "|".join(
    [*(word for word in NUMBERS if word not in ("a", "an", "zero")), "dozen", "twice", "once"]
)
_NUMBER = re.compile(rf"\b(?:\d[\d,.]*\d|\d|{_NUMBER_WORDS})\b(?! (?:of|another)\b)", re.IGNORECASE)
_COUNT = rf"(?:\d+|a|an|{_NUMBER_WORDS}|few|several|couple of)"
_SPAN = re.compile(
    rf"\b(?:{_COUNT} )+(?:second|minute|hour|day|week|month|year)s?\b|\bsince (?:\w+ )?\d{{4}}\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b[A-Z][\w'’&-]*(?:(?: (?:of|the|and|de|in|for))* [A-Z][\w'’&-]*)*")
_PROPER = r"(?:the |a |an |my |our )?[A-Z][\w'’&-]*(?:,? [A-Z][\w'’&-]*)*"
_PLACE = re.compile(rf"\b(?:in|at|to|from|near|into|visited|visiting) ({_PROPER})")
_SOME_PLACE = re.compile(r"\b(?:in|at|to|near|into|on) ((?:the|a|an|my|our|her|his|their) \w+(?: \w+)?)")
_WORD = re.compile(r"[^\W_]+(?:['’.:@+-][^\W_]+)*")
_YES_NO = re.compile(
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b", re.IGNORECASE
)
_COMMON = frozenset(each.capitalize() for each in (*STOP, *WEEKDAYS, *MONTHS))
_ASKS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"\bhow long\b", "span"),
        (r"\bhow (?:many|much|old|often)\b|\bwhat (?:number|age|percentage)\b", "number"),
        (r"\bwhen\b|\b(?:what|which) (?:date|day|month|year|time)\b", "date"),
        (r"\bwhere\b|\b(?:what|which) (?:city|country|state|place|town|location)\b", "place"),
        (r"\bwho\b|\bwhose\b|\bwhom\b", "name"),
    )
)


def kind(question: str) -> str:
    """`date`, `number`, `span` of time, `place`, `name`, `yes or no`, or nothing."""
    if _YES_NO.match(question) and " or " not in question:
        return "yes or no"
    return next((kind for pattern, kind in _ASKS if pattern.search(question)), "")


def find(question: str, sentence: Sentence) -> str:
    """The words of the sentence that are of the kind that is asked for; nothing if there are none."""
    return _FINDERS[kind(question)](question, sentence)


def _date(question: str, sentence: Sentence) -> str:
    """A date of the sentence, relative ones resolved; else the day on which it was said."""
    said = parse_time(sentence.time)
    found = _DATE.search(resolve(sentence.text, said).text)
    if found:
        return found[0]
    return written(said) if said else ""


def _matched(pattern: re.Pattern[str]) -> Finder:
    def finder(question: str, sentence: Sentence) -> str:
        found = pattern.search(sentence.text)
        return found[0] if found else ""

    return finder


def _place(question: str, sentence: Sentence) -> str:
    for pattern in (_PLACE, _SOME_PLACE):
        for found in pattern.finditer(sentence.text):
            if not gist(found[1]).stems <= gist(question).stems:
                return found[1]
    return ""


def _name(question: str, sentence: Sentence) -> str:
    """A name that the question does not have: one of the sentence, else who says it."""
    known = {stem(word.lower()) for word in _WORD.findall(question)}
    for found in _NAME.finditer(sentence.text):
        words = [word for word in _WORD.findall(found[0]) if word not in _COMMON]
        if words and not all(stem(word.lower()) in known for word in words):
            return found[0]
    return "" if not sentence.speaker or stem(sentence.speaker.lower()) in known else sentence.speaker


def _yes_no(question: str, sentence: Sentence) -> str:
    return "no" if gist(sentence.text).negated != gist(question).negated else "yes"


def _new_words(question: str, sentence: Sentence) -> str:
    """What follows the last of the question's words, else the longest stretch between them."""
    known = gist(question).stems
    said = resolve(sentence.text, parse_time(sentence.time)).text
    stretches: list[list[str]] = [[]]
    for word in _WORD.findall(said):
        if stem(word.lower()) in known:
            stretches.append([])
        else:
            stretches[-1].append(word)
    chosen = max(reversed(stretches), key=lambda words: sum(word.lower() not in STOP for word in words))
    while chosen and chosen[0].lower() in STOP:
        chosen = chosen[1:]
    while chosen and chosen[-1].lower() in STOP:
        chosen = chosen[:-1]
    return " ".join(chosen[:LONGEST])


_FINDERS: dict[str, Finder] = {
    "date": _date,
    "number": _matched(_NUMBER),
    "span": _matched(_SPAN),
    "place": _place,
    "name": _name,
    "yes or no": _yes_no,
    "": _new_words,
}
