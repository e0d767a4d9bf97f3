"""Keys and values of a batch whose rows come, grow and go one by one.

A row keeps its tokens at places 0, 1, 2 …, whatever its neighbours do: nothing is ever shifted, and positions
are those it would have alone. Rows in use are 0 to n - 1; one forward pass writes and reads a
contiguous range of them, and a row that goes is replaced by the last one. What lies beyond a row's own length
is rubbish that the mask hides. The model sees an object with `update`, as transformers' caches are.
"""

from __future__ import annotations

from typing import Any

from memalpha.policy.local.libraries import torch

_FIRST_LENGTH = 256


class Cache:
    """Grows by doubling, in rows and in length."""

    def __init__(self) -> None:
        """Empty; what keys and values are like is learnt from the first ones."""
        self._layers: list[tuple[Any, Any]] = []
        self._rows = slice(0, 0)
        self._positions: Any = None
        self._width = 0

    def aim(self, first: int, positions: Any) -> Any:
        """Prepares a pass over rows from `first` on; returns its mask (rows, 1, new, width), True is seen.

        Args:
            first: the first row.
            positions: places (rows, new) of the tokens that go in.
        """
        self._rows = slice(first, first + positions.shape[0])
        self._positions = positions
        self._width = int(positions.max()) + 1
        places = torch.arange(self._width, device=positions.device)
        return (places <= positions[:, :, None])[:, None]

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Called by each layer with (rows, heads, new, size); returns all that the pass may look at."""
        if layer == len(self._layers):
            self._layers.append((_room(keys), _room(values)))
        kept = tuple(
            self._written(store, new) for store, new in zip(self._layers[layer], (keys, values), strict=True)
        )
        self._layers[layer] = (kept[0], kept[1])
        return kept[0][self._rows, :, : self._width], kept[1][self._rows, :, : self._width]

    def move(self, source: int, target: int) -> None:
        """Puts a row in another one's place."""
        for store in (store for pair in self._layers for store in pair):
            store[target] = store[source]

    def clear(self) -> None:
        """Forgets everything and gives the memory back."""
        self._layers.clear()

    def _written(self, store: Any, new: Any) -> Any:
        store = _grown(_grown(store, 0, self._rows.stop), 2, self._width)
        places = self._positions[:, None, :, None].expand_as(new)
        store[self._rows].scatter_(2, places, new)
        return store


def _room(like: Any) -> Any:
    return like.new_zeros((like.shape[0], like.shape[1], _FIRST_LENGTH, like.shape[3]))


def _grown(store: Any, dimension: int, least: int) -> Any:
    have = store.shape[dimension]
    if have >= least:
        return store
    shape = list(store.shape)
    shape[dimension] = max(least, 2 * have) - have
    return torch.cat([store, store.new_zeros(shape)], dim=dimension)
