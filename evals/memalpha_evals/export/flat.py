"""Rows as one flat table: a column for each field and each score, JSON text where a field has fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from memalpha_evals.rows import Row


def write(rows: Sequence[Row], path: Path) -> None:
    """Writes a parquet file."""
    names = sorted({name for row in rows for name in row.scores})
    table = pyarrow.Table.from_pylist([flat(row, names) for row in rows])
    parquet.write_table(table, path, compression="zstd")


def flat(row: Row, scores: Sequence[str]) -> dict[str, Any]:
    """One row; a score that it has not is null."""
    values = row.to_dict()
    found = values.pop("scores")
    for name in ("built", "read"):
        values |= {f"{name}_{field}": value for field, value in values.pop(name).items()}
    for name in ("details", "timing"):
        values[name] = json.dumps(values[name], ensure_ascii=False)
    return values | {f"score.{name}": found.get(name) for name in scores}
