"""Adapters from the official files of public data sets to `Conversation`; one module for each form.

Files are read where they lie and never copied: their licences differ from this project's.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from memalpha.tasks.data.readers import DatasetError
from memalpha_evals.datasets import beam, locomo, pools
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn

READERS: Mapping[str, Callable[[Path], Dataset]] = {
    "locomo": locomo.read,
    "beam": beam.read,
    "hotpotqa": pools.hotpotqa,
    "2wiki": pools.twowiki,
    "musique": pools.musique,
    "nq": pools.nq,
}
"""The reader of each data set by its name on the command line."""

__all__ = ["READERS", "Conversation", "Dataset", "DatasetError", "Question", "Turn"]
