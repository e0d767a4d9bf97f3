"""Vectors as the API carries them: 32-bit floats, little-endian, packed."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable

from memalpha.errors import InternalError, UnsupportedError, make

NUMBER_BYTES = 4


def packed(numbers: Iterable[float]) -> bytes:
    """Packs numbers; those beyond 32 bits become infinite.

    Raises:
        TypeError: One is no number.
    """
    return _swapped(array("f", numbers)).tobytes()


def usable(vector: bytes) -> bool:
    """Whether a packed vector has a direction: whole numbers of floats, all finite and not all zero."""
    if len(vector) % NUMBER_BYTES:
        return False
    numbers = _swapped(array("f", vector))
    # Sums of finite 32-bit floats stay far within 64 bits, so an infinite one or a NaN shows in the sum.
    return math.isfinite(sum(map(abs, numbers))) and any(numbers)


def checked(vectors: Iterable[bytes], dimensions: int, source: str) -> int:
    """Checks what an embedder made and returns how many numbers each vector has.

    Args:
        vectors: Packed.
        dimensions: How many each must have; 0 means that the first one decides.
        source: What made them, for the error's message.

    Raises:
        InternalError: EMBEDDER_BAD_REPLY: one is not finite, or all zero.
        UnsupportedError: EMBEDDER_DIMENSIONS: one has another length.
    """
    for vector in vectors:
        if not usable(vector):
            message = f"vectors of {source} must be finite and not all zero"
            raise make(InternalError, "EMBEDDER_BAD_REPLY", message)
        numbers = len(vector) // NUMBER_BYTES
        if numbers != (dimensions or numbers):
            message = f"vectors of {source} must have {dimensions} numbers, got {numbers}"
            raise make(UnsupportedError, "EMBEDDER_DIMENSIONS", message, dimensions=numbers)
        dimensions = numbers
    return dimensions


def _swapped(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
