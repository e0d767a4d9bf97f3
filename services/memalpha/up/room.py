"""Whether a model, its cache and what runs beside it have room on each device, of which there may be several.

A CPU's processes share what is free; a GPU's has the share of it that the settings say, and all of that must
be free when it starts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from memalpha.config import PolicySettings
from memalpha.policy.vllm.refusals import Case
from memalpha.up import machine
from memalpha.up.machine import GIB, Gpu

# What passes, graphs and libraries take beside weights and cache; measured for the CPU, an estimate for GPUs.
_BESIDE = {True: 5 * GIB, False: 3 * GIB}


@dataclass(frozen=True, slots=True)
class Room:
    """What was found: whether it is enough, or None where that is not known; and in words."""

    enough: bool | None
    text: str

    def state(self, lacks: Literal["note", "bad"]) -> Literal["ok", "note", "bad"]:
        """What it means where what is lacking means `lacks`."""
        return "note" if self.enough is None else "ok" if self.enough else lacks


def devices(policy: PolicySettings) -> int:
    """Devices that all copies of the model need."""
    return policy.data_parallel * policy.tensor_parallel


def used(policy: PolicySettings) -> list[Gpu]:
    """GPUs that vLLM would take: as many as are needed, of those that are to be seen."""
    return machine.visible(machine.gpus(), os.environ)[: devices(policy)]


def measured(case: Case) -> Room:
    """Room on the smallest device."""
    size, token = case.architecture.size, case.token_bytes
    if size is None or token is None:
        return Room(None, "not known: config.json leaves out how large the model is")
    weights = size.parameters * case.number // case.settings.tensor_parallel
    all_of_them = size.parameters * case.number / GIB
    said = f"{size.parameters / 1e6:,.1f} M parameters, {all_of_them:.2f} GiB; {token / 1024:.0f} KiB a token"
    room = _on_cpu(case.settings) if case.on_cpu else _on_gpu(case)
    if room is None:
        return Room(None, f"{said}; what there is here is not known")
    left = room - weights - _BESIDE[case.on_cpu]
    # A cache of a given size is held against a context by the engine's own rule.
    cache, least = (left, case.context_bytes or token) if case.cache_bytes is None else (case.cache_bytes, 0)
    fits = least <= cache <= left
    said += f"; {room / GIB:.1f} GiB to be had, {max(cache, 0) // token:,} tokens of keys and values"
    context = case.architecture.context(case.settings.context_tokens)
    return Room(fits, said + (f", of which a context takes {context:,}" if context else ""))


def free(policy: PolicySettings) -> Room:
    """Whether the share of each GPU that vLLM takes is free, without which it does not start."""
    found = used(policy)
    if not found or any(gpu.free is None or gpu.memory is None for gpu in found):
        return Room(None, "what is free is not known")
    taken = [gpu for gpu in found if (gpu.free or 0) < (gpu.memory or 0) * policy.gpu_memory]
    said = ", ".join(f"GPU {gpu.index}: {(gpu.free or 0) / GIB:.1f} GiB" for gpu in taken or found)
    wanted = f"policy.gpu_memory {policy.gpu_memory:g} takes {policy.gpu_memory:.0%} of each, at once"
    return Room(not taken, f"{said} free; {wanted}")


def _on_cpu(policy: PolicySettings) -> int | None:
    free = machine.free_memory()
    return None if free is None else free // devices(policy)


def _on_gpu(case: Case) -> int | None:
    """Where the size of the cache is given, vLLM goes by it and not by the share."""
    given, share = case.cache_bytes is not None, case.settings.gpu_memory
    rooms = [gpu.free if given else gpu.memory and int(gpu.memory * share) for gpu in used(case.settings)]
    known = [room for room in rooms if room is not None]
    return min(known) if known and len(known) == len(rooms) else None
