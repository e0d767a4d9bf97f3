"""Adapters from the official files of public data sets to `Conversation`; one module for each set.

Files are read where they lie and never copied: their licences differ from this project's.
"""

from memalpha_evals.datasets.base import Conversation, Dataset, DatasetError, Question, Turn

__all__ = ["Conversation", "Dataset", "DatasetError", "Question", "Turn"]
