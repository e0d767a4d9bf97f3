"""A run: a comparison carried out into a folder that can be resumed, read and compared."""

from memalpha_evals.runs.comparison import Comparison
from memalpha_evals.runs.execute import Counts, Execution
from memalpha_evals.runs.folder import Run, RunFolder, read, rows

__all__ = ["Comparison", "Counts", "Execution", "Run", "RunFolder", "read", "rows"]
