"""The model libraries, loaded at their first use: importing memalpha costs no torch and needs none."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from memalpha.errors import InvalidInputError, make


class Library:
    """Stands for a module until something of it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # Kept as its own, as it is asked for in every step of every layer.
        found = self.__dict__[attribute] = getattr(import_module(self._name), attribute)
        return found


torch: Any = Library("torch")
transformers: Any = Library("transformers")
tokenizers: Any = Library("tokenizers")
safetensors: Any = Library("safetensors.torch")


# What an engine is made of.
_NEEDS = {"transformers": ("torch", "transformers"), "vllm": ("vllm",)}
HOW = {
    "transformers": "in a checkout, `uv sync --package memalpha --extra transformers`",
    "vllm": "in a checkout, `uv sync --package memalpha --extra policy-cpu`, for GPUs `--extra policy-gpu`",
}
"""How an engine is installed; no index has memalpha's packages yet."""


def check_installed(engine: str) -> None:
    """Finds an engine's libraries without loading them.

    Raises:
        InvalidInputError: ENGINE_NOT_INSTALLED.
    """
    for name in _NEEDS.get(engine, ()):
        if find_spec(name) is None:
            message = f"policy engine {engine} needs {name}: {HOW[engine]}; or `just up --policy {engine}`"
            raise make(InvalidInputError, "ENGINE_NOT_INSTALLED", message, library=name)


def prepare(threads: int) -> None:
    """Makes the libraries ready: that many threads, and nothing printed.

    Raises:
        InvalidInputError: ENGINE_NOT_INSTALLED.
    """
    check_installed("transformers")
    # Spinning threads of several processes on few cores cost ten times what they bring. OpenMP reads this
    # when torch is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
