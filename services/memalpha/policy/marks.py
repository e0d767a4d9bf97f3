"""What tells weights from any others: the digests of the files that decide them.

A number of weights stands for the same weights forever, whatever was restarted, moved or sealed since. No
library is needed.
"""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path

from memalpha.errors import ConflictError, make
from memalpha.policy.architecture import CONFIG
from memalpha.policy.checkpoint import Manifest, verified

_TENSORS = ".safetensors"

Mark = dict[str, str]
"""SHA-256 by name of file: of the configuration, if there is one, and of all files of tensors."""


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

    Raises:
        ConflictError: WEIGHTS_DIFFER.
    """
    # Weights may come alone: a network that is not told is the served one.
    names = (found.keys() | served.keys()) - ({CONFIG} - (found.keys() & served.keys()))
    if any(found.get(name) != served.get(name) for name in names):
        rule = "holds other weights than are served under that number; load them under a higher one"
        message = f"policy_version {version}: folder {folder} {rule}"
        raise make(ConflictError, "WEIGHTS_DIFFER", message, policy_version=version, path=folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
