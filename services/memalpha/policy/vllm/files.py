"""Weights are looked at before a model gets them: vLLM's exchange is in place, and has no way back.

A folder must hold the served model's tensors, all of them, of the same shapes and finite, for the same
network; a tied head may be left out, and must else be its embedding. A folder's mark tells whether its
weights are still those that were looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.errors import UnsupportedError, make
from memalpha.policy.architecture import CONFIG, Architecture, not_loaded
from memalpha.policy.checkpoint import Manifest, verified
from memalpha.policy.local.libraries import Library, torch, transformers
from memalpha.policy.local.model import loading

_safetensors: Any = Library("safetensors")
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"

# What may differ between configurations of one network: notes of libraries, how it is run, and special ids,
# which a tokenizer's digest stands for.
_NOTES = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
_IDS = {"bos_token_id", "eos_token_id", "pad_token_id"}

Shapes = dict[str, tuple[int, ...]]
Mark = dict[str, str]
"""What tells a folder's weights from any others: of each file that decides them, what it holds."""


def mark(folder: Path) -> Mark:
    """A folder's mark: digests, or sizes and times where it never was sealed.

    Raises:
        CorruptionError, UnsupportedError: It is no whole checkpoint.
        OSError: It cannot be read.
    """
    sealed = verified(folder)
    if sealed is not None:
        return sealed_mark(sealed)
    return stat_mark(folder / CONFIG, *paths(folder))


def stat_mark(*paths: Path) -> Mark:
    """Sizes and times of files.

    Raises:
        OSError: There is none.
    """
    stats = {path.name: path.stat() for path in paths}
    return {name: f"{stat.st_size} {stat.st_mtime_ns}" for name, stat in stats.items()}


def sealed_mark(manifest: Manifest) -> Mark:
    """The mark of a folder whose files are those that its manifest names."""
    return {
        name: digest
        for name, digest in manifest.files.items()
        if name == CONFIG or name.endswith(".safetensors")
    }


def config(folder: Path) -> Any:
    """A folder's configuration, for a network that is served.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    Architecture.read(folder).check(folder)
    with loading(folder):
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)


def check_config(folder: Path, served: dict[str, Any]) -> None:
    """Refuses a folder whose tensors, alike as they may be, are for another network.

    Raises:
        UnsupportedError: CONFIG_DIFFERS, or MODEL_NOT_LOADED.
    """
    # A folder of weights alone says nothing.
    if (folder / CONFIG).is_file():
        check_alike(folder, config(folder).to_dict(), served)


def check_alike(folder: Path, found: dict[str, Any], served: dict[str, Any]) -> None:
    """As `check_config`, of configurations that were read."""
    names = (found.keys() | served.keys()) - _NOTES - _IDS
    wrong = sorted(name for name in names if found.get(name) != served.get(name))
    if wrong:
        told = ", ".join(f"{name} is {found.get(name)}, not {served.get(name)}" for name in wrong[:3])
        message = f"checkpoint {folder}: its {CONFIG} differs from the served model's: {told[:400]}"
        raise make(UnsupportedError, "CONFIG_DIFFERS", message, path=folder, names=wrong[:10])


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
    """Refuses weights that cannot take the place of the served ones.

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
        if not torch.isfinite(tensor).all():
            raise not_loaded(folder, f"{name} holds a number that is not finite")
        if is_tied and name == _HEAD and not torch.equal(tensor, found[_EMBEDDING][:]):
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
