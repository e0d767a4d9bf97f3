"""Training data: public data sets become instances, and instances become files and back.

Readers take the official files, builders make dated streams with questions of them in the paper's sizes, and
what may not be trained on is refused. Everything is drawn from a seed; nothing needs a model.
"""

from memalpha.tasks.data.limits import Limits
from memalpha.tasks.data.readers import DatasetError
from memalpha.tasks.data.sources import SOURCES, build

__all__ = ["SOURCES", "DatasetError", "Limits", "build"]
