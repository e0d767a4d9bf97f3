"""From rollouts to rows: what a rollout is worth, which of its chunks that is owed to, what is trained on.

Pure functions of records and settings, without torch: `rewards` says what each rollout and each chunk
earned, `evidence` to which chunks the answers are owed, `advantages` how much better that is than the
group's, and `rows` lays it out for the trainer. Advantages are computed from whole groups, before anything
is split over ranks or padded.
"""

from memalpha_trainer.credit.advantages import compute_advantages
from memalpha_trainer.credit.rewards import Rewards, assign_rewards
from memalpha_trainer.credit.rows import Batch, Row, expand_rows, fresh, rows

__all__ = [
    "Batch",
    "Rewards",
    "Row",
    "assign_rewards",
    "compute_advantages",
    "expand_rows",
    "fresh",
    "rows",
]
