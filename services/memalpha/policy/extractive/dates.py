"""Dates inside a sentence, resolved against the time at which it was said.

A relative date means nothing once the sentence stands alone, so it is replaced by what it stands for: an
exact day ("yesterday" becomes "on 7 May 2023") or, where the words say no more, a period ("last week"
becomes "in the week before 8 May 2023"). Only an exact day becomes an event time. Without a time to resolve
against nothing is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from memalpha.policy.extractive.lexicon import BASE_VERBS, MONTHS, NUMBERS, PAST, WEEKDAYS

_DAY = (
    r"(?P<day>mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?|sat(?:urday)?"
    r"|sun(?:day)?)"
)
_MONTH_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_MONTH = rf"(?P<month>{_MONTH_NAME})"
# "Friday, 1 March" is not the nearest Friday; which day it is, the date says.
_DATE_FOLLOWS = rf",? (?:the )?(?:{_MONTH_NAME}\.? \d|\d{{1,2}}(?:st|nd|rd|th)\b|\d{{1,2}} {_MONTH_NAME}\b)"
_COUNT = r"(?P<count>\d{1,3}|" + "|".join(NUMBERS) + ")"
_WORDS = re.compile(r"[a-z]+|\d+")
_HINTS = frozenset(
    ["yesterday", "tomorrow", "today", "tonight", "last", "this", "next", "ago"]
    + [name[:length] for name in (*MONTHS, *WEEKDAYS) for length in range(3, len(name) + 1)]
)
_FUTURE = re.compile(
    r"\b(?:will|going to|gonna|next|plan|planning|'ll|’ll|upcoming|tomorrow|soon|have to|need to)\b",
    re.IGNORECASE,
)
_PRESENT = re.compile(
    rf"\b(?:I|we|they) (?:{'|'.join(sorted(BASE_VERBS))})\b|(?:\b(?:am|is|are)|['’](?:m|s|re)) \w+ing\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Dated:
    """A sentence, dates resolved; `day` is its first exact day, `found` says whether it has any date."""

    text: str
    day: date | None = None
    found: bool = False


def parse_time(value: str) -> date | None:
    """The day of an ISO 8601 date or date-time; None if there is none."""
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def resolve(sentence: str, said: date | None) -> Dated:
    """Replaces relative dates in `sentence`, said on `said`, and finds its exact day."""
    if not any(word in _HINTS or word.isdigit() for word in _WORDS.findall(sentence.lower())):
        return Dated(sentence)
    future = bool(_FUTURE.search(sentence))
    text, day, found = sentence, None, False
    for pattern, meaning in _RULES:
        match = pattern.search(text)
        if match is None:
            continue
        found = True
        try:
            words, exact = meaning(match, said, future)
        except (OverflowError, ValueError):  # a date that no calendar has, such as 31 June or 900 years ago
            continue
        text = text[: match.start()] + words + text[match.end() :]
        day = day or exact
    return Dated(_sentence_case(text, sentence), day, found)


def written(day: date) -> str:
    """`8 May 2023`."""
    return f"{day.day} {MONTHS[day.month - 1].capitalize()} {day.year}"


_Meaning = tuple[str, date | None]
_Rule = Callable[[re.Match[str], date | None, bool], _Meaning]


def _sentence_case(text: str, original: str) -> str:
    return text[:1].upper() + text[1:] if original[:1].isupper() else text


def _number(word: str) -> int:
    return NUMBERS.get(word.lower()) or int(word)


def _offset(days: int, prefix: str = "on ") -> _Rule:
    def meaning(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
        if said is None:
            return match[0], None
        day = said + timedelta(days=days)
        return prefix + written(day), day

    return meaning


def _weekday(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    which = (match["which"] or "").lower()
    if said is None or (not which and not match["on"]):
        return match[0], None
    index = next(i for i, name in enumerate(WEEKDAYS) if name.startswith(match["day"].lower()[:3]))
    ahead = (index - said.weekday()) % 7
    backward = which in ("last", "this past", "past") or (
        not future and which not in ("this", "next", "this coming") and not _plans(match.string)
    )
    step = ahead - 7 if backward else ahead or 7
    day = said + timedelta(days=step)
    return f"on {written(day)}{match['part'] or ''}", day


def _plans(sentence: str) -> bool:
    """Whether it is in the present tense, in which people say what they will do on a weekday."""
    return _PRESENT.search(sentence) is not None and not PAST.search(sentence)


def _ago(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    if said is None:
        return match[0], None
    count, unit = _number(match["count"]), match["unit"].lower()
    if unit == "day":
        day = said - timedelta(days=count)
        return "on " + written(day), day
    if unit == "year":
        return f"in {_year(said.year - count)}", None
    if unit == "month":
        return "in " + _month_of(said, -count), None
    return f"{match['count']} week{'s' if count > 1 else ''} before {written(said)}", None


def _vague(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    return (f"{match[1]} before {written(said)}" if said else match[0]), None


def _period(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    if said is None:
        return match[0], None
    which, unit = match["which"].lower(), match["unit"].lower()
    step = {"last": -1, "past": -1, "this past": -1, "this": 0, "next": 1}[which]
    if unit == "year":
        return f"in {_year(said.year + step)}", None
    if unit == "month":
        return "in " + _month_of(said, step), None
    where = "of" if step == 0 else ("after" if step > 0 else "before")
    return f"{'on' if unit == 'weekend' else 'in'} the {unit} {where} {written(said)}", None


def _month_of(said: date, step: int) -> str:
    months = said.year * 12 + said.month - 1 + step
    return f"{MONTHS[months % 12].capitalize()} {_year(months // 12)}"


def _year(year: int) -> int:
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    return year


def _iso(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    return match[0], date.fromisoformat(match[0])


def _calendar(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    month = next(i for i, name in enumerate(MONTHS, 1) if name.startswith(match["month"].lower()[:3]))
    number = int(match["number"])
    if match["year"]:
        return match[0], date(int(match["year"]), month, number)
    if said is None:
        return match[0], None
    days = [date(year, month, number) for year in (said.year - 1, said.year, said.year + 1)]
    if future or not PAST.search(match.string):
        return match[0], next(day for day in days if day >= said)
    return match[0], min(days, key=lambda day: abs(day - said))


def _named(match: re.Match[str], said: date | None, future: bool) -> _Meaning:
    return match[0], None


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_RULES: list[tuple[re.Pattern[str], _Rule]] = [
    (_compile(r"\b\d{4}-\d{2}-\d{2}\b"), _iso),
    (
        _compile(rf"\b(?P<number>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}\b\.?(?:,? (?P<year>\d{{4}}))?"),
        _calendar,
    ),
    (_compile(rf"\b{_MONTH}\.? (?P<number>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<year>\d{{4}}))?"), _calendar),
    (_compile(r"\bthe day before yesterday\b"), _offset(-2)),
    (_compile(r"\bthe day after tomorrow\b"), _offset(2)),
    (
        _compile(
            r"(?<!like )(?<!like just )(?<!like only )\b(?:yesterday(?: (?:morning|afternoon|evening"
            r"|night))?)\b(?!['’])"
        ),
        _offset(-1),
    ),
    (_compile(r"\blast night\b(?!['’])"), _offset(-1, "on the night of ")),
    (_compile(r"\b(?:tomorrow(?: (?:morning|afternoon|evening|night))?)\b(?!['’])"), _offset(1)),
    (_compile(r"\b(?:today|tonight|this (?:morning|afternoon|evening))\b(?!['’])"), _offset(0)),
    (
        _compile(
            rf"\b(?P<on>on )?(?:(?P<which>last|this past|past|this coming|this"
            rf"|next) )?{_DAY}\b(?P<part> (?:morning|afternoon|evening|night))?(?!['’]|{_DATE_FOLLOWS})"
        ),
        _weekday,
    ),
    (_compile(rf"\b(?:about |around )?{_COUNT} (?P<unit>day|week|month|year)s? ago\b"), _ago),
    (_compile(r"\b((?:a few|a couple(?: of)?|several|some) (?:days|weeks|months|years)) ago\b"), _vague),
    (
        _compile(
            r"(?<!the )\b(?P<which>last|this past|this|next) (?P<unit>weekend|week|month|year)\b(?!['’-])"
        ),
        _period,
    ),
    (
        _compile(
            rf"\b(?:in|since|last|this|next|by) (?:{_MONTH}|summer|winter|spring|fall|autumn|\d{{4}})\b"
        ),
        _named,
    ),
]
