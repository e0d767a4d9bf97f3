"""Counts the bytes of every tensor that is alive, fake ones included; so a peak is known without memory.

Own accounting, not an allocator's: a storage counts from the operation that makes it until its last tensor
dies, views count nothing, and a storage that is resized in place (FSDP2 frees gathered parameters so) counts
its new size. What an allocator adds, by rounding and fragments, is not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(TorchDispatchMode):
    """Bytes alive now and at most, from when it is entered; not reentrant.

    Attributes:
        live: Bytes now.
        peak: The most since the last `restart`.
    """

    def __init__(self, tensors: Iterable[torch.Tensor] = ()) -> None:
        """Counts these from the start."""
        super().__init__()
        self.live = self.peak = 0
        self._storages: dict[int, tuple[Any, int]] = {}
        self._resize = torch.UntypedStorage.resize_
        for tensor in tensors:
            self._see(tensor)

    def restart(self) -> None:
        """Forgets the peak."""
        self.peak = self.live

    def __enter__(self) -> Self:
        meter, resize = self, self._resize

        def resize_(storage: torch.UntypedStorage, size: int) -> torch.UntypedStorage:
            resized = resize(storage, size)
            meter._resized(storage)
            return resized

        torch.UntypedStorage.resize_ = resize_
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.UntypedStorage.resize_ = self._resize

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        return made

    def _see(self, tensor: torch.Tensor) -> None:
        storage = local(tensor).untyped_storage()
        key = storage._cdata
        if key not in self._storages:
            self._storages[key] = (weakref.ref(storage, lambda _: self._gone(key)), storage.nbytes())
            self._add(storage.nbytes())

    def _resized(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._storages:
            reference, before = self._storages[key]
            self._storages[key] = (reference, storage.nbytes())
            self._add(storage.nbytes() - before)

    def _gone(self, key: int) -> None:
        self._add(-self._storages.pop(key)[1])

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What of a tensor lies on this rank."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def size(tensors: Iterable[torch.Tensor | None]) -> int:
    """Bytes of tensors on this rank."""
    return sum(local(each).nbytes for each in tensors if each is not None)
