"""HTML that no text can break out of: everything is escaped unless it was made here.

`Html` marks markup; `tag` and `join` escape whatever is not marked. Long text is cut, and its control
characters are made visible.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from memalpha.cli.style import visible

MOST_CHARACTERS = 12_000


class Html(str):
    """Markup, safe to be put into a page as it is."""

    __slots__ = ()


def text(value: str) -> Html:
    """Text as markup that shows it."""
    left = len(value) - MOST_CHARACTERS
    cut = value if left <= 0 else f"{value[:MOST_CHARACTERS]}… ({left:,} more characters)"
    return Html(html.escape(visible(cut).encode("utf-8", "backslashreplace").decode()))


def join(parts: Iterable[str]) -> Html:
    """Parts one after the other; those that are no markup are escaped."""
    return Html("".join(part if isinstance(part, Html) else text(part) for part in parts))


def tag(name: str, *children: str, cls: str = "", **attributes: str) -> Html:
    """An element. In attributes' names `_` stands for `-`; those without a value are not written."""
    given = {"class": cls, **{key.replace("_", "-"): value for key, value in attributes.items()}}
    shown = "".join(f' {key}="{text(value)}"' for key, value in given.items() if value)
    return Html(f"<{name}{shown}>{join(children)}</{name}>")
