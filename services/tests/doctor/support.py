"""Checkpoints and machines that doctor looks at; no model's libraries are needed."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from memalpha import config
from memalpha.errors import MemalphaError
from memalpha.policy.engine import create
from memalpha.up.doctor import examined
from memalpha.up.finding import Finding
from memalpha.up.machine import GIB, Gpu

# Qwen/Qwen3-4B as its config.json has it; 4.02 billion parameters by its model card.
QWEN3_4B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 2560,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 9728,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}
# The same in small, for files that are read whole.
SMALL = QWEN3_4B | {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 64}
H100 = Gpu("NVIDIA H100", 80 * GIB, 79 * GIB, "580.95.05")
GPU_HOST: dict[str, Any] = {"gpus": (H100,), "vllm": "0.32.0", "torch": "2.13.0", "transformers": "5.19.0"}

Shapes = dict[str, tuple[int, ...]]


def tensors(told: dict[str, Any]) -> Shapes:
    """Names and shapes as the library saves a model of this configuration, with a tied head."""
    wide, head = told["hidden_size"], told["head_dim"]
    query, key = told["num_attention_heads"] * head, told["num_key_value_heads"] * head
    found: Shapes = {"model.embed_tokens.weight": (told["vocab_size"], wide), "model.norm.weight": (wide,)}
    for layer in (f"model.layers.{number}" for number in range(told["num_hidden_layers"])):
        shapes = {"q": (query, wide), "k": (key, wide), "v": (key, wide), "o": (wide, query)}
        found |= {f"{layer}.self_attn.{name}_proj.weight": shape for name, shape in shapes.items()}
        units = {name: (told["intermediate_size"], wide) for name in ("gate", "up")}
        units["down"] = (wide, told["intermediate_size"])
        found |= {f"{layer}.mlp.{name}_proj.weight": shape for name, shape in units.items()}
        found |= {f"{layer}.{name}_layernorm.weight": (wide,) for name in ("input", "post_attention")}
    return found


def write(path: Path, shapes: Shapes) -> None:
    """A safetensors file of zeros, with holes in the place of most of them."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for count in shape:
            size *= count
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


def configured(folder: Path, told: dict[str, Any]) -> None:
    """Makes a folder the checkpoint of a configuration."""
    (folder / "config.json").write_text(json.dumps(told))
    write(folder / "model.safetensors", tensors(told))


def found(folder: Path, *, dry_run: bool = False, **policy: object) -> dict[str, Finding]:
    """What doctor finds, by what it looked at."""
    settings = config.load(policy_engine="vllm", policy={"model": str(folder), **policy})
    return {each.name: each for each in examined(settings, dry_run=dry_run)}


def bad(findings: dict[str, Finding]) -> set[str]:
    """What is in the way."""
    return {name for name, each in findings.items() if each.state == "bad"}


def engine_refuses(folder: Path, **policy: object) -> str:
    """What the engine says of the same."""
    settings = config.load(policy_engine="vllm", policy={"model": str(folder), **policy}).policy
    with pytest.raises(MemalphaError) as caught:
        create("vllm", wire_format="lines", settings=settings)
    return str(caught.value)
