"""Weights are looked at before a model gets them: vLLM serves what is no number, and an exchange is in place.

A folder must hold the served model's tensors, all of them, of the same shapes and finite, for the same
network; a tied head may be left out, and must else be its embedding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.policy.architecture import CONFIG, not_loaded
from memalpha.policy.local.libraries import Library, torch
from memalpha.policy.local.model import check_finite, loading

_safetensors: Any = Library("safetensors")
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"

Shapes = dict[str, tuple[int, ...]]


def shapes(folder: Path) -> Shapes:
    """Names and shapes of a folder's tensors, without a tied head; nothing else is read.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    found = {name: tuple(part.get_shape()) for name, part in parts(folder)}
    if tied(folder):
        found.pop(_HEAD, None)
    return found


def check(folder: Path, expected: Shapes, *, is_tied: bool) -> None:
    """Refuses weights that cannot be served, or not in the place of those that are.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    found = dict(parts(folder))
    names = found.keys() - ({_HEAD} if is_tied else set())
    wrong = sorted(names ^ expected.keys()) or sorted(
        name for name in names if tuple(found[name].get_shape()) != expected[name]
    )
    if wrong:
        raise not_loaded(folder, f"names or shapes differ from the served model's: {wrong[:3]}")
    for name, part in found.items():
        with loading(folder):
            tensor = part[:]
        check_finite(folder, [(name, tensor)])
        if is_tied and name == _HEAD:
            _check_tie(folder, tensor, found.get(_EMBEDDING))


def _check_tie(folder: Path, head: Any, embedding: Any) -> None:
    with loading(folder, f"{_HEAD} and {_EMBEDDING}: "):
        same = embedding is not None and torch.equal(head, embedding[:])
    if not same:
        raise not_loaded(folder, f"{_HEAD} must be {_EMBEDDING}, to which it is tied")


def tied(folder: Path) -> bool:
    """Whether a model's output head is its embedding."""
    with loading(folder):
        return bool(json.loads((folder / CONFIG).read_bytes()).get("tie_word_embeddings"))


def paths(folder: Path) -> list[Path]:
    """A folder's files of tensors.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED: there are none.
    """
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise not_loaded(folder, "it holds no *.safetensors")
    return found


def parts(folder: Path) -> Iterator[tuple[str, Any]]:
    """Names and slices of a folder's tensors, which are read when they are asked for.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    seen: set[str] = set()
    for path in paths(folder):
        with loading(folder):
            file = _safetensors.safe_open(path, "pt")
            parts = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118 - it is no dict
        twice = sorted(seen & {name for name, _ in parts})
        if twice:
            raise not_loaded(folder, f"more than one file holds {twice[:3]}")
        seen |= {name for name, _ in parts}
        yield from parts
