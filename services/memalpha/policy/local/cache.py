"""Keys and values of a batch whose rows come, grow and go one by one.

A row keeps its tokens at places 0, 1, 2 …, whatever its neighbours do: nothing is ever shifted, and positions
are those it would have alone. Rows in use are 0 to n - 1, and a row that goes is replaced by the last one.
What lies beyond a row's own length is rubbish that no pass looks at. Passes see it as an `Attention`.
"""

from __future__ import annotations

from typing import Any

from memalpha.policy.local.libraries import torch
from memalpha.policy.local.network import Attention, causal, masked

_FIRST_LENGTH = 256
# It shrinks once it is so many times as long as its longest row needs.
_SLACK = 4
# Places that a step sees more or fewer of at a time, where its shapes must not be its longest row's. Within
# a multiple of it, places without weight change no sum of the matrix libraries; a test holds them to that.
_BLOCK = 256


class Cache:
    """Grows by doubling, in rows and in length; shrinks when its longest rows are gone."""

    def __init__(self) -> None:
        """Empty; what keys and values are like is learnt from the first ones."""
        self._layers: list[tuple[Any, Any]] = []

    def prompts(self, first: int) -> Attention:
        """A pass over whole rows, from their first token on; they become rows `first` and following."""

        def attend(layer: int, queries: Any, keys: Any, values: Any, scale: float) -> Any:
            rows, width = slice(first, first + keys.shape[0]), keys.shape[2]
            for store, new in zip(
                self._with_room(layer, keys, rows.stop, width), (keys, values), strict=True
            ):
                store[rows, :, :width] = new
            return causal(layer, queries, keys, values, scale)

        return attend

    def steps(self, places: Any, *, blocks: bool = False) -> Attention:
        """A pass over one new token of each row, at these places (rows,); with `blocks`, of whole blocks."""
        count, width = places.shape[0], int(places.max()) + 1
        width = -(-width // _BLOCK) * _BLOCK if blocks else width
        rows = torch.arange(count, device=places.device)
        hidden = torch.arange(width, device=places.device) > places[:, None]

        def attend(layer: int, queries: Any, keys: Any, values: Any, scale: float) -> Any:
            stores = self._with_room(layer, keys, count, width)
            for store, new in zip(stores, (keys, values), strict=True):
                store[rows, :, places] = new[:, :, 0]
            seen_keys, seen_values = (store[:count, :, :width] for store in stores)
            return masked(queries, seen_keys, seen_values, mask.to(queries.dtype), scale)

        mask = torch.zeros(hidden.shape, device=places.device).masked_fill_(hidden, -torch.inf)[:, None, None]
        return attend

    def move(self, source: int, target: int) -> None:
        """Puts a row in another one's place."""
        for store in (store for pair in self._layers for store in pair):
            store[target] = store[source]

    def clear(self) -> None:
        """Forgets everything and gives the memory back."""
        self._layers.clear()

    def fit(self, rows: int, length: int) -> None:
        """Gives memory back that the first `rows` rows, none longer than `length`, do not need."""
        if not rows:
            self.clear()
        elif self._layers and self._layers[0][0].shape[2] >= _SLACK * max(length, _FIRST_LENGTH):
            kept = slice(rows), slice(None), slice(max(2 * length, _FIRST_LENGTH))
            self._layers = [(keys[kept].clone(), values[kept].clone()) for keys, values in self._layers]

    def _with_room(self, layer: int, like: Any, rows: int, length: int) -> tuple[Any, Any]:
        if layer == len(self._layers):
            shape = (rows, like.shape[1], _FIRST_LENGTH, like.shape[3])
            self._layers.append((like.new_zeros(shape), like.new_zeros(shape)))
        keys, values = (_grown(_grown(store, 0, rows), 2, length) for store in self._layers[layer])
        self._layers[layer] = keys, values
        return keys, values


def _grown(store: Any, dimension: int, least: int) -> Any:
    have = store.shape[dimension]
    if have >= least:
        return store
    shape = list(store.shape)
    shape[dimension] = max(least, 2 * have) - have
    return torch.cat([store, store.new_zeros(shape)], dim=dimension)
