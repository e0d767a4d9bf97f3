"""What safetensors files say of their tensors before any is read; no library is needed.

A file opens with the length of a JSON object (8 bytes, little-endian), and the object, which names each
tensor with its shape and where its numbers lie behind it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

# The format's own bound.
_LONGEST = 100 * 2**20


class Part(BaseModel):
    """One tensor."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_HEADER = TypeAdapter(dict[str, Part | dict[str, str]])


def read(path: Path) -> dict[str, Part]:
    """A file's tensors.

    Raises:
        ValueError: It is no such file.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 2 <= length <= _LONGEST else b""
    try:
        found = _HEADER.validate_json(text)
    except ValidationError:
        raise ValueError(f"{path.name} is no safetensors file") from None
    return {name: part for name, part in found.items() if isinstance(part, Part)}


def is_whole(path: Path) -> bool:
    """Whether a file is as long as it says itself; one that is no such file is not.

    Raises:
        OSError: It cannot be read.
    """
    try:
        parts = read(path).values()
    except ValueError:
        return False
    with path.open("rb") as file:
        begin = 8 + int.from_bytes(file.read(8), "little")
    return path.stat().st_size == begin + max((part.data_offsets[1] for part in parts), default=0)


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors in a folder's files; empty if there are none.

    Raises:
        ValueError: One is no such file.
        OSError: One cannot be read.
    """
    return {
        name: part.shape for path in sorted(folder.glob("*.safetensors")) for name, part in read(path).items()
    }
