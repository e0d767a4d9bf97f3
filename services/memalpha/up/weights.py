"""Whether a folder's weights are there, whole and of its model, by what config, index and files say.

Names, shapes and lengths alone are looked at, so that any size takes no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from memalpha.errors import UnsupportedError, make
from memalpha.policy import headers
from memalpha.policy.architecture import Architecture

_INDEX = "model.safetensors.index.json"
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"

Shapes = dict[str, tuple[int, ...]]


class _Index(BaseModel):
    weight_map: dict[str, str]


def missing(folder: Path) -> list[str]:
    """What of a folder's weights is not there: files that its index names, or all of them.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED: the index is none.
    """
    if not (folder / _INDEX).is_file():
        return [] if any(folder.glob("*.safetensors")) else ["*.safetensors"]
    return sorted(name for name in set(_index(folder).values()) if not (folder / name).is_file())


def torn(folder: Path) -> list[str]:
    """Files of weights that are not as long as they say themselves."""
    return [path.name for path in sorted(folder.glob("*.safetensors")) if not headers.is_whole(path)]


def twice(folder: Path) -> list[str]:
    """Tensors that more than one file holds; files must be whole."""
    found = Counter(name for path in folder.glob("*.safetensors") for name in headers.read(path))
    return sorted(name for name, count in found.items() if count > 1)


def absent(folder: Path) -> list[str]:
    """Tensors that the index names and no file holds; files must be whole.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED: the index is none.
    """
    named = _index(folder) if (folder / _INDEX).is_file() else {}
    return sorted(named.keys() - headers.shapes(folder).keys())


def unlike(folder: Path, model: Architecture) -> list[str]:
    """Where files, which must be whole, differ from what the configuration makes of the model."""
    found, expected = headers.shapes(folder), dict(_expected(model))
    wrong = [
        f"{name} is {_shown(found.get(name))}, not {_shown(shape)}"
        for name, shape in expected.items()
        if found.get(name) != shape
    ]
    beyond = f"model.layers.{model.num_hidden_layers}."
    return wrong + [f"{name} is of no layer" for name in sorted(found) if name.startswith(beyond)]


def _expected(model: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Matrices of all architectures; none where the configuration leaves out how large they are."""
    hidden, wide, words = model.hidden_size, model.intermediate_size, model.vocab_size
    heads, shared, layers = model.num_attention_heads, model.num_key_value_heads, model.num_hidden_layers
    head = model.head_dim or _divided(model)
    if not (hidden and wide and words and heads and shared and layers and head):
        return
    yield _EMBEDDING, (words, hidden)
    if model.tie_word_embeddings is False:
        yield _HEAD, (words, hidden)
    query, key = heads * head, shared * head
    for number in range(layers):
        attention, units = f"model.layers.{number}.self_attn", f"model.layers.{number}.mlp"
        yield f"{attention}.q_proj.weight", (query, hidden)
        yield f"{attention}.k_proj.weight", (key, hidden)
        yield f"{attention}.v_proj.weight", (key, hidden)
        yield f"{attention}.o_proj.weight", (hidden, query)
        yield f"{units}.gate_proj.weight", (wide, hidden)
        yield f"{units}.up_proj.weight", (wide, hidden)
        yield f"{units}.down_proj.weight", (hidden, wide)


def _divided(model: Architecture) -> int | None:
    """How wide a head is where the configuration does not say; Qwen3 has a width of its own."""
    hidden, heads = model.hidden_size, model.num_attention_heads
    own = "Qwen3ForCausalLM" in (model.architectures or ())
    return None if own or not hidden or not heads else hidden // heads


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "×".join(map(str, shape))


def _index(folder: Path) -> dict[str, str]:
    index = folder / _INDEX
    try:
        return _Index.model_validate_json(index.read_bytes()).weight_map
    except ValueError:
        message = f"{index} must be JSON with a weight_map of names to files"
        raise make(UnsupportedError, "MODEL_NOT_LOADED", message, path=index) from None
