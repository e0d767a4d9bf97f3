"""`overwrite`: a memory of fixed size, written anew with each chunk in view of the question.

In the manner of MemAgent (arXiv 2507.02259): the model sees question, memory and chunk, and what it says is
the next memory, whole. The words of the prompt are our own.
"""

from __future__ import annotations

from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.rewritten import Way, rewriting

WAY = Way(
    "overwrite",
    "knows the question; the model writes one memory anew with each chunk",
    "overwrite",
    kept=str.strip,
)


def overwrite(options: SystemOptions) -> Design:
    """The system `overwrite`; for errors see `rewriting`."""
    return rewriting(WAY, options)
