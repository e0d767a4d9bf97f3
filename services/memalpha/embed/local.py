"""Vectors of a sentence-transformers model in this process, on the CPU or whatever torch finds.

The model is loaded at the first call, and works on one thread of its own, so that the event loop never waits
for it and two calls never compete. torch is imported by no other module, and by this one only then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memalpha.config import EmbedderSettings
from memalpha.embed.packing import checked
from memalpha.errors import InvalidInputError, UnsupportedError, make


class LocalEmbedder:
    """One model. Belongs to one event loop."""

    def __init__(self, settings: EmbedderSettings) -> None:
        """Nothing is loaded before the first `embed`.

        Raises:
            InvalidInputError: EMBEDDER_NOT_INSTALLED: there is no sentence-transformers.
        """
        if find_spec("sentence_transformers") is None:
            how = "in a checkout, `uv sync --inexact --package memalpha --extra embed-local`"
            message = f"embedder sentence-transformers needs its library: {how}"
            raise make(InvalidInputError, "EMBEDDER_NOT_INSTALLED", message)
        self._settings = settings
        self._dimensions = settings.dimensions or 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._model: Any = None

    @property
    def id(self) -> str:
        """See `memalpha.agent.Embedder`."""
        return self._settings.embedder_id

    @property
    def dimensions(self) -> int:
        """See `memalpha.agent.Embedder`."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """See `memalpha.agent.Embedder`.

        Raises:
            UnsupportedError: EMBEDDER_NOT_LOADED, or EMBEDDER_DIMENSIONS: vectors of another length.
            InternalError: EMBEDDER_BAD_REPLY: a vector is not finite or all zero.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, list(texts))

    async def close(self) -> None:
        """Lets the thread end after the batch in work."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _embed(self, texts: list[str]) -> list[bytes]:
        if self._model is None:
            self._model = _load(self._settings)
        matrix = self._model.encode(
            texts, batch_size=self._settings.batch_size, convert_to_numpy=True, show_progress_bar=False
        )
        vectors = [row.astype("<f4").tobytes() for row in matrix]
        self._dimensions = checked(vectors, self._dimensions, self.id)
        return vectors


def _load(settings: EmbedderSettings) -> Any:
    # Spinning threads of several processes on few cores cost ten times what they bring. OpenMP reads this
    # when torch is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    folder = Path(settings.model).expanduser()
    try:
        torch: Any = import_module("torch")
        library: Any = import_module("sentence_transformers")
        torch.set_num_threads(settings.threads)
        return library.SentenceTransformer(str(folder) if folder.is_dir() else settings.model)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        message = f"model {settings.model!r} cannot be loaded: {type(error).__name__}"
        raise make(UnsupportedError, "EMBEDDER_NOT_LOADED", message, model=settings.model) from error
