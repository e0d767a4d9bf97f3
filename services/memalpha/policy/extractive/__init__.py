"""The model-free policy: rules that pick a chunk's telling sentences and keep stored facts up to date."""

from memalpha.policy.extractive.engine import ExtractiveEngine

__all__ = ["ExtractiveEngine"]
