"""The part of a hand-written page that a program writes: what stands between two markers, nothing else."""

from __future__ import annotations

from memalpha.errors import InvalidInputError, make


def between(page: str, begin: str, end: str, text: str) -> str:
    """A page with a text in the place of what stands between its markers.

    Raises:
        InvalidInputError: NO_MARKERS: one of both is missing, and what was to be replaced cannot be told.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise make(InvalidInputError, "NO_MARKERS", f"the page must hold the lines {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
