"""A scheduler for chains of model calls and the questions between them. Pure asyncio: it knows no eval."""

from memalpha_evals.scheduler.pool import LAG_WARNING, Limits, Report, Scheduler
from memalpha_evals.scheduler.retries import CHANGED, Outage, Patience
from memalpha_evals.scheduler.work import AFFINITY, Ask, Chain

__all__ = [
    "AFFINITY",
    "CHANGED",
    "LAG_WARNING",
    "Ask",
    "Chain",
    "Limits",
    "Outage",
    "Patience",
    "Report",
    "Scheduler",
]
