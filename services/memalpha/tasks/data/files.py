"""Files of instances: JSON lines, one instance a line, or the official parquet form, by the file's name.

Instances are read one at a time, and a file appears whole or not at all.
"""

import gzip
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from memalpha.errors import InvalidInputError
from memalpha.tasks.data import parquet
from memalpha.tasks.data.readers.files import DatasetError, read_rows
from memalpha.tasks.instance import Instance

PARQUET = ".parquet"


def read(path: Path) -> Iterator[Instance]:
    """Reads instances as they are asked for.

    Raises:
        DatasetError: the file is missing or a line is no instance; the message names the line and the rule.
    """
    if path.suffix == PARQUET:
        yield from parquet.read(path)
        return
    for where, row in read_rows(path):
        try:
            yield Instance.from_dict(row)
        except (InvalidInputError, TypeError) as error:
            raise DatasetError(f"{where} is no instance: {error}") from error


def write(path: Path, instances: Iterable[Instance]) -> int:
    """Writes instances, gzip if the name ends in `.gz`; returns how many there were.

    Raises:
        DatasetError: there are none, or the file cannot be written; nothing is left behind.
    """
    # not by tempfile, whose files only their owner may read
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error
    try:
        count = _write(temporary, path.name, instances)
        if not count:
            raise DatasetError(f"there is no instance to write to {path.name}: see the limits")
        os.replace(temporary, path)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _write(path: Path, name: str, instances: Iterable[Instance]) -> int:
    if name.endswith(PARQUET):
        return parquet.write(path, instances)
    with path.open("wb") as raw:
        # no name and no time inside, so that the same instances are the same bytes
        file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if name.endswith(".gz") else raw
        count = sum(_put(file, instance) for instance in instances)
        if file is not raw:
            file.close()
    return count


def _put(file: gzip.GzipFile | BinaryIO, instance: Instance) -> int:
    file.write(json.dumps(instance.to_dict(), ensure_ascii=False).encode() + b"\n")
    return 1
