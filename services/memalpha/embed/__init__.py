"""Embedders that run in the agent, for banks whose embedder is external.

One is an OpenAI-compatible endpoint (`openai`), the other a sentence-transformers model in this process
(`local`, extra `memalpha[embed-local]`). Their libraries are loaded when one is opened, not before.
"""

from memalpha.embed.choice import OwnedEmbedder, bank_embedder, opened

__all__ = ["OwnedEmbedder", "bank_embedder", "opened"]
