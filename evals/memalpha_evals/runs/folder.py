"""A run's folder.

    manifest.json   what the run is            steps.jsonl   what became of each chunk, replayable
    rows.jsonl      questions and answers      lock          held by the process that works on it

Rows stand in the order in which they were answered until all are there; then they are scored and sorted, so
that the same run has the same rows however often it was interrupted. `report.md` and `report.html` come
after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memalpha.errors import AlreadyExistsError, CorruptionError, NotFoundError, make
from memalpha_evals.rows import Row
from memalpha_evals.runs import lines, manifest
from memalpha_evals.runs.files import replace
from memalpha_evals.runs.journal import Journal
from memalpha_evals.runs.lock import Lock
from memalpha_evals.runs.records import Records

MANIFEST, STEPS, ROWS = "manifest.json", "steps.jsonl", "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it lies on disk: finished, or as far as it came."""

    folder: Path
    manifest: Mapping[str, Any]
    rows: list[Row]

    @property
    def done(self) -> bool:
        """All rows are there, scored and sorted."""
        return is_done(self.manifest)


def read(folder: Path) -> Run:
    """A run and its rows; of a row that was asked again the last one.

    Raises:
        NotFoundError: NO_RUN.
        CorruptionError: DAMAGED_MANIFEST or DAMAGED_LINE.
    """
    manifest = read_manifest(folder)
    return Run(folder, manifest, list({row.key: row for row in rows(folder)}.values()))


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run's manifest.

    Raises:
        NotFoundError: NO_RUN.
        CorruptionError: DAMAGED_MANIFEST.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise make(
            NotFoundError, "NO_RUN", f"{folder} is no run: it has no {MANIFEST}", path=folder
        ) from None
    except ValueError as error:
        message = f"{path} is damaged: {error}"
        raise make(CorruptionError, "DAMAGED_MANIFEST", message, path=path) from None
    if not isinstance(found, dict) or found.get("format") != manifest.FORMAT:
        message = f"{path} must be of format {manifest.FORMAT}"
        raise make(CorruptionError, "DAMAGED_MANIFEST", message, path=path)
    return found


def rows(folder: Path) -> Iterator[Row]:
    """A run's rows, one at a time, in the order of the file.

    Raises:
        CorruptionError: DAMAGED_LINE.
    """
    for _, found in lines.parsed(folder / ROWS):
        yield Row.from_dict(found)


def is_done(content: Mapping[str, Any]) -> bool:
    """Whether a manifest says that all rows are there."""
    starts = content.get("starts", [])
    return bool(starts) and starts[-1].get("state") == "done"


class RunFolder:
    """A folder that this process works on. A context manager; it is free again when it is left."""

    def __init__(self, path: Path, content: dict[str, Any], lock: Lock) -> None:
        """Use `create` or `resume`."""
        self.path = path
        self._content = content
        self._lock = lock

    @classmethod
    def create(cls, path: Path, content: Mapping[str, Any]) -> Self:
        """The folder of a run that begins.

        Raises:
            AlreadyExistsError: RUN_EXISTS.
            BusyError: RUN_IN_USE.
        """
        path.mkdir(parents=True, exist_ok=True)
        lock = Lock(path / "lock")
        if (path / MANIFEST).exists():
            lock.release()
            message = f"{path} has a run: go on with `evals resume {path}`, or choose another folder"
            raise make(AlreadyExistsError, "RUN_EXISTS", message, path=path)
        return cls(path, dict(content), lock)._begun()

    @classmethod
    def resume(cls, path: Path, now: Mapping[str, Any]) -> Self:
        """The folder of a run that goes on.

        Args:
            path: Where it is.
            now: What the run is as it is put together now; see `manifest.what`.

        Raises:
            NotFoundError: NO_RUN.
            ConflictError: ANOTHER_RUN.
            BusyError: RUN_IN_USE.
        """
        content = read_manifest(path)
        lock = Lock(path / "lock")
        try:
            manifest.require_same(content["what"], json.loads(lines.encoded(now)))
            return cls(path, content, lock)._begun()
        except BaseException:
            lock.release()
            raise

    def _begun(self) -> Self:
        self._content["starts"] = [*self._content["starts"], manifest.start()]
        self._write()
        return self

    def records(self) -> Records:
        """Steps that were taken before."""
        return Records(self.path / STEPS)

    def asked(self) -> dict[tuple[str, str, str], bool]:
        """Keys of the rows that are there, and whether the question was answered."""
        return {row.key: not row.failure for row in rows(self.path)}

    def journal(self) -> Journal:
        """The writer of steps and rows."""
        return Journal(self.path / STEPS, self.path / ROWS)

    def finish(self, completed: Callable[[Row], Row]) -> None:
        """Rewrites the rows, each completed, in order of their keys; of rows with one key the last counts.

        One row at a time is in memory.
        """
        path = self.path / ROWS
        places = {Row.from_dict(found).key: begin for begin, found in lines.parsed(path)}
        with path.open("rb") as file:
            replace(path, (_line(file, places[key], completed) for key in sorted(places)))

    def end(self, state: str, report: Mapping[str, Any]) -> None:
        """Says how this start ended."""
        self._content["starts"][-1] |= manifest.ended(state, report)
        self._write()

    def _write(self) -> None:
        replace(self.path / MANIFEST, [json.dumps(self._content, ensure_ascii=False, indent=1), "\n"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def _line(file: Any, begin: int, completed: Callable[[Row], Row]) -> str:
    file.seek(begin)
    row = completed(Row.from_dict(json.loads(file.readline())))
    return lines.encoded(row.to_dict()) + "\n"
