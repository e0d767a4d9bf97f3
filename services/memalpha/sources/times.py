"""Times as files write them become ISO 8601 text, with a zone only if the file names one."""

import re
from datetime import UTC, datetime

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_ZONE_WITHOUT_COLON = re.compile(r"([+-]\d{2})(\d{2})$")
_UNIX = re.compile(r"\d{9,13}(?:\.\d+)?")
_SPOKEN = "%I:%M %p on %d %B, %Y"
_MILLISECONDS_FROM = 1e11  # as seconds, the year 5138


def event_time(value: object) -> str:
    """Turns a time into what the memory keeps.

    Takes ISO 8601 text, seconds or milliseconds since 1970 (they become UTC), and LoCoMo's `1:56 pm on 8
    May, 2023`. `None` and empty text mean that no time is known.

    Raises:
        ValueError: it is none of these.
    """
    if value is None or value == "":
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_unix(value)
    if isinstance(value, str):
        return _from_text(value.strip())
    raise ValueError(_rule(value))


def _from_text(text: str) -> str:
    if _UNIX.fullmatch(text):
        return _from_unix(float(text))
    try:
        if _ISO.fullmatch(text):
            datetime.fromisoformat(text)
            return _ZONE_WITHOUT_COLON.sub(r"\1:\2", text.replace(" ", "T"))
        return datetime.strptime(text, _SPOKEN).strftime(
            "%Y-%m-%dT%H:%M"
        )  # no zone is named, none is made up
    except ValueError as error:
        raise ValueError(_rule(text)) from error


def _from_unix(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds / (1000 if seconds >= _MILLISECONDS_FROM else 1), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(_rule(seconds)) from error
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _rule(value: object) -> str:
    return f"a time must be ISO 8601 such as 2023-05-08T13:56, or Unix seconds, not {str(value)[:60]!r}"
