"""Reports of a run: `report.md` and `report.html`, written from its manifest and rows alone."""

from __future__ import annotations

from pathlib import Path

from memalpha.files import replace
from memalpha_evals.compare.sides import opened
from memalpha_evals.reports.content import content
from memalpha_evals.reports.markdown import markdown
from memalpha_evals.reports.page import page

MARKDOWN, HTML = "report.md", "report.html"


def write(folder: Path) -> Path:
    """Writes both reports into a run's folder; where `report.md` is.

    Raises:
        NotFoundError: NO_RUN or NO_ROWS.
        CorruptionError: DAMAGED_MANIFEST or DAMAGED_LINE.
    """
    found = content(opened(folder))
    replace(folder / HTML, [_written(page(found))])
    replace(folder / MARKDOWN, [_written(markdown(found))])
    return folder / MARKDOWN


def _written(text: str) -> str:
    """Half of a surrogate pair, which models write, is in no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
