"""Where training starts: weights in which a circuit that copies is already laid.

A name is two tokens, and a writer that skips a statement can find the second one only by what followed the
first where it stood before. That takes two heads in two layers (Olsson et al. 2022, arXiv 2209.11895), which
gradients alone are slow to find. So the first head of the first layer begins by looking at the token
before; that of the second looks for tokens whose token before is the current one, and passes them on.
Everything else is left to chance, and all of it is trained like any other weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from memalpha.errors import InvalidInputError, make

_LAYERS = 2
_EMBEDDING_SCALE = 6.0
"""Of embeddings, so that layers do not drown them in the first steps."""
_ALWAYS = 0.5
"""What every embedding has in its first place: with tied embeddings it moves all logits alike."""
_TURNS = 3
"""Pairs of a head's places, the fastest turning ones, by which it tells the token before from others."""
_GAIN = 2.0
"""Of the norms of queries and keys in the places that are used, so that attention can be sharp."""
_NOTED, _PASSED_ON = 0.5, 0.25
"""How strongly the two heads write."""


def lay_circuit(folder: Path, seed: int) -> None:
    """Lays the circuit in a checkpoint's weights, in place; whoever had sealed it has to seal it again.

    Args:
        folder: Of a Qwen3 network of two layers or more, with tied embeddings.
        seed: Of the directions in which tokens are noted.

    Raises:
        InvalidInputError: INVALID_SHAPE: the circuit takes two layers.
    """
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    layers = network.config.num_hidden_layers
    if layers < _LAYERS:
        message = f"layers must be {_LAYERS} or more, for a circuit that copies; it is {layers}"
        raise make(InvalidInputError, "INVALID_SHAPE", message, field="layers")
    with torch.no_grad():
        _lay(network, torch.Generator().manual_seed(seed))
    network.save_pretrained(folder)


def _lay(network: Any, chance: torch.Generator) -> None:
    """As `lay_circuit`, in a network; without gradients."""
    embeddings, config = network.model.embed_tokens.weight, network.config
    embeddings.mul_(_EMBEDDING_SCALE)
    embeddings[:, 0] = _ALWAYS
    size = config.head_dim
    directions = _directions(config.hidden_size, 2 * size, chance)
    said, noted = directions[:size], directions[size:]
    first, second = (layer.self_attn for layer in network.model.layers[:_LAYERS])
    _look_back(first, config.rope_parameters["rope_theta"], size)
    _pass_on(first, said, noted.T * _NOTED)
    _look_for(second, said, noted)
    passed = _directions(config.hidden_size, size, chance)
    _pass_on(second, passed, passed.T * _PASSED_ON)


def _directions(places: int, count: int, chance: torch.Generator) -> torch.Tensor:
    """Orthonormal directions (count, places) that do not see the first place."""
    found = torch.linalg.qr(torch.randn(places, places, generator=chance))[0][:count]
    found[:, 0] = 0
    return found


def _look_back(attention: Any, theta: float, size: int) -> None:
    """By position alone: a query is the key turned back by one token."""
    turns = torch.arange(_TURNS)
    angles = theta ** (-2.0 * turns / size)
    attention.q_proj.weight[:size] = 0
    attention.k_proj.weight[:size] = 0
    attention.k_proj.weight[turns, 0] = 1
    attention.q_proj.weight[turns, 0] = angles.cos()
    attention.q_proj.weight[turns + size // 2, 0] = -angles.sin()
    _sharpen(attention, torch.cat([turns, turns + size // 2]))


def _look_for(attention: Any, said: torch.Tensor, noted: torch.Tensor) -> None:
    """By what is said now and was noted there, in the places that hardly turn."""
    size = len(said)
    slow = torch.arange(size).view(2, 2, -1)[:, 1].flatten()
    attention.q_proj.weight[:size] = 0
    attention.k_proj.weight[:size] = 0
    attention.q_proj.weight[slow] = said[slow]
    attention.k_proj.weight[slow] = noted[slow]
    _sharpen(attention, slow)


def _pass_on(attention: Any, read: torch.Tensor, write: torch.Tensor) -> None:
    size = len(read)
    attention.v_proj.weight[:size] = read
    attention.o_proj.weight[:, :size] = write


def _sharpen(attention: Any, places: torch.Tensor) -> None:
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[places] = _GAIN
