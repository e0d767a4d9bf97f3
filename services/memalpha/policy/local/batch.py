"""The rows that are generated together: they come, take a step at a time, and go.

Every step is one pass over all rows with one new token each; a new row first passes over its whole prompt.
No row's result depends on its neighbours, but for rounding: libraries add up in another order where a matrix
has another shape. A batch of fixed rows gives up some speed to be without that too: prompts are read one at a
time, and steps have always the same number of rows and a width in whole blocks, so that every shape is the
row's own or the batch's, and never the neighbours'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from memalpha.policy.local.cache import Cache
from memalpha.policy.local.job import Job
from memalpha.policy.local.libraries import torch
from memalpha.policy.local.model import Model, padded
from memalpha.policy.local.sampling import draw

# Tokens that are read in one pass, padding included: what bounds its memory.
_PASS_TOKENS = 8192


class Batch:
    """Rows under one model's weights. Used by one thread."""

    def __init__(self, model: Model, version: int, fixed_rows: int = 0) -> None:
        """Empty.

        Args:
            model: what generates.
            version: of its weights.
            fixed_rows: rows of every step, of which those without a job are thrown away; 0: as many as jobs.
        """
        self.jobs: list[Job] = []
        self._fixed_rows = fixed_rows
        self._cache = Cache()
        self._model = model
        self._version = version

    def admit(self, jobs: Sequence[Job]) -> None:
        """Takes new rows in and draws their first tokens."""
        with self._none_lost([*self.jobs, *jobs]):
            for part in self._passes(jobs):
                states = self._read(part, [job.prompt for job in part])
                lasts = torch.tensor([len(job.prompt) - 1 for job in part], device=states.device)
                ends = states[torch.arange(len(part), device=states.device), lasts]
                self._draw(self._model.logits(ends), part)
        self.sweep()

    def step(self) -> None:
        """One more token for every row."""
        idle = [[0]] * (self._fixed_rows - len(self.jobs))
        ids = torch.tensor([*([job.new[-1]] for job in self.jobs), *idle], device=self._model.device)
        lengths = [[len(job.prompt) + len(job.new) - 1] for job in self.jobs]
        positions = torch.tensor([*lengths, *idle], device=self._model.device)
        attention = self._cache.steps(positions[:, 0], blocks=bool(self._fixed_rows))
        states = self._model.states(ids, positions, attention)
        self._draw(self._model.logits(states[:, -1])[: len(self.jobs)], self.jobs)
        self.sweep()

    def exchange(self, model: Model, version: int) -> None:
        """Goes on with other weights. All rows are read again: old keys and values are wrong under them."""
        self._model, self._version = model, version
        self._cache.clear()
        jobs, self.jobs = self.jobs, []
        with self._none_lost(jobs):
            for part in self._passes(jobs):
                # The newest token is what the next step passes over.
                self._read(part, [(job.prompt + job.new)[:-1] for job in part])

    def sweep(self) -> None:
        """Lets rows go that have ended or that nobody reads any more."""
        for place in reversed(range(len(self.jobs))):
            if self.jobs[place].ended or self.jobs[place].cancelled:
                last = self.jobs.pop()
                if place < len(self.jobs):
                    self._cache.move(len(self.jobs), place)
                    self.jobs[place] = last
                self._cache.fit(len(self.jobs), max(map(_length, self.jobs), default=0))

    @contextmanager
    def _none_lost(self, jobs: list[Job]) -> Iterator[None]:
        """Should a pass fail, all these jobs are rows, so that whoever handles the failure can tell them."""
        try:
            yield
        except Exception:
            self.jobs = jobs
            raise

    def _read(self, jobs: Sequence[Job], rows: Sequence[list[int]]) -> Any:
        """Adds rows and passes over their tokens; returns the hidden states (rows, longest, size)."""
        first = len(self.jobs)
        self.jobs += jobs
        ids = padded(rows, self._model.device)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return self._model.states(ids, positions, self._cache.prompts(first))

    def _passes(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        return ([job] for job in jobs) if self._fixed_rows else _passes(jobs)

    def _draw(self, logits: Any, jobs: Sequence[Job]) -> None:
        tokens, scores = draw(logits, [job.sampling for job in jobs], [job.generator for job in jobs])
        for job, token, score in zip(jobs, tokens, scores, strict=True):
            job.add(token, score, self._version)


def _passes(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs that are read together: of like length, and not too many tokens with their padding."""
    chosen: list[Job] = []
    for job in sorted(jobs, key=_length, reverse=True):
        if chosen and _length(chosen[0]) * (len(chosen) + 1) > _PASS_TOKENS:
            yield chosen
            chosen = []
        chosen.append(job)
    if chosen:
        yield chosen


def _length(job: Job) -> int:
    return len(job.prompt) + len(job.new)
