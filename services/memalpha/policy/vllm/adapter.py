"""A LoRA adapter (arXiv 2106.09685) that is served on top of a model's weights, as peft writes it.

There is one, given at the start, and all that is generated and scored is by it: it is a part of the policy's
identity, and weights are not exchanged below it. Whatever vLLM would leave out, or refuse only later, is
refused here: an adapter must be of the plain kind, and each of its tensors must fit a layer of the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError, UnsupportedError, make
from memalpha.policy.local.libraries import torch
from memalpha.policy.vllm.files import Mark, Shapes, parts, stat_mark

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
# Ranks that vLLM has room for; an adapter takes the least that it fits into.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


class Adapter(BaseModel):
    """What is read of an adapter's configuration; each bound is one of vLLM's."""

    model_config = ConfigDict(frozen=True)

    peft_type: Literal["LORA"]
    r: int = Field(ge=1, le=_RANKS[-1])
    bias: Literal["none"] = "none"
    # What changes the model's own weights when an adapter is made is missing below it later.
    init_lora_weights: bool | Literal["gaussian", "eva", "orthogonal"] = True
    use_dora: Literal[False] | None = None
    use_qalora: Literal[False] | None = None
    lora_bias: Literal[False] | None = None
    rank_pattern: dict[str, int] | None = Field(None, max_length=0)
    modules_to_save: list[str] | None = Field(None, max_length=0)
    alora_invocation_tokens: list[int] | None = Field(None, max_length=0)
    trainable_token_indices: list[int] | None = Field(None, max_length=0)
    layer_replication: None = None
    use_bdlora: None = None

    @property
    def room(self) -> int:
        """The rank that vLLM is told of."""
        return next(rank for rank in _RANKS if rank >= self.r)


def read(folder: Path) -> Adapter:
    """A folder's adapter.

    Raises:
        InvalidInputError: ADAPTER_NOT_FOUND.
        UnsupportedError: ADAPTER_NOT_LOADED.
    """
    if not (folder / CONFIG).is_file() or not (folder / TENSORS).is_file():
        message = (
            f"policy.adapter must be the folder of an adapter, with {CONFIG} and {TENSORS}; it is {folder}"
        )
        raise make(InvalidInputError, "ADAPTER_NOT_FOUND", message, path=folder)
    try:
        return Adapter.model_validate(json.loads((folder / CONFIG).read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise _not_loaded(folder, f"{CONFIG}: {where}: {first['msg']}") from None
    except (RecursionError, ValueError) as error:
        raise _not_loaded(folder, f"{CONFIG}: {error}") from None


def check(settings: PolicySettings, shapes: Shapes) -> None:
    """Refuses an adapter that does not fit a model's tensors; nothing if there is none.

    Raises:
        InvalidInputError: ADAPTER_NOT_FOUND, or INVALID_SETTING beside weights that are exchanged.
        UnsupportedError: ADAPTER_NOT_LOADED, MODEL_NOT_LOADED.
    """
    folder = settings.adapter
    if folder is None:
        return
    if settings.weights_root is not None:
        message = (
            "policy.weights_root must be unset with policy.adapter, below which no weights are exchanged"
        )
        raise make(InvalidInputError, "INVALID_SETTING", message, setting="policy.weights_root")
    rank, found = read(folder).r, dict(parts(folder))
    if not found:
        raise _not_loaded(folder, f"{TENSORS} holds nothing")
    for name, part in found.items():
        if list(part.get_shape()) != _expected(name, shapes, rank) or _other(name) not in found:
            raise _not_loaded(folder, f"{name} fits no layer of the model, which it must with its pair")
        if not torch.isfinite(part[:]).all():
            raise _not_loaded(folder, f"{name} holds a number that is not finite")


def arguments(folder: Path) -> dict[str, Any]:
    """How vLLM is told of an adapter beforehand.

    Raises:
        InvalidInputError, UnsupportedError: As `read`.
    """
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": read(folder).room}


def mark(folder: Path) -> Mark:
    """What tells an adapter from any other; see `files.mark`."""
    return stat_mark(folder / CONFIG, folder / TENSORS)


def _expected(name: str, shapes: Shapes, rank: int) -> list[int] | None:
    """The shape of a tensor: A is (rank, in), B is (out, rank) for weights (out, in)."""
    layer, up = name.removeprefix(_PREFIX).removesuffix(_DOWN).removesuffix(_UP), name.endswith(_UP)
    weight = shapes.get(f"{layer}.weight", ())
    if not layer.endswith("_proj") or len(weight) != 2:
        return None
    return [weight[0], rank] if up else [rank, weight[1]]


def _other(name: str) -> str:
    """The name of a tensor's pair."""
    if name.endswith(_DOWN):
        return name.removesuffix(_DOWN) + _UP
    return name.removesuffix(_UP) + _DOWN


def _not_loaded(folder: Path, reason: str) -> UnsupportedError:
    message = f"adapter {folder} cannot be served: {' '.join(reason.split())[:400]}"
    return make(UnsupportedError, "ADAPTER_NOT_LOADED", message, path=folder)
