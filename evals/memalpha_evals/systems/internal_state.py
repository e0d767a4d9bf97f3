"""`internal-state`: knowledge and reasoning in one state that replaces itself, in view of the question.

In the manner of MEM1 (arXiv 2506.15841): what the model keeps between two chunks is what it writes between
tags, conclusions included; all else that it says is dropped. The words of the prompt are our own.
"""

from __future__ import annotations

import re

from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.rewritten import Way, rewriting

_STATE = re.compile(r"<state>(.*?)(?:</state>|$)", re.DOTALL)
_THOUGHTS = 512
"""Tokens that may stand before the state."""


def state(said: str) -> str:
    """The last state that was said, finished or not; without tags, all of it."""
    found = _STATE.findall(said)
    return (found[-1] if found else said).strip()


WAY = Way(
    "internal-state",
    "knows the question; the model keeps a state of knowledge and conclusions",
    "internal_state",
    kept=state,
    extra=_THOUGHTS,
)


def internal_state(options: SystemOptions) -> Design:
    """The system `internal-state`; for errors see `rewriting`."""
    return rewriting(WAY, options)
