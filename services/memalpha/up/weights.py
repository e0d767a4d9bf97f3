"""Whether a folder's files of weights are there and whole, by what they and their index say themselves.

Names and lengths alone are looked at, so that any size takes no time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from memalpha.errors import UnsupportedError, make

_INDEX = "model.safetensors.index.json"
# The format's own bound.
_LONGEST_HEADER = 100 * 2**20


class _Index(BaseModel):
    weight_map: dict[str, str]


class _Part(BaseModel):
    data_offsets: tuple[int, int]


_HEADER = TypeAdapter(dict[str, Any])


def missing(folder: Path) -> list[str]:
    """What of a folder's weights is not there: files that its index names, or all of them.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED: the index is none.
    """
    index = folder / _INDEX
    if not index.is_file():
        return [] if any(folder.glob("*.safetensors")) else ["*.safetensors"]
    try:
        named = set(_Index.model_validate_json(index.read_bytes()).weight_map.values())
    except ValueError:
        message = f"{index} must be JSON with a weight_map of names to files"
        raise make(UnsupportedError, "MODEL_NOT_LOADED", message, path=index) from None
    return sorted(name for name in named if not (folder / name).is_file())


def torn(folder: Path) -> list[str]:
    """Files of weights that are not as long as they say themselves (safetensors' format, header)."""
    return [path.name for path in sorted(folder.glob("*.safetensors")) if not _is_whole(path)]


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            return False
        try:
            header = _HEADER.validate_json(file.read(length))
            parts = [_Part.model_validate(part) for name, part in header.items() if name != "__metadata__"]
        except ValueError:
            return False
    ends = [part.data_offsets[1] for part in parts]
    return path.stat().st_size == 8 + length + max(ends, default=0)
