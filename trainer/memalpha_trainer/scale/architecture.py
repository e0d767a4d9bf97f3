"""What a model is, as its `config.json` says it; of Qwen3-4B also as published, before any download.

Only dense decoders of the kinds that the policy service serves. Parameters are counted by formula, so that a
plan needs no torch; the dry run holds the count against the network that it builds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from memalpha.errors import InvalidInputError, make

QWEN3_4B: Mapping[str, Any] = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000,
    "attention_bias": False,
    "tie_word_embeddings": True,
}
"""Qwen/Qwen3-4B's `config.json`, what decides its tensors and no more."""

KINDS = ("qwen3", "qwen2", "llama")
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder.

    Attributes:
        raw: All of `config.json`.
        origin: Where it comes from, for people.
    """

    raw: Mapping[str, Any]
    origin: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """A model folder's architecture, or Qwen3-4B's, if the folder is named so and not there.

        Raises:
            InvalidInputError: MODEL_NOT_FOUND or UNKNOWN_ARCHITECTURE.
        """
        file = folder / "config.json"
        if not folder.exists() and folder.name.lower() == "qwen3-4b":
            return cls(QWEN3_4B, f"Qwen3-4B as published ({folder} is not there yet)")
        try:
            raw = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            message = f"policy.model must be a folder with config.json, or named Qwen3-4B: {file}: {error}"
            raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=folder) from None
        _check(file, raw)
        return cls(raw, str(folder))

    @property
    def layers(self) -> int:
        """Decoder layers."""
        return self.raw["num_hidden_layers"]

    @property
    def attended(self) -> int:
        """Size of all query heads together."""
        heads = self.raw["num_attention_heads"]
        return heads * (self.raw.get("head_dim") or self.raw["hidden_size"] // heads)

    @property
    def head(self) -> int:
        """Parameters of the output head, which may be the embedding."""
        return self.raw["vocab_size"] * self.raw["hidden_size"]

    @property
    def decoder(self) -> int:
        """Parameters of all layers' matrices: what a token is multiplied with before the head."""
        hidden, heads = self.raw["hidden_size"], self.raw["num_attention_heads"]
        groups = self.raw.get("num_key_value_heads") or heads
        attention = 2 * hidden * self.attended + 2 * hidden * self.attended * groups // heads
        return self.layers * (attention + 3 * hidden * self.raw["intermediate_size"])


def _check(file: Path, raw: Any) -> None:
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind not in KINDS:
        message = f"{file}: model_type must be one of {', '.join(KINDS)}, not {kind!r}"
        raise make(InvalidInputError, "UNKNOWN_ARCHITECTURE", message, path=file)
    for name in _SIZES:
        size = raw.get(name)
        if not isinstance(size, int) or size < 1:
            message = f"{file}: {name} must be a positive integer, not {size!r}"
            raise make(InvalidInputError, "UNKNOWN_ARCHITECTURE", message, path=file)
