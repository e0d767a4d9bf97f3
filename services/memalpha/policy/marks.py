"""What tells weights from any others: the digests of the files that decide them.

A number of weights stands for the same weights forever, whatever was restarted, moved or sealed since. The
same are the same files of tensors: equal tensors in other files count as others. Digests are of what was
read; stamps tell whether files were touched between that and the end of a load. No library is needed.
"""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path

from memalpha.errors import ConflictError, InternalError, make
from memalpha.policy.architecture import CONFIG
from memalpha.policy.checkpoint import Manifest, verified

_TENSORS = ".safetensors"

Mark = dict[str, str]
"""SHA-256 by name of file: of the configuration, if there is one, and of all files of tensors."""

Stamps = dict[Path, tuple[int, int, int]]
"""Inode, size and time of the last change (nanoseconds) of each file of a folder."""


def mark(folder: Path) -> Mark:
    """A folder's mark, the same before and after it is sealed; reads it all.

    Raises:
        CorruptionError, UnsupportedError: It is not what it was sealed as.
        OSError: It cannot be read, or has no configuration.
    """
    sealed = verified(folder)
    if sealed is not None:
        return sealed_mark(sealed)
    return digests(folder / CONFIG, *sorted(folder.glob(f"*{_TENSORS}")))


def sealed_mark(manifest: Manifest) -> Mark:
    """The mark of a folder whose files are those that its manifest names."""
    return {
        name: digest for name, digest in manifest.files.items() if name == CONFIG or name.endswith(_TENSORS)
    }


def digests(*paths: Path) -> Mark:
    """Digests of files.

    Raises:
        OSError: There is none.
    """
    return {path.name: _digest(path) for path in paths}


def check_same(folder: Path, version: int, found: Mark, served: Mark) -> None:
    """Refuses weights that are not the served ones of that number.

    Their configurations are not compared by their bytes: see `architecture.check_alike`.

    Raises:
        ConflictError: WEIGHTS_DIFFER.
    """
    names = (found.keys() | served.keys()) - {CONFIG}
    if any(found.get(name) != served.get(name) for name in names):
        rule = "holds other weights than are served under that number; load them under a higher one"
        message = f"policy_version {version}: folder {folder} {rule}"
        raise make(ConflictError, "WEIGHTS_DIFFER", message, policy_version=version, path=folder)


def stamps(folder: Path) -> Stamps:
    """Those of a folder's files as they are now; reads none of them.

    Raises:
        OSError: There is no such folder, or a file of it was just taken away.
    """
    found = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    return {path: (each.st_ino, each.st_size, each.st_mtime_ns) for path, each in found.items()}


def check_untouched(folder: Path, version: int, before: Stamps, now: Stamps) -> None:
    """Refuses weights whose files were touched since they were checked.

    Raises:
        InternalError: LOAD_FAILED.
    """
    if _decisive(before) != _decisive(now):
        message = f"weights of version {version}: files of {folder} were changed while they were loaded"
        raise make(InternalError, "LOAD_FAILED", message, policy_version=version, path=folder)


def _decisive(found: Stamps) -> Stamps:
    """Those of tensors and configurations."""
    return {
        path: each for path, each in found.items() if path.suffix == _TENSORS or path.name.endswith(CONFIG)
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
