"""Rows of parquet files, some at a time, so that a file may be larger than memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError

ROWS_AT_ONCE = 4
"""A row of MemoryAgentBench may be megabytes long."""


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file, each with the name of its place.

    Raises:
        DatasetError: pyarrow is missing, or the file is not parquet.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError("parquet needs pyarrow: it comes with the extra memalpha[data]") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise DatasetError(f"cannot read {path} as parquet: {error}") from error
