"""Text as words that can be compared: dates, numbers and units written in one way, articles left out.

`May 7th, 2023`, `7 May 2023` and `2023-05-07` all become `2023 may d7`; so `7 May` and `2023` are spans of
them. `eight weeks` and `8 weeks` become `8 week`, `1,000` becomes `1000`, `minus five` becomes `-5`, which is
not `5`, and `&` is `and`. A date of numbers alone, such as `5/7/2023`, is left as it is: nobody can tell
which is the month.
Both sides of a comparison go through here, so a change that looks odd alone, `one of them` to `1 of them`,
changes nothing.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CALENDAR: dict[str, str] = {**dict.fromkeys(_MONTHS, "month"), **dict.fromkeys(_WEEKDAYS, "weekday")}
"""Names of which there are rows, and of what they are."""
# Short forms are three letters, and `sept`.
_MONTH = "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + "|sept"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_YEAR}-(?P<number>0[1-9]|1[0-2])-{_DAY}(?:t(?=\d\d:)|\b)",
        rf"\b{_DAY}(?:\s+of)?\s+(?P<name>{_MONTH})\b\.?(?:,?\s+{_YEAR}\b)?",
        rf"\b(?P<name>{_MONTH})\b\.?\s+{_DAY}\b(?:,?\s+{_YEAR}\b)?",
        rf"\b(?P<name>{_MONTH})\b\.?,?\s+(?:of\s+)?{_YEAR}\b",
    )
)

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_ORDINALS = {
    **{"first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th"},
    **{"seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th"},
}
_UNITS = frozenset(
    (
        *("second", "minute", "hour", "day", "night", "week", "month", "year", "decade", "time"),
        *("dollar", "euro", "pound", "percent"),
    )
)

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_MONEY = re.compile(r"([$€£])\s?(\d+(?:\.\d+)?)")
_CURRENCY = {"$": "dollar", "€": "euro", "£": "pound"}
# A minus is a sign where nothing stands before it that it could be a dash of: in `2-3` it is none.
_WORD = re.compile(r"(?:(?<![\w.)])-(?=\d))?\d+\.\d+|(?:(?<![\w.)])-(?=\d))?\w+")
# Dashes, bullets, arrows, quotes, marks of other scripts, pictures.
_SIGNS = (
    "\u00ab\u00b7\u00bb\u2013-\u2017\u201a-\u2027\u2039-\u205e"
    "\u2190-\u2bff\u3000-\u303f\u30fb\U0001f000-\U0001faff"
)
# Of a decimal the point is no mark, nor is one between words without a space, such as in `12:30`, nor a
# stroke between digits. A star that touches one word is emphasis.
_MARK = re.compile(
    rf"[.:](?!\w)|[,;!?()\[\]{{}}|\n\"\\<>=~#{_SIGNS}]|(?<!\d)/|/(?!\d)|(?:^|\s)[-+*]+(?=\s)|(?<=\w)[+*](?=\w)"
)
_TRAILING_ZEROS = re.compile(r"(\.\d*?)0+$")
_ARTICLES = frozenset({"a", "an", "the"})


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _words(_plain(text))


def clauses(text: str) -> list[list[str]]:
    """The words between the marks, in order; a date with a comma in it is one date."""
    return [found for found, _ in marked(text)]


def marked(text: str) -> list[tuple[list[str], str]]:
    """The words between the marks, in order, and all marks that stand behind them."""
    plain, found, start = _plain(text), list[tuple[list[str], str]](), 0
    for mark in [*_MARK.finditer(plain), None]:
        between, sign = plain[start : mark.start() if mark else None], mark[0].strip(" \t") if mark else ""
        if inside := _words(between):
            found.append((inside, sign))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + sign)
        start = mark.end() if mark else 0
    return found


def spans(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Whether `inner` stands in `outer`, word by word and without a gap; nothing stands nowhere."""
    return bool(inner) and any(True for _ in places(inner, outer))


def places(inner: Sequence[str], outer: Sequence[str]) -> Iterator[int]:
    """Where in `outer` `inner` begins."""
    size = len(inner)
    return (start for start in range(len(outer) - size + 1) if outer[start : start + size] == inner)


def _plain(text: str) -> str:
    """In small letters; money, thousands and dates are written in one way."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("\N{MINUS SIGN}", "-")
    plain = plain.replace("’", "'").replace("'s", " ").replace("'", "")
    plain = _MONEY.sub(lambda found: f"{found[2]} {_CURRENCY[found[1]]}", _THOUSANDS.sub("", plain))
    for pattern in _DATES:
        plain = pattern.sub(_date, plain)
    return plain.replace("%", " percent ").replace("&", " and ").replace("_", " ")


def _words(plain: str) -> list[str]:
    raw = _WORD.findall(plain)
    return [_one(word) for word in _signed(list(_numbers(raw))) if word not in _ARTICLES]


def _signed(raw: Sequence[str]) -> Iterator[str]:
    """`minus five` is `-5`; `eight minus five` is left as it is."""
    for place, word in enumerate(raw):
        before, after = (raw[at] if 0 <= at < len(raw) else "" for at in (place - 1, place + 1))
        if word == "minus" and after[:1].isdigit() and not before[:1].isdigit():
            continue
        sign = before == "minus" and word[0].isdigit() and not (place > 1 and raw[place - 2][0].isdigit())
        yield f"-{word}" if sign else word


def _date(found: re.Match[str]) -> str:
    """Largest part first, so that less exact dates are spans of more exact ones."""
    parts = found.groupdict()
    number = parts.get("number")
    month = _MONTHS[int(number) - 1] if number else _named(parts["name"])
    day = f"d{int(parts['day'])}" if parts.get("day") else ""
    return f" {parts.get('year') or ''} {month} {day} "


def _named(short: str) -> str:
    return next(name for name in _MONTHS if name.startswith(short[:3]))


def _numbers(raw: Sequence[str]) -> Iterator[str]:
    """Number words become digits: `two hundred and five` is `205`, `twenty one` is `21`."""
    place = 0
    while place < len(raw):
        end, value = _spoken(raw, place)
        yield str(value) if end > place else raw[place]
        place = max(end, place + 1)


def _spoken(raw: Sequence[str], start: int) -> tuple[int, int]:
    """Where the number that starts here ends, and what it is; the start itself if there is none."""
    total, current, place = 0, 0, start
    while place < len(raw):
        word = raw[place]
        if word in _SMALL and _fits(current, _SMALL[word], raw, start, place):
            current += _SMALL[word]
        elif word in _SCALES and place > start:
            current *= _SCALES[word]
            if _SCALES[word] > 100:
                total, current = total + current, 0
        elif not (word == "and" and _goes_on(raw, start, place)):
            break
        place += 1
    return place, total + current


def _fits(current: int, value: int, raw: Sequence[str], start: int, place: int) -> bool:
    """`twenty one` is one number, `one two` are two."""
    if place == start:
        return True
    return (current % 100 == 0 and raw[place - 1] not in _SMALL) or (current % 100 >= 20 and 0 < value < 10)


def _goes_on(raw: Sequence[str], start: int, place: int) -> bool:
    return place > start and raw[place - 1] in _SCALES and place + 1 < len(raw) and raw[place + 1] in _SMALL


def _one(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    if word.endswith("s") and word[:-1] in _UNITS:
        return word[:-1]
    return _TRAILING_ZEROS.sub(r"\1", word).rstrip(".") if "." in word else word
