"""Tasks that memory is trained and measured on: instances, how answers are scored, and how rows are compared.

Shared by training and evaluation. Nothing here needs a model library.
"""

from memalpha.tasks.instance import METRICS, Chunk, Instance, Metric, Question

__all__ = ["METRICS", "Chunk", "Instance", "Metric", "Question"]
