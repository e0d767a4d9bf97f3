"""A run's folder.

    manifest.json   what the run is            steps.jsonl   what became of each chunk, replayable
    rows.jsonl      questions and answers      lock          held by the process that works on it

Rows stand in the order in which they were answered until all are there; then they are scored and sorted, so
that the same run has the same rows however often it was interrupted. `report.md` and `report.html` come
after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memalpha.errors import AlreadyExistsError, CorruptionError, InvalidInputError, NotFoundError, make
from memalpha.files import replace
from memalpha_evals.rows import Row
from memalpha_evals.runs import lines, manifest
from memalpha_evals.runs.journal import Journal
from memalpha_evals.runs.lock import Lock
from memalpha_evals.runs.records import Records

Key = tuple[str, str, str]
"""Of a row, see `Row.key`."""

MANIFEST, STEPS, ROWS = "manifest.json", "steps.jsonl", "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it lies on disk: finished, or as far as it came."""

    folder: Path
    manifest: Mapping[str, Any]
    rows: list[Row]

    @property
    def done(self) -> bool:
        """All rows are there, scored and sorted: the manifest says so, and as many are there as it says."""
        what = self.manifest["what"]
        questions = what.get("streams", {}).get("questions")
        whole = questions is None or len(self.rows) == questions * len(what["systems"])
        return whole and is_done(self.manifest)


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
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        message = f"{folder} is no run: it is no folder with a file {MANIFEST}"
        raise make(NotFoundError, "NO_RUN", message, path=folder) from None
    except ValueError as error:
        message = f"{path} is damaged: {error}"
        raise make(CorruptionError, "DAMAGED_MANIFEST", message, path=path) from None
    if not manifest.is_one(found):
        message = f"{path} must be the manifest of a run, of format {manifest.FORMAT}"
        raise make(CorruptionError, "DAMAGED_MANIFEST", message, path=path)
    return found


def rows(folder: Path) -> Iterator[Row]:
    """A run's rows, one at a time, in the order of the file.

    Raises:
        CorruptionError: DAMAGED_LINE.
    """
    for _, row in lines.rows(folder / ROWS):
        yield row


def require_free(path: Path) -> None:
    """Refuses a place where no run can begin, before anything is made or read for it.

    Raises:
        AlreadyExistsError: RUN_EXISTS.
        InvalidInputError: NO_FOLDER.
    """
    if (path / MANIFEST).exists():
        message = f"{path} has a run: go on with `evals resume {path}`, or choose another folder"
        raise make(AlreadyExistsError, "RUN_EXISTS", message, path=path)
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not existing.is_dir():
        message = f"a run's folder must be a folder, but {existing} is a file"
        raise make(InvalidInputError, "NO_FOLDER", message, path=existing)


def note_judge(folder: Path, score: str, identity: Mapping[str, Any]) -> None:
    """Says in the manifest who gave the scores of that name; for who holds the folder's lock."""
    content = read_manifest(folder)
    content["judges"] = {**content.get("judges", {}), score: dict(identity)}
    _write_manifest(folder, content)


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
            InvalidInputError: NO_FOLDER.
            BusyError: RUN_IN_USE.
        """
        require_free(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = Lock(path / "lock")
        try:
            require_free(path)
            return cls(path, dict(content), lock)._begun()
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(cls, path: Path, now: Mapping[str, Any], plan: Mapping[str, Any] | None = None) -> Self:
        """The folder of a run that goes on.

        Args:
            path: Where it is.
            now: What the run is as it is put together now; see `manifest.what`.
            plan: The words from which it is put together, if they changed: data may lie elsewhere.

        Raises:
            NotFoundError: NO_RUN.
            ConflictError: ANOTHER_RUN.
            BusyError: RUN_IN_USE.
        """
        content = read_manifest(path)
        lock = Lock(path / "lock")
        try:
            manifest.require_same(content["what"], now)
            content["plan"] = dict(plan or content.get("plan", {}))
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

    def finish(self, keys: Set[Key], completed: Callable[[Row], Row]) -> None:
        """Rewrites the rows, each completed, in order of their keys; of rows with one key the last counts.

        One row at a time is in memory.

        Args:
            keys: Of all rows that the run has to have.
            completed: A row with its scores.

        Raises:
            CorruptionError: ROWS_MISSING: the file has not the rows of the run; it stays as it is.
        """
        path = self.path / ROWS
        places = {row.key: begin for begin, row in lines.rows(path)}
        _require_all(path, places.keys(), keys)
        with path.open("rb") as file:
            replace(path, (_line(file, places[key], completed) for key in sorted(places)))

    def note(self, **facts: Any) -> None:
        """Says more of this start."""
        self._content["starts"][-1] |= facts
        self._write()

    def end(self, state: str, report: Mapping[str, Any]) -> None:
        """Says how this start ended."""
        self._content["starts"][-1] |= manifest.ended(state, report)
        self._write()

    def _write(self) -> None:
        _write_manifest(self.path, self._content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def _write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    replace(folder / MANIFEST, [json.dumps(content, ensure_ascii=False, indent=1), "\n"])


def _require_all(path: Path, found: Set[Key], keys: Set[Key]) -> None:
    if missing := keys - found:
        message = f"{path} has not {'/'.join(min(missing))} and {len(missing) - 1} other rows of the run"
        raise make(CorruptionError, "ROWS_MISSING", message, path=path, missing=len(missing))
    if strange := found - keys:
        message = f"{path} has {'/'.join(min(strange))}, which is no row of the run"
        raise make(CorruptionError, "ROWS_MISSING", message, path=path, strange=len(strange))


def _line(file: Any, begin: int, completed: Callable[[Row], Row]) -> str:
    file.seek(begin)
    row = completed(Row.from_dict(json.loads(file.readline())))
    return lines.encoded(row.to_dict()) + "\n"
