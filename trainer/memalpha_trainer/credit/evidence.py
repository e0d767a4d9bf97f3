"""Which chunks an answer is owed to: r1 in parts that sum to it (Fine-Mem, arXiv 2601.08435).

An answer rests on the chunks that last wrote the memories it used; where it would have used a deleted memory,
on the chunk that deleted it; a right answer that nothing is known, on the chunks that mentioned the matter
and left nothing behind. A question's score goes there in equal shares, one for each memory. Where nothing is
known of where, it goes to all chunks alike.

**Handover.** Left at that, the last writer has everything: who repeats a right memory takes the credit of the
chunk that wrote it, and who spoils it makes that chunk look bad beside the same chunk of other rollouts,
while nothing befalls itself. So a chunk that takes a question over pays the chunks before it what they are
worth: what the same chunks earned with this question where nobody took it over, on average over the group.
Those are then neither praised nor blamed for what became of their memories. The takers of a right answer are
the chunks it rests on; of a wrong one only the last of them, which could have put it right. What is paid is
received, so that the parts still sum to r1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from memalpha_trainer.credit.groups import mean
from memalpha_trainer.records import Answered, Rollout

Shares = dict[int, float]
"""Amounts by chunk."""


@dataclass(frozen=True, slots=True)
class Credit:
    """One question's part of r1.

    Attributes:
        amount: Its score over the number of questions.
        chunks: What the answer, right or wrong, rests on: one for each memory; empty if that is not known.
    """

    amount: float
    chunks: tuple[int, ...] = ()

    @property
    def weights(self) -> Shares:
        """The part of each chunk in what the answer rests on; they sum to 1, if anything is known."""
        counted = Counter(self.chunks)
        return {chunk: number / len(self.chunks) for chunk, number in counted.items()}

    @property
    def takers(self) -> Shares:
        """The chunks that took the question over, and the part of each in what that costs."""
        return self.weights if self.amount or not self.chunks else {max(self.chunks): 1.0}

    @property
    def first_taker(self) -> int:
        """The first of them; 0, before which nothing is, if none is known."""
        return min(self.takers, default=0)


@dataclass(frozen=True, slots=True)
class Owed:
    """The credits of one rollout, and the chunks that it read, each once."""

    credits: Sequence[Credit]
    chunks: Sequence[int]


def credits_of(rollout: Rollout) -> tuple[Credit, ...]:
    """One for each question; they sum to r1.

    A user's own reward is one question of which nothing is known. A rollout that ended early was asked none.
    """
    if rollout.failure:
        return ()
    if rollout.reward is not None:
        return (Credit(rollout.reward),)
    read, asked = {sample.chunk for sample in rollout.samples}, len(rollout.answers)
    return tuple(
        Credit(each.score / asked, tuple(chunk for chunk in rests_on(each) if chunk in read))
        for each in rollout.answers
    )


def rests_on(answer: Answered) -> tuple[int, ...]:
    """The chunks that an answer is owed to, once for each memory; empty if that is not known."""
    if answer.used:
        return tuple(source.chunk for source in answer.used)
    return answer.evidence if answer.absent and answer.score > 0 else ()


def split(group: Sequence[Owed], share: float, *, handover: bool = True) -> list[Shares]:
    """r1 of each rollout of a group in parts for its chunks: (1 - share) · r1 / T + share · N_t.

    T is the number of its chunks and N_t what its answers owe to chunk t. Both terms sum to r1.

    Args:
        group: All ask the same questions.
        share: How much goes to the chunks that answers rest on, 0 to 1.
        handover: Whether takers pay; without, all credit is the last writers', as in the paper.
    """
    raw = [[_shares(credit, each.chunks) for credit in each.credits] for each in group]
    if not handover:
        return [_mixed(each, shares, share) for each, shares in zip(group, raw, strict=True)]
    worth = _worth(raw, group)
    kept = [_after_handover(each, shares, worth) for each, shares in zip(group, raw, strict=True)]
    return [_mixed(each, shares, share) for each, shares in zip(group, kept, strict=True)]


def touched(group: Sequence[Owed]) -> set[int]:
    """Chunks that an answer of some rollout rests on, rightly or wrongly; all, if a score is owed to all."""
    every = [credit for each in group for credit in each.credits]
    if any(credit.amount and not credit.chunks for credit in every):
        return {chunk for each in group for chunk in each.chunks}
    return {chunk for credit in every for chunk in credit.chunks}


def _shares(credit: Credit, read: Sequence[int]) -> Shares:
    if not credit.chunks:
        return {chunk: credit.amount / len(read) for chunk in read}
    return {chunk: credit.amount * weight for chunk, weight in credit.weights.items()}


def _worth(raw: Sequence[Sequence[Shares]], group: Sequence[Owed]) -> list[Shares]:
    """For each question, what a chunk earns with it on average, where nobody took it over."""
    questions = range(max(map(len, raw), default=0))
    return [
        _worth_in([(each, each.credits[at], shares[at]) for each, shares in zip(group, raw, strict=True)])
        for at in questions
    ]


def _worth_in(readings: Sequence[tuple[Owed, Credit, Shares]]) -> Shares:
    earned: dict[int, list[float]] = {}
    for owed, credit, shares in readings:
        for chunk in owed.chunks:
            if chunk >= credit.first_taker:
                earned.setdefault(chunk, []).append(shares.get(chunk, 0.0))
    return {chunk: mean(amounts) for chunk, amounts in earned.items()}


def _after_handover(owed: Owed, raw: Sequence[Shares], worth: Sequence[Shares]) -> list[Shares]:
    """The shares of each question, once the takers have paid the chunks before them."""
    return [
        _handed_over(credit, shares, owed.chunks, value) if credit.chunks else shares
        for credit, shares, value in zip(owed.credits, raw, worth, strict=True)
    ]


def _handed_over(credit: Credit, shares: Shares, read: Sequence[int], worth: Shares) -> Shares:
    received = {chunk: worth.get(chunk, 0.0) for chunk in read if chunk < credit.first_taker}
    price = fsum(received.values())
    return received | {chunk: shares[chunk] - price * part for chunk, part in credit.takers.items()}


def _mixed(owed: Owed, shares: Sequence[Shares], share: float) -> Shares:
    r1 = fsum(credit.amount for credit in owed.credits)
    everywhere = (1 - share) * r1 / max(len(owed.chunks), 1)
    return {
        chunk: everywhere + share * fsum(each.get(chunk, 0.0) for each in shares) for chunk in owed.chunks
    }
