"""The readers: what answers from a context and the question alone, each under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from memalpha.errors import InvalidInputError, make
from memalpha_evals.protocols import Reader
from memalpha_evals.readers.asked import AskedReader
from memalpha_evals.readers.base import ReaderOptions
from memalpha_evals.readers.choice import choice
from memalpha_evals.readers.extract import ExtractReader
from memalpha_evals.readers.ledger import LedgerReader

READERS: Mapping[str, Callable[[ReaderOptions], Reader]] = {
    "extract": lambda options: ExtractReader(),
    "ledger": lambda options: LedgerReader(),
    "choice": choice,
    "policy": partial(AskedReader, "policy"),
    "openai": partial(AskedReader, "openai"),
}
"""By name, each made when it is asked for."""

NAMES = tuple(READERS)

__all__ = ["NAMES", "READERS", "ReaderOptions", "create"]


def create(name: str, options: ReaderOptions) -> Reader:
    """The reader of that name.

    Raises:
        InvalidInputError: UNKNOWN_READER, naming the choices; or READER_NOT_NAMED.
        UnsupportedError: READER_MODEL_FREE: it needs a model, and the policy is none.
    """
    if name not in READERS:
        message = f"reader must be one of {', '.join(NAMES)}, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_READER", message, reader=name)
    return READERS[name](options)
