"""From settings to an embedder, and to what a bank's settings say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from memalpha.agent import vectors
from memalpha.agent.protocols import Embedder
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.config import EmbedderSettings

_OF_THE_MEMORY = {"none": pb.EMBEDDER_KIND_NONE, "builtin": pb.EMBEDDER_KIND_BUILTIN}


class OwnedEmbedder(Embedder, Protocol):
    """An embedder with whoever opened it."""

    async def close(self) -> None:
        """Gives connections and threads back."""
        ...


@asynccontextmanager
async def opened(settings: EmbedderSettings) -> AsyncIterator[OwnedEmbedder | None]:
    """The embedder of the settings; None for `none` and `builtin`, which are the memory's business.

    Raises:
        InvalidInputError: A file of the settings cannot be read, or the model's library is not installed.
    """
    embedder = _create(settings)
    try:
        yield embedder
    finally:
        if embedder is not None:
            await embedder.close()


async def bank_embedder(settings: EmbedderSettings) -> pb.Embedder:
    """What the settings of a bank say that is to have this embedder.

    Raises:
        MemalphaError: The settings leave the dimensions open, and the embedder cannot be asked.
    """
    async with opened(settings) as embedder:
        if embedder is None:
            return pb.Embedder(kind=_OF_THE_MEMORY[settings.kind])
        return await vectors.bank_embedder(embedder)


def _create(settings: EmbedderSettings) -> OwnedEmbedder | None:
    # A client library, and far more a model's, takes time to load: only what is used is.
    if settings.kind == "openai":
        from memalpha.embed.openai import OpenAIEmbedder

        return OpenAIEmbedder(settings)
    if settings.kind == "sentence-transformers":
        from memalpha.embed.local import LocalEmbedder

        return LocalEmbedder(settings)
    return None
