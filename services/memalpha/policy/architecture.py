"""What a checkpoint's config.json says of its model, checked, and how large that makes it.

Only decoders with full attention in every layer and a plain output head are served. What the file leaves out
is the library's to fill in, and not known here. No library of models is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memalpha.errors import UnsupportedError, make

CONFIG = "config.json"
ARCHITECTURES = ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM")

# What may differ between configurations of one network: notes of libraries, how it is run, and special ids,
# which a tokenizer's digest stands for.
_NOTES = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
_IDS = {"bos_token_id", "eos_token_id", "pad_token_id"}

Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is: parameters, and numbers that are kept of each token it reads."""

    parameters: int
    per_token: int


class Architecture(BaseModel):
    """What is read of the file; a field is None where the file does not say."""

    model_config = ConfigDict(frozen=True)

    architectures: list[str] | None = None
    layer_types: list[str] | None = None
    use_sliding_window: bool | None = None
    max_position_embeddings: Count | None = None
    hidden_size: Count | None = None
    num_hidden_layers: Count | None = None
    num_attention_heads: Count | None = None
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    intermediate_size: Count | None = None
    vocab_size: Count | None = None
    tie_word_embeddings: bool | None = None
    quantization_config: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What a folder's file says.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED: it is no such file.
        """
        try:
            return cls.model_validate(json.loads((folder / CONFIG).read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise not_loaded(folder, f"{CONFIG}: {where or 'all of it'}: {first['msg']}") from None
        except (OSError, RecursionError, ValueError) as error:
            raise not_loaded(folder, f"{CONFIG}: {error}") from None

    def check(self, folder: Path) -> None:
        """Refuses a model that cannot be served.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED.
        """
        name = (self.architectures or ["none"])[0]
        if name not in ARCHITECTURES:
            raise not_loaded(folder, f"architecture must be one of {', '.join(ARCHITECTURES)}, not {name}")
        # Without layer_types, Qwen2's switch alone says that upper layers see a window.
        windows = self.use_sliding_window and not self.layer_types
        if windows or set(self.layer_types or ["full_attention"]) != {"full_attention"}:
            raise not_loaded(folder, "layer_types must be full_attention throughout")
        if self.quantization_config is not None:
            rule = "must be unset: weights are served, compared and exchanged as plain numbers"
            raise not_loaded(folder, f"quantization_config {rule}")

    def context(self, most: int | None) -> int | None:
        """Most tokens of prompt and completion, where a setting may say fewer; None: not known."""
        known = [each for each in (self.max_position_embeddings, most) if each is not None]
        return min(known, default=None)

    @property
    def size(self) -> Size | None:
        """Embedding, attention with shared keys, gated layers, head; None where a number is missing."""
        hidden, layers, heads = self.hidden_size, self.num_hidden_layers, self.num_attention_heads
        if not (hidden and layers and heads and self.intermediate_size and self.vocab_size):
            return None
        shared = self.num_key_value_heads or heads
        head = self.head_dim or hidden // heads
        layer = 2 * hidden * head * (heads + shared) + 3 * hidden * self.intermediate_size
        tables = 1 if self.tie_word_embeddings else 2
        return Size(layers * layer + tables * self.vocab_size * hidden, 2 * layers * shared * head)


def check_alike(folder: Path, found: dict[str, Any], served: dict[str, Any]) -> None:
    """Refuses a folder whose tensors, alike as they may be, are for another network than the served one.

    Args:
        folder: of the tensors.
        found: its configuration, as the library of models reads it.
        served: that of the served model.

    Raises:
        UnsupportedError: CONFIG_DIFFERS.
    """
    names = (found.keys() | served.keys()) - _NOTES - _IDS
    wrong = sorted(name for name in names if found.get(name) != served.get(name))
    if wrong:
        told = ", ".join(f"{name} is {found.get(name)}, not {served.get(name)}" for name in wrong[:3])
        message = f"checkpoint {folder}: its {CONFIG} differs from the served model's: {told[:400]}"
        raise make(UnsupportedError, "CONFIG_DIFFERS", message, path=folder, names=wrong[:10])


def not_loaded(folder: Path, reason: str) -> UnsupportedError:
    """The error of a folder that cannot be served."""
    message = f"model {folder} cannot be served: {' '.join(reason.split())[:500]}"
    return make(UnsupportedError, "MODEL_NOT_LOADED", message, path=folder)
