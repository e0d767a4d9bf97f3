"""The thread that generates: takes waiting jobs in as rows become free, exchanges weights between steps.

Nothing of the batch is touched by any other thread. A pass that fails ends the jobs in it with an error and
leaves the thread alive with an empty batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future

from memalpha.errors import BusyError, InternalError, UnavailableError, make
from memalpha.policy.local.batch import Batch
from memalpha.policy.local.job import Job
from memalpha.policy.local.libraries import torch
from memalpha.policy.local.model import Model
from memalpha.telemetry import get_logger

_log = get_logger(__name__)


class Worker:
    """Generates for many jobs at once."""

    def __init__(
        self, model: Model, version: int, *, rows: int, waiting: int, batch_invariant: bool = False
    ) -> None:
        """Starts the thread.

        Args:
            model: what generates.
            version: of its weights.
            rows: most jobs at once.
            waiting: most jobs that wait for a row.
            batch_invariant: whether a job's numbers are the same to the last bit whatever jobs it is beside.
        """
        self._served = model, version
        self._rows = rows
        self._fixed_rows = rows if batch_invariant else 0
        self._batch = Batch(model, version, self._fixed_rows)
        self._limit = waiting
        self._waiting: deque[Job] = deque()
        self._exchange: tuple[Model, int, Future[float]] | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Jobs that have a row, and jobs that wait for one."""
        return len(self._batch.jobs), len(self._waiting)

    def submit(self, job: Job) -> None:
        """Puts a job in line.

        Raises:
            BusyError: POLICY_OVERLOADED: too many wait already.
            UnavailableError: POLICY_CLOSED.
        """
        with self._changed:
            if self._closing:
                raise _closed()
            self._waiting = deque(job for job in self._waiting if not job.cancelled)
            if len(self._waiting) >= self._limit:
                message = f"completions that wait: at most {self._limit}; try again"
                raise make(BusyError, "POLICY_OVERLOADED", message, limit=self._limit)
            self._waiting.append(job)
            self._changed.notify()

    def exchange(self, model: Model, version: int) -> Future[float]:
        """Serves other weights from the next step on; the future has the seconds that generation stood still.

        One exchange at a time.
        """
        done: Future[float] = Future()
        with self._changed:
            if self._closing:
                raise _closed()
            self._exchange = model, version, done
            self._changed.notify()
        return done

    def close(self) -> None:
        """Ends all jobs and the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with torch.inference_mode():
            while self._turn():
                try:
                    self._work()
                except Exception as error:  # noqa: BLE001 - the thread outlives whatever a pass raises
                    self._start_over(error)
        for job in [*self._batch.jobs, *self._waiting]:
            job.fail(_closed())
        if self._exchange is not None:
            self._exchange[2].set_exception(_closed())

    def _turn(self) -> bool:
        """Waits until there is something to do; False if that is to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or self._exchange or self._waiting or self._batch.jobs
            )
            return not self._closing

    def _work(self) -> None:
        if self._exchange is not None:
            self._exchange_now()
        self._batch.sweep()
        arrived = self._arrived()
        if arrived:
            self._batch.admit(arrived)
        if self._batch.jobs:
            self._batch.step()

    def _arrived(self) -> list[Job]:
        free = self._rows - len(self._batch.jobs)
        arrived: list[Job] = []
        with self._changed:
            while self._waiting and len(arrived) < free:
                job = self._waiting.popleft()
                if not job.cancelled:
                    arrived.append(job)
        return arrived

    def _exchange_now(self) -> None:
        assert self._exchange is not None
        model, version, done = self._exchange
        self._exchange = None
        begin = time.monotonic()
        self._served = model, version
        try:
            self._batch.exchange(model, version)
        finally:
            done.set_result(time.monotonic() - begin)

    def _start_over(self, error: Exception) -> None:
        _log.error("generation failed", rows=len(self._batch.jobs), exc_info=error)
        message = f"the model failed: {type(error).__name__}; the service's log tells more"
        jobs, self._batch = self._batch.jobs, Batch(*self._served, self._fixed_rows)
        for job in jobs:
            if not job.ended:
                job.fail(make(InternalError, "GENERATION_FAILED", message))


def _closed() -> UnavailableError:
    return make(UnavailableError, "POLICY_CLOSED", "the policy is closing")
