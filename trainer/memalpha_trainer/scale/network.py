"""The network of a run, built without data, and what must be true of it before weights are loaded.

A checkpoint fits if its headers name every tensor with its shape, and no other. Adapters fit if every target
names linear layers in every decoder layer. Headers are read, data never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import get_peft_model
from safetensors import SafetensorError, safe_open
from trl.trainer.utils import add_fused_lm_head

from memalpha.errors import InvalidInputError, make
from memalpha_trainer.config import Config
from memalpha_trainer.grpo.arguments import lora
from memalpha_trainer.scale.architecture import Architecture

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Network:
    """A causal language model as it is trained, all of it on the meta device.

    Attributes:
        causal: The language model itself.
        outer: What is called and optimized: the same, or adapters around it.
        adapted: Names of the linear layers that have an adapter.
    """

    causal: Any
    outer: Any
    adapted: tuple[str, ...] = ()

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """Parameters that get gradients."""
        return [each for each in self.outer.parameters() if each.requires_grad]


def build(architecture: Architecture, config: Config) -> Network:
    """The run's network on the meta device, in single precision, its head fused with the loss as TRL does it.

    Raises:
        InvalidInputError: LORA_TARGET_NOT_FOUND.
    """
    causal = bare(architecture)
    add_fused_lm_head(causal, outputs=("log_probs", "entropy"))
    adapter = lora(config)
    if adapter is None:
        return Network(causal, causal)
    adapted = adapted_layers(causal, config.scale.lora_targets)
    return Network(causal, get_peft_model(causal, adapter), adapted)


def bare(architecture: Architecture) -> Any:
    """The causal language model on the meta device, its head tied if the architecture says so."""
    raw = dict(architecture.raw)
    settings = transformers.AutoConfig.for_model(raw.pop("model_type"), **raw)
    with torch.device("meta"):
        causal = transformers.AutoModelForCausalLM.from_config(
            settings, dtype=torch.float32, attn_implementation="sdpa"
        )
    causal.tie_weights()
    return causal


def is_tied(causal: Any) -> bool:
    """Whether the head is the embedding."""
    return causal.get_output_embeddings().weight is causal.get_input_embeddings().weight


def adapted_layers(causal: Any, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the linear layers that targets name.

    Raises:
        InvalidInputError: LORA_TARGET_NOT_FOUND: a target that names none, or not one in each decoder layer.
    """
    linear = [name for name, each in causal.named_modules() if isinstance(each, torch.nn.Linear)]
    count = causal.config.num_hidden_layers
    for target in targets:
        found = [name for name in linear if name.rpartition(".")[2] == target]
        if len(found) != count:
            choices = sorted({name.rpartition(".")[2] for name in linear})
            message = (
                f"scale.lora_targets must each name one linear layer of all {count} decoder layers: "
                f"{target!r} names {len(found)}; there are {', '.join(choices)}"
            )
            raise make(InvalidInputError, "LORA_TARGET_NOT_FOUND", message, target=target)
    return tuple(name for name in linear if name.rpartition(".")[2] in targets)


def check_checkpoint(folder: Path, causal: Any) -> int:
    """Holds a folder's headers against a network; returns how many tensors it holds.

    Raises:
        InvalidInputError: CHECKPOINT_MISMATCH, naming tensors, or CHECKPOINT_UNREADABLE.
    """
    found = headers(folder)
    expected = {name: tuple(each.shape) for name, each in causal.state_dict().items()}
    wrong = mismatches(expected, found, optional={"lm_head.weight"} if is_tied(causal) else set())
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        message = f"checkpoint {folder} is not of the network of its config.json: {shown}"
        raise make(InvalidInputError, "CHECKPOINT_MISMATCH", message, path=folder)
    return len(found)


def mismatches(expected: Shapes, found: Shapes, optional: set[str]) -> list[str]:
    """What differs, one line each; a tensor that is optional may be missing."""
    missing = sorted(expected.keys() - found.keys() - optional)
    surplus = sorted(found.keys() - expected.keys())
    shaped = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    return [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unknown" for name in surplus),
        *(f"{name} is {list(found[name])}, not {list(expected[name])}" for name in shaped),
    ]


def headers(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a folder's safetensors files.

    Raises:
        InvalidInputError: CHECKPOINT_UNREADABLE: no file, a torn one, or a tensor that two files hold.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found = _header(path)
        twice = sorted(shapes.keys() & found.keys())
        if twice:
            raise _unreadable(path, f"another file holds {twice[0]} too")
        shapes |= found
    if not shapes:
        raise _unreadable(folder, "it holds no tensors in *.safetensors")
    return shapes


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, str(error)) from None


def _unreadable(path: Path, reason: str) -> InvalidInputError:
    message = f"checkpoint cannot be read: {path}: {reason}"
    return make(InvalidInputError, "CHECKPOINT_UNREADABLE", message, path=path)
