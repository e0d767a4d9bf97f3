"""Runs in other tools' formats. Their libraries are extras, imported when an export begins."""

from __future__ import annotations

from pathlib import Path

from memalpha.errors import UnsupportedError, make
from memalpha_evals.runs import Run


def to_inspect(run: Run, folder: Path) -> list[Path]:
    """Writes a log of inspect_ai for each system; where they are.

    Raises:
        UnsupportedError: NO_INSPECT.
    """
    try:
        from memalpha_evals.export import inspect_log
    except ImportError as error:
        message = f"this format needs inspect_ai: install memalpha-evals with the extra `inspect` ({error})"
        raise make(UnsupportedError, "NO_INSPECT", message) from error
    return inspect_log.write(run, folder)


def to_parquet(run: Run, path: Path) -> Path:
    """Writes all rows as one parquet file; where it is.

    Raises:
        UnsupportedError: NO_PYARROW.
    """
    try:
        from memalpha_evals.export import flat
    except ImportError as error:
        message = f"parquet needs pyarrow: install memalpha with the extra `data` ({error})"
        raise make(UnsupportedError, "NO_PYARROW", message) from error
    flat.write(run.rows, path)
    return path
