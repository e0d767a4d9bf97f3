"""Rollouts written by hand, as small as credit can see them."""

from __future__ import annotations

from collections.abc import Sequence

from memalpha_trainer.config import RewardTable
from memalpha_trainer.credit.rewards import Rewards
from memalpha_trainer.records import Answered, ChunkSample, Operation, Rollout, Source, Span

ADDED = Operation("insert", "semantic", 1, "Tavo's home is Oslo")
REFUSED = Operation("insert", content="Tavo's home is Oslo", error="duplicate_content")


def sample(
    chunk: int,
    *operations: Operation,
    tokens: int = 2,
    memory: int = 0,
    finished: bool = True,
    failure: str = "",
    version: int = 1,
    prompt: str = "",
) -> ChunkSample:
    """What was written about a chunk, in `tokens` tokens."""
    return ChunkSample(
        chunk=chunk,
        prompt=prompt,
        text="",
        prompt_ids=(1, 2, 3),
        completion_ids=tuple(range(tokens)),
        logprobs=(-1.0,) * tokens,
        versions=(Span(version, tokens),) if tokens else (),
        seed=0,
        finished=finished,
        operations=operations,
        memory_tokens=memory,
        failure=failure,
    )


def answer(
    score: float, *chunks: int, absent: bool = False, evidence: tuple[int, ...] = (), deleted: bool = False
) -> Answered:
    """An answer that rests on memories last written, or deleted, by these chunks."""
    used = tuple(
        Source(memory_id=7 + place, chunk=chunk, deleted=deleted) for place, chunk in enumerate(chunks)
    )
    return Answered(
        question="?",
        kind="",
        metric="strict",
        answers=("right",),
        evidence=evidence,
        absent=absent,
        answer="",
        score=score,
        used=used,
    )


def rollout(
    *answers: Answered,
    samples: Sequence[ChunkSample] | int = 2,
    index: int = 0,
    group: int = 0,
    reward: float | None = None,
    failure: str = "",
) -> Rollout:
    """A rollout over a stream of 100 tokens; a number stands for so many silent samples."""
    read = [sample(chunk) for chunk in range(samples)] if isinstance(samples, int) else samples
    return Rollout(
        step=0,
        group=group,
        index=index,
        instance_id=f"i{group}",
        source="test",
        samples=tuple(read),
        answers=answers,
        memory_tokens=read[-1].memory_tokens if read else 0,
        stream_tokens=100,
        reward=reward,
        failure=failure,
    )


def group_of(*rewards: Sequence[float]) -> list[Rewards]:
    """Rewards of one group whose samples' rewards are these numbers, all of them the samples' own."""
    return [
        Rewards(
            group=(0, 0),
            chunks=tuple(range(len(values))),
            answers=0.0,
            credits=(),
            calls=tuple(values),
            compression=0.0,
            growth=(0.0,) * len(values),
            content=(0.0,) * len(values),
            weights=RewardTable(answers=1.0, calls=1.0),
        )
        for values in rewards
    ]
