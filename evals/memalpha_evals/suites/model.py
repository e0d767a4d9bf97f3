"""A named suite: which data set, where its files lie, and how it is run unless told otherwise.

Data is found at a path that the caller names, or below the folder that the environment variable
`MEMALPHA_DATA` names, in the suite's own folder there and under official file names; gzip is taken anywhere.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals.datasets import Dataset
from memalpha_evals.datasets.draws import Draw

VARIABLE = "MEMALPHA_DATA"
FOLDER = "."
"""The pattern of a set that is a folder."""


class NoData(DatasetError):
    """A suite's files are not there; of files that are there and cannot be told apart it is not said."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a suite is run unless told otherwise.

    Attributes:
        budget: Most o200k tokens that a reader is given.
        chunk_tokens: Most o200k tokens of a chunk.
        questions: Most questions, drawn with the seed; 0: all.
        seed: Of the draw.
        source: Where these are from, or empty if they are our choice.
    """

    budget: int = 4096
    chunk_tokens: int = 1024
    questions: int = 0
    seed: int = 42
    source: str = ""

    @property
    def draw(self) -> Draw:
        """What is read."""
        return Draw(questions=self.questions, seed=self.seed)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a reader of files is given. `root` is the folder of all data, where one is known."""

    paths: tuple[Path, ...]
    draw: Draw
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """One form in which a suite's files come.

    Attributes:
        patterns: Names as shell patterns without `.gz`, one file each, in the order that `read` takes them.
        read: Reads the files.
        many: Every pattern may fit several files.
    """

    patterns: tuple[str, ...]
    read: Callable[[Ask], Dataset]
    many: bool = False

    def find(self, folder: Path) -> tuple[Path, ...] | None:
        """The files in a folder; None if one is not there.

        Raises:
            DatasetError: several files fit a pattern that takes one.
        """
        found = [fitting(folder, pattern, self.many) for pattern in self.patterns]
        return tuple(path for paths in found for path in paths) if all(found) else None

    @property
    def single(self) -> bool:
        """Whether one file is all that is needed, so that it may have any name."""
        return len(self.patterns) == 1 and self.patterns != (FOLDER,)


@dataclass(frozen=True, slots=True)
class Suite:
    """A named suite.

    Attributes:
        name: As it is asked for, and what rows call it.
        about: What it is, in a line.
        licence: The data's.
        folder: Its own below the folder of all data; empty: it needs no files.
        layouts: The forms in which its files come, the first that is there counts.
        protocol: How it is run unless told otherwise.
    """

    name: str
    about: str
    licence: str
    folder: str
    layouts: tuple[Layout, ...]
    protocol: Protocol = Protocol()

    @property
    def generated(self) -> bool:
        """Whether it needs no files."""
        return not self.folder

    @property
    def files(self) -> str:
        """Its places below the folder of all data, for people."""
        if self.generated:
            return "generated"
        forms = (" + ".join(each for each in layout.patterns if each != FOLDER) for layout in self.layouts)
        return f"{self.folder}/ {' | '.join(forms)}".strip()

    def locate(self, data: Path | None) -> tuple[Layout, Ask]:
        """The form in which the files are there, and what its reader is given.

        Raises:
            NoData: there are no such files, or no place was named.
            DatasetError: several files fit a pattern that takes one.
        """
        root = _root()
        if self.generated:
            return self.layouts[0], Ask((), self.protocol.draw, root)
        if data and data.is_file() and (layout := self._of_one_file()):
            return layout, Ask((data,), self.protocol.draw, root)
        folder = self._place(data, root)
        for layout in self.layouts:
            if paths := layout.find(folder):
                return layout, Ask(paths, self.protocol.draw, root)
        raise NoData(f"no data for {self.name} in {folder}: it needs {self.files}")

    def _of_one_file(self) -> Layout | None:
        return next((layout for layout in self.layouts if layout.single), None)

    def _place(self, data: Path | None, root: Path | None) -> Path:
        if data:
            if not data.exists():
                raise NoData(f"cannot read {data}: there is no such file or folder")
            return data.parent if data.is_file() else data
        if root:
            return root / self.folder
        raise NoData(
            f"no data for {self.name}, which needs {self.files}: "
            f"name its place with --data, or the folder of all data with {VARIABLE}"
        )


def fitting(folder: Path, pattern: str, many: bool = False) -> Sequence[Path]:
    """The files in a folder that fit a pattern, with or without `.gz`.

    Raises:
        DatasetError: there are several, and one is wanted.
    """
    if pattern == FOLDER:
        return [folder] if folder.is_dir() else []
    paths = sorted({*folder.glob(pattern), *folder.glob(f"{pattern}.gz")})
    if len(paths) > 1 and not many:
        names = " and ".join(path.name for path in paths[:2])
        raise DatasetError(f"{names} in {folder} both fit {pattern}: keep one, or name it as the data")
    return paths


def _root() -> Path | None:
    named = os.environ.get(VARIABLE, "")
    return Path(named) if named else None
