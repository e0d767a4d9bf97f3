"""Which files may be trained on. A file that numbers are reported on is never one of them.

A source's files are known by their official names, so that nobody has to say what a file is, and nobody can
say it wrong: `train` holds what training may see, `dev` what settings may be chosen on. What is in neither,
above all the official test files, is refused, and so are sets that only ever report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from memalpha.tasks.data.readers.files import DatasetError

Split = Literal["train", "dev"]

REPORT_ONLY = ("locomo", "personamem")
"""Sets whose results count as out of distribution: nothing is built from them."""

COMPOSED_OF: Mapping[str, tuple[str, ...]] = {"musique": ("squad", "nq")}
"""Sets whose questions were composed of other sets' questions; who trains on these has seen those."""


@dataclass(frozen=True, slots=True)
class Names:
    """Official file names of a split, as shell patterns without `.gz`."""

    train: tuple[str, ...]
    dev: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """The patterns of a split."""
        return self.train if split == "train" else self.dev


def files(source: str, names: Names, path: Path, split: Split) -> list[Path]:
    """The files of a split: those of a folder, or the one that is given.

    Raises:
        DatasetError: there is none, or the given file is not of that split.
    """
    if path.is_dir():
        found = [each for each in sorted(path.iterdir()) if _fits(each, names.of(split))]
        if not found:
            raise DatasetError(f"{path} has no {split} file of {source}: {_expected(names, split)}")
        return found
    if not path.exists():
        raise DatasetError(f"cannot read {path}: there is no such file or folder")
    if not _fits(path, names.of(split)):
        raise DatasetError(f"{path.name} is no {split} file of {source}: {_expected(names, split)}")
    return [path]


def _fits(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path.name.removesuffix(".gz"), pattern) for pattern in patterns)


def _expected(names: Names, split: Split) -> str:
    patterns = names.of(split)
    return f"its name must be like {' or '.join(patterns)}" if patterns else "the set has no such files"
