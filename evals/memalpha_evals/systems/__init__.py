"""The systems that are compared: ways to remember a stream, each under one name.

All but the query-aware ones read without knowing what will be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from memalpha.errors import InvalidInputError, make
from memalpha_evals.protocols import System
from memalpha_evals.systems.base import SystemOptions
from memalpha_evals.systems.extract_update import extract_update
from memalpha_evals.systems.internal_state import internal_state
from memalpha_evals.systems.memalpha import memalpha
from memalpha_evals.systems.overwrite import overwrite
from memalpha_evals.systems.rag import rag
from memalpha_evals.systems.raw import full_context, no_memory
from memalpha_evals.systems.summary import summary

SYSTEMS: Mapping[str, Callable[[SystemOptions], System]] = {
    "no-memory": no_memory,
    "full-context": full_context,
    "rag-bm25": partial(rag, "rag-bm25"),
    "rag-dense": partial(rag, "rag-dense"),
    "rag-hybrid": partial(rag, "rag-hybrid"),
    "summary": summary,
    "extract-update": extract_update,
    "overwrite": overwrite,
    "internal-state": internal_state,
    "memalpha": memalpha,
}
"""By name, each made when it is asked for."""

NAMES = tuple(SYSTEMS)

__all__ = ["NAMES", "SYSTEMS", "SystemOptions", "create"]


def create(name: str, options: SystemOptions) -> System:
    """The system of that name.

    Raises:
        InvalidInputError: UNKNOWN_SYSTEM, naming the choices; or POLICY_NOT_NAMED.
        UnsupportedError: POLICY_MODEL_FREE: it needs a model, and the policy is none.
    """
    if name not in SYSTEMS:
        message = f"system must be one of {', '.join(NAMES)}, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_SYSTEM", message, system=name)
    return SYSTEMS[name](options)
