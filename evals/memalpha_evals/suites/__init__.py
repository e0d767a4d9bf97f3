"""Named suites: a name becomes a data set with its protocol, wherever its files lie."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from memalpha.tasks.data.readers.files import DatasetError
from memalpha.tasks.ledger.stream import MOST_UNITS
from memalpha_evals.datasets import Dataset
from memalpha_evals.datasets.draws import Draw, drawn
from memalpha_evals.suites.benchmarks import BENCHMARKS
from memalpha_evals.suites.conversations import CONVERSATIONS
from memalpha_evals.suites.model import VARIABLE, NoData, Protocol, Suite
from memalpha_evals.suites.passages import LEDGER, PASSAGE_SET, PASSAGES, among, ledger

__all__ = ["SUITES", "VARIABLE", "NoData", "Protocol", "Suite", "load", "named", "present"]

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (*CONVERSATIONS, *PASSAGES, *BENCHMARKS)}
"""Every suite by its name. Any length may be named: `ledger-1x` to `ledger-60x`, `hotpotqa-6400docs`."""


def named(name: str) -> Suite:
    """The suite of a name.

    Raises:
        DatasetError: there is none.
    """
    if name in SUITES:
        return SUITES[name]
    if match := LEDGER.fullmatch(name):
        if 1 <= int(match[1]) <= MOST_UNITS:
            return ledger(int(match[1]))
        raise DatasetError(f"a ledger is from ledger-1x to ledger-{MOST_UNITS}x long, not {name}")
    if match := PASSAGE_SET.fullmatch(name):
        if int(match[2]) >= 1:
            return among(match[1], int(match[2]))
        raise DatasetError(f"a context has at least one document, not as in {name}")
    raise DatasetError(f"suite must be one of {', '.join(SUITES)}, not {name!r}")


def load(name: str, data: Path | None = None, *, draw: Draw | None = None) -> Dataset:
    """Reads a suite's data set; it bears the suite's name.

    Args:
        name: One of `SUITES`, or `ledger-NNx`, or `SET-NNdocs`.
        data: The file, or the folder that it lies in; None: below the folder that MEMALPHA_DATA names.
        draw: How much of it; None: as the suite's protocol says.

    Raises:
        DatasetError: there is no such suite, or its files are missing or not of its form.
    """
    suite = named(name)
    layout, ask = suite.locate(data)
    wanted = draw or suite.protocol.draw
    dataset = layout.read(replace(ask, draw=wanted))
    return replace(drawn(dataset, wanted), name=name)


def present(suite: Suite, data: Path | None = None) -> bool:
    """Whether its files are there, be it in two copies; what they hold is not looked at."""
    try:
        suite.locate(data)
    except DatasetError as error:
        return not isinstance(error, NoData)
    return True
