"""A LoRA adapter (arXiv 2106.09685) that is served on top of a model's weights, as peft writes it.

There is one, given at the start, and all that is generated and scored is by it: it is a part of the policy's
identity, and weights are not exchanged below it. Whatever vLLM would leave out, or refuse only later, is
refused here: an adapter must be of the plain kind, and each of its tensors must fit a layer of the model.
vLLM is told which layers it changes: it would wrap all others too, and of an untied head that is wrapped its
kernels for a CPU die when they score.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memalpha.errors import InvalidInputError, UnsupportedError, make
from memalpha.policy import headers
from memalpha.policy.architecture import not_loaded
from memalpha.policy.local.libraries import Library
from memalpha.policy.local.model import finite
from memalpha.policy.marks import Mark, digests
from memalpha.policy.vllm.files import Shapes

_safetensors: Any = Library("safetensors")

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
        raise not_served(folder, f"{CONFIG}: {where}: {first['msg']}") from None
    except (RecursionError, ValueError) as error:
        raise not_served(folder, f"{CONFIG}: {error}") from None


def check(folder: Path, model: Path) -> None:
    """Refuses an adapter that does not fit a model's tensors; headers of files alone are read.

    Args:
        folder: of the adapter.
        model: Folder of the model; one without weights tells of no misfit.

    Raises:
        InvalidInputError: ADAPTER_NOT_FOUND.
        UnsupportedError: ADAPTER_NOT_LOADED, MODEL_NOT_LOADED.
    """
    rank, found = read(folder).r, _shapes(folder)
    if not found:
        raise not_served(folder, f"{TENSORS} holds nothing")
    try:
        below = headers.shapes(model)
    except (OSError, ValueError) as error:
        raise not_loaded(model, str(error)) from None
    for name, shape in found.items():
        if below and (shape != _expected(name, below, rank) or _other(name) not in found):
            raise not_served(folder, f"{name} fits no layer of the model, which it must with its pair")


def check_finite(folder: Path) -> None:
    """Refuses an adapter with a number that is none; reads it all.

    Raises:
        UnsupportedError: ADAPTER_NOT_LOADED.
    """
    try:
        with _safetensors.safe_open(folder / TENSORS, "pt") as file:
            wrong = [
                name
                for name in file.keys()  # noqa: SIM118 - it is no dict
                if not finite(file.get_tensor(name))
            ]
    except Exception as error:  # safetensors' own error derives from nothing else
        raise not_served(folder, f"{TENSORS}: {error}") from error
    if wrong:
        raise not_served(folder, f"{wrong[0]} holds a number that is not finite")


def arguments(folder: Path) -> dict[str, Any]:
    """How vLLM is told of an adapter beforehand: its rank, and the kinds of layers that it changes.

    Raises:
        InvalidInputError, UnsupportedError: As `read`; or the file of tensors is none.
    """
    room, kinds = read(folder).room, {_layer(name).rpartition(".")[2] for name in _shapes(folder)}
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": room,
        "lora_target_modules": sorted(kinds),
    }


def mark(folder: Path) -> Mark:
    """What tells an adapter from any other.

    Raises:
        OSError: It cannot be read.
    """
    return digests(folder / CONFIG, folder / TENSORS)


def _shapes(folder: Path) -> Shapes:
    path = folder / TENSORS
    try:
        found = {name: part.shape for name, part in headers.read(path).items()}
        whole = headers.is_whole(path)
    except (OSError, ValueError) as error:
        raise not_served(folder, str(error)) from None
    if not whole:
        raise not_served(folder, f"{TENSORS} is torn: it is not as long as it says itself")
    return found


def _expected(name: str, shapes: Shapes, rank: int) -> tuple[int, int] | None:
    """The shape of a tensor: A is (rank, in), B is (out, rank) for weights (out, in)."""
    layer, up = _layer(name), name.endswith(_UP)
    weight = shapes.get(f"{layer}.weight", ())
    if not layer.endswith("_proj") or len(weight) != 2:
        return None
    return (weight[0], rank) if up else (rank, weight[1])


def _layer(name: str) -> str:
    """The model's layer that a tensor is for."""
    return name.removeprefix(_PREFIX).removesuffix(_DOWN).removesuffix(_UP)


def _other(name: str) -> str:
    """The name of a tensor's pair."""
    if name.endswith(_DOWN):
        return name.removesuffix(_DOWN) + _UP
    return name.removesuffix(_UP) + _DOWN


def not_served(folder: Path, reason: str) -> UnsupportedError:
    """The error of an adapter that cannot be served."""
    message = f"adapter {folder} cannot be served: {' '.join(reason.split())[:400]}"
    return make(UnsupportedError, "ADAPTER_NOT_LOADED", message, path=folder)
