"""Scores of a finished run made again from its rows alone, without a call of any model.

Everything but the scores stays as it is, and scores of scorers that are not named stay too. A scorer of
one's own takes no name of ours: what is called `strict` was made by `strict`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from memalpha.errors import ConflictError, InvalidInputError, make
from memalpha.files import replace as replace_file
from memalpha_evals import runs, scorers
from memalpha_evals.rows import Row
from memalpha_evals.runs.folder import ROWS, read_manifest
from memalpha_evals.runs.lines import encoded
from memalpha_evals.runs.lock import Lock

ALL = "all"
RESERVED = frozenset({*scorers.SCORERS, "judge"})
"""What no scorer of one's own is called."""

Scorer = Callable[[Row], Mapping[str, float]]

_SCORES = TypeAdapter(dict[str, Annotated[float, Field(ge=0, le=1)]]).validate_python


@dataclass(frozen=True, slots=True)
class Rescored:
    """What came of it: `changed` rows have another score, or one more or less, than before."""

    rows: int
    changed: int


def rescore(folder: Path, name: str) -> Rescored:
    """Scores a run again.

    Args:
        folder: Of a finished run.
        name: `strict`, `paper`, `all`, or `MODULE:FUNCTION`: a function from a row to scores by name, which
            become `FUNCTION.NAME`. The module may be a file of the current folder.

    Raises:
        InvalidInputError: SCORER.
        ConflictError: RUN_NOT_DONE.
        BusyError: RUN_IN_USE.
    """
    prefix, scorer = _named(name)
    return rewrite(folder, lambda rows: [_with(row, prefix, scorer) for row in rows])


def rewrite(folder: Path, changed: Callable[[list[Row]], list[Row]]) -> Rescored:
    """Replaces a finished run's rows, all at once; nothing is written if `changed` fails.

    Raises:
        ConflictError: RUN_NOT_DONE.
        BusyError: RUN_IN_USE.
    """
    read_manifest(folder)  # a lock would make a file where no run is
    lock = Lock(folder / "lock")
    try:
        run = _finished(folder)
        after = changed(run.rows)
        replace_file(folder / ROWS, (f"{encoded(row.to_dict())}\n" for row in after))
    finally:
        lock.release()
    return Rescored(
        len(after), sum(old.scores != new.scores for old, new in zip(run.rows, after, strict=True))
    )


def _finished(folder: Path) -> runs.Run:
    run = runs.read(folder)
    if not run.done:
        message = f"{folder} is not finished: go on with `evals resume {folder}`, which scores its rows"
        raise make(ConflictError, "RUN_NOT_DONE", message, path=folder)
    return run


def _with(row: Row, prefix: str, scorer: Scorer) -> Row:
    kept = {name: value for name, value in row.scores.items() if prefix and not name.startswith(f"{prefix}.")}
    if not prefix:
        kept = {
            name: value for name, value in row.scores.items() if name.split(".")[0] not in scorers.SCORERS
        }
    return replace(row, scores=dict(scorer(row)) | kept)


def _named(name: str) -> tuple[str, Scorer]:
    """The names that a scorer's scores begin with, empty for all of ours, and the scorer."""
    if name == ALL:
        return "", scorers.score
    if name in scorers.SCORERS:
        return name, lambda row: _only(name, scorers.score(row))
    function, found = _own(name)
    return function, lambda row: _checked(function, row, found)


def _own(name: str) -> tuple[str, Callable[[Row], Any]]:
    module, _, function = name.partition(":")
    choices = ", ".join([*scorers.SCORERS, ALL])
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that no file there stands in the place of a package
    try:
        found = getattr(import_module(module), function)
    except (Exception, SystemExit) as error:  # whatever a stranger's module does
        reason = f"{type(error).__name__}: {error}"
        message = f"scorer must be one of {choices} or MODULE:FUNCTION, not {name!r}: {reason}"
        raise make(InvalidInputError, "SCORER", message, scorer=name) from error
    if function in RESERVED or not callable(found):
        rule = f"must be a function, and not be called {' or '.join(sorted(RESERVED))}"
        raise make(InvalidInputError, "SCORER", f"scorer {rule}, not {name!r}", scorer=name)
    return function, found


def _only(prefix: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name.startswith(f"{prefix}.")}


def _checked(prefix: str, row: Row, scorer: Callable[[Row], Any]) -> dict[str, float]:
    """A stranger's scores: a failed row has 0 by all its names, and none leaves 0 to 1."""
    try:
        found = scorer(replace(row, failure=""))
    except Exception as error:
        fault = f"on {row.key} it fails: {type(error).__name__}: {error}"
        raise make(
            InvalidInputError, "SCORER", f"scorer {prefix} must score every row, but {fault}"
        ) from error
    try:
        return {f"{prefix}.{name}": 0.0 if row.failure else value for name, value in _SCORES(found).items()}
    except ValidationError as error:
        message = f"scorer {prefix} must give scores from 0 to 1 by name, but of {row.key} it gives {found!r}"
        raise make(InvalidInputError, "SCORER", message, scorer=prefix) from error
