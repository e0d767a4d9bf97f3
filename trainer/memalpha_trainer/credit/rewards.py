"""What a rollout earned, in four parts (Mem-alpha, arXiv 2509.25911, section 3).

r1, the answers: their mean score, or what the user's own function says. r2, the calls of a chunk: the share
that was carried out; duplicates and refused calls were not, and a chunk about which the policy ended by
itself without a call counts as a success. r3, compression: 1 - memory tokens / stream tokens, negative where
the memory outgrew the stream. r4, the content of a chunk's writes, where something can tell.

**A rollout that ended early** left no memory to be asked: r1 and r3 are 0. The chunks that it read are rows
like any other, the rest are none. Where the parts of a reward go to single chunks, the one that it failed at
bears all of the loss, if the policy wrote anything about it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum

from memalpha_trainer.config import RewardTable
from memalpha_trainer.credit.content import ContentCheck
from memalpha_trainer.credit.evidence import Credit, credits_of
from memalpha_trainer.credit.groups import Group, mean, positions
from memalpha_trainer.records import ChunkSample, Rollout


@dataclass(frozen=True, slots=True)
class Rewards:
    """The parts of one rollout's reward, unweighted. Tuples have one entry for each of its samples.

    Attributes:
        group: Rollouts of the same group are compared with one another.
        chunks: The chunk of each sample; a chunk that was tried again has several.
        answers: r1.
        credits: r1 by question.
        calls: r2.
        compression: r3.
        growth: r3 by sample; sums to it.
        content: r4; zeros without a check.
        weights: Of the parts.
    """

    group: Group
    chunks: tuple[int, ...]
    answers: float
    credits: tuple[Credit, ...]
    calls: tuple[float, ...]
    compression: float
    growth: tuple[float, ...]
    content: tuple[float, ...]
    weights: RewardTable

    @property
    def total(self) -> float:
        """The rollout's reward: r2 and r4 are means over its samples."""
        return self._shared + mean(self.local)

    @property
    def by_sample(self) -> tuple[float, ...]:
        """The reward of each sample as in the paper: the rollout's r1 and r3, the sample's own r2 and r4."""
        return tuple(self._shared + local for local in self.local)

    @property
    def local(self) -> tuple[float, ...]:
        """The weighted parts that are a sample's own."""
        pairs = zip(self.calls, self.content, strict=True)
        return tuple(self.weights.calls * calls + self.weights.content * content for calls, content in pairs)

    @property
    def _shared(self) -> float:
        return self.weights.answers * self.answers + self.weights.compression * self.compression


def assign_rewards(
    rollouts: Sequence[Rollout], table: RewardTable, *, check: ContentCheck | None = None, seed: int = 0
) -> list[Rewards]:
    """The rewards of rollouts, one for each, in their order.

    With `table.shuffled` a rollout gets those of one of its group, drawn uniformly, possibly its own: only
    then is its expected advantage zero, whatever it did.

    Args:
        rollouts: Whole groups.
        table: Weights and rules.
        check: Judges contents; None leaves r4 at 0.
        seed: Decides the exchange.
    """
    contents = check.shares(rollouts) if check else [(0.0,) * len(each.samples) for each in rollouts]
    given = [_rewards(each, content, table) for each, content in zip(rollouts, contents, strict=True)]
    for members in positions(each.group for each in given):
        _blame([rollouts[each] for each in members], given, members)
        if table.shuffled:
            _exchange(given, members, seed)
    return given


def _rewards(rollout: Rollout, content: tuple[float, ...], table: RewardTable) -> Rewards:
    credits_, growth = credits_of(rollout), _growth(rollout)
    return Rewards(
        group=(rollout.step, rollout.group),
        chunks=tuple(sample.chunk for sample in rollout.samples),
        answers=fsum(credit.amount for credit in credits_),
        credits=credits_,
        calls=tuple(_calls(sample, quirks=table.quirks) for sample in rollout.samples),
        compression=0.0 if rollout.failure else 1 - rollout.memory_tokens / max(rollout.stream_tokens, 1),
        growth=growth,
        content=content,
        weights=table,
    )


def _calls(sample: ChunkSample, *, quirks: bool) -> float:
    if sample.failure:
        return 0.0
    if not sample.operations:
        return float(sample.finished and not quirks)
    return sum(operation.applied for operation in sample.operations) / len(sample.operations)


def _growth(rollout: Rollout) -> tuple[float, ...]:
    """r3 by sample: an equal part of the 1, less what the sample added to the memory."""
    stream, memorized = max(rollout.stream_tokens, 1), sum(not each.failure for each in rollout.samples)
    sizes = [0, *(sample.memory_tokens for sample in rollout.samples)]
    parts = [
        0.0 if sample.failure else 1 / memorized - (after - before) / stream
        for sample, (before, after) in zip(rollout.samples, pairwise(sizes), strict=True)
    ]
    if rollout.failure and rollout.samples:
        parts[-1] -= fsum(parts)
    return tuple(parts)


def _blame(rollouts: Sequence[Rollout], given: list[Rewards], members: Sequence[int]) -> None:
    """Lets each question that a rollout could not be asked rest on the chunk that it failed at."""
    questions = max(len(given[each].credits) for each in members)
    for rollout, member in zip(rollouts, members, strict=True):
        if rollout.failure:
            last = rollout.samples[-1:]
            failed = tuple(sample.chunk for sample in last if sample.failure)
            given[member] = replace(given[member], credits=(Credit(0.0, failed),) * questions)


def _exchange(given: list[Rewards], members: Sequence[int], seed: int) -> None:
    step, group = given[members[0]].group
    drawn = [given[each] for each in members]
    random.Random(f"{seed} {step} {group}").shuffle(drawn)
    for member, rewards in zip(members, drawn, strict=True):
        given[member] = rewards
