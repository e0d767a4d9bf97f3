"""Readers of public data sets in their official forms: rows become typed values, errors name file and place.

One module for each form. Files are read where they lie and never copied: their licences differ from this
project's. Rows are streamed wherever the form allows it.
"""

from memalpha.tasks.data.readers.files import DatasetError

__all__ = ["DatasetError"]
