"""A tiny checkpoint, rollouts that no policy wrote, and trainers over them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from memalpha.policy.checkpoint import Training
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny
from memalpha_trainer.config import Config
from memalpha_trainer.credit.rows import Batch, Row
from memalpha_trainer.records import Answered, ChunkSample, Rollout, Span
from memalpha_trainer.rollouts.source import Weights

VOCABULARY = 384


def checkpoint(out: Path, *, tied: bool = True, seed: int = 0, layers: int = 2) -> Path:
    """A sealed checkpoint of a tiny model."""
    shape = Shape(layers=layers, hidden=64, vocabulary=VOCABULARY, context=512, tied=tied, seed=seed)
    tiny(out, shape, Training("0" * 64, "lines", "relevant", 32), texts(0, 100))
    return out


def configured(folder: Path, out: Path, **tables: Mapping[str, object]) -> Config:
    """A small run: three groups of two, one update of two micro-batches a collection."""
    base: dict[str, dict[str, object]] = {
        "policy": {"model": folder},
        "rollouts": {"groups": 3, "group_size": 2},
        "optim": {"steps": 4, "micro_batches": 2, "lr": 1e-3, "warmup_steps": 2},
        "credit": {"mode": "trajectory"},
    }
    for name, table in tables.items():
        base[name] = base.get(name, {}) | dict(table)
    base.setdefault("save", {}).setdefault("every", base["optim"].get("updates", 2))
    return Config.model_validate({"out": out, **base})


def row(
    prompt: Iterable[int] = (5, 6, 7),
    completion: Iterable[int] = (8, 9),
    *,
    logprobs: Sequence[float] | None = None,
    advantage: Any = 1.0,
    trained: bool = True,
    weight: float = 1.0,
    rollout: tuple[int, int] = (0, 0),
    chunk: int = 0,
) -> Row:
    completion = tuple(completion)
    scores = tuple(logprobs) if logprobs is not None else (-math.log(VOCABULARY),) * len(completion)
    return Row(tuple(prompt), completion, scores, advantage, trained, weight, rollout, chunk, chunk)


def ragged(count: int, *, seed: int = 0, per_token: bool = False, masked: float = 0.1) -> list[Row]:
    """Rows of many lengths, off the policy by up to a third in the ratio, each its own rollout's chunk."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        # Not the padding, 0, whose embedding has no gradient.
        ids = [chance.randrange(3, VOCABULARY) for _ in range(chance.randint(1, 9))]
        advantages = [chance.gauss(0, 1) for _ in ids]
        made.append(
            row(
                [chance.randrange(3, VOCABULARY) for _ in range(chance.randint(1, 30))],
                ids,
                logprobs=[chance.gauss(-math.log(VOCABULARY), 0.15) for _ in ids],
                advantage=tuple(advantages) if per_token else advantages[0],
                trained=chance.random() >= masked,
                weight=chance.choice([0.5, 1.0, 2.0]),
                rollout=(number // 4, number % 4),
                chunk=number % 3,
            )
        )
    return made


def batch(rows: Sequence[Row]) -> Batch:
    """Rows as the credit of a step has them."""
    return Batch(tuple(rows), {}, {}, (), (), ())


def rollouts(
    step: int, *, seed: int = 0, groups: int = 3, size: int = 2, chunks: int = 3, version: int = 1
) -> list[Rollout]:
    """Rollouts of a step: random ids, and a score that tells how many of them are even."""
    return [
        _rollout(step, group, index, chunks, version, random.Random(f"{seed}/{step}/{group}/{index}"))
        for group in range(groups)
        for index in range(size)
    ]


def _rollout(step: int, group: int, index: int, chunks: int, version: int, chance: random.Random) -> Rollout:
    samples = tuple(_sample(chunk, version, chance) for chunk in range(chunks))
    ids = [each for sample in samples for each in sample.completion_ids]
    score = sum(each % 2 == 0 for each in ids) / len(ids)
    answer = Answered("q", "current", "exact_match", ("a",), (), False, "a", score)
    return Rollout(step, group, index, f"i{group}", "fake", samples, (answer,), 10, 100)


def _sample(chunk: int, version: int, chance: random.Random) -> ChunkSample:
    ids = tuple(chance.randrange(3, VOCABULARY) for _ in range(chance.randint(1, 6)))
    return ChunkSample(
        chunk=chunk,
        prompt="",
        text="",
        prompt_ids=tuple(chance.randrange(3, VOCABULARY) for _ in range(chance.randint(3, 12))),
        completion_ids=ids,
        logprobs=tuple(chance.gauss(-math.log(VOCABULARY), 0.1) for _ in ids),
        versions=(Span(version, len(ids)),),
        seed=0,
        finished=True,
    )


@dataclass
class Made:
    """A source of rollouts that their step and a seed decide."""

    seed: int = 0
    chunks: int = 3
    asked: list[int] = field(default_factory=list)
    published: list[Weights] = field(default_factory=list)

    def collect(self, step: int) -> list[Rollout]:
        self.asked.append(step)
        return rollouts(step, seed=self.seed, chunks=self.chunks, version=1 + step)

    def publish(self, weights: Weights) -> None:
        self.published.append(weights)

    def close(self) -> None:
        pass


class Given:
    """A credit that has the rows already, the same for every step."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __call__(self, rollouts: Sequence[Rollout], **_: object) -> Batch:
        return batch(self.rows)


@dataclass
class Heard:
    """An observer that keeps what it hears."""

    collected_: list[tuple[int, Batch]] = field(default_factory=list)
    scored_: list[tuple[int, Mapping[Any, Sequence[float]]]] = field(default_factory=list)
    numbers: list[dict[str, float]] = field(default_factory=list)

    def collected(self, step: int, rollouts: Sequence[Rollout], batch: Batch) -> None:
        self.collected_.append((step, batch))

    def scored(self, step: int, logprobs: Mapping[Any, Sequence[float]]) -> None:
        self.scored_.append((step, logprobs))

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        self.numbers.append({"step": step, **numbers})


def digest(state: Any) -> str:
    """SHA-256 of tensors, numbers and texts, nested as they are."""
    found = sha256()
    for part in _parts(state):
        found.update(part)
    return found.hexdigest()


def _parts(state: Any) -> Iterator[bytes]:
    if isinstance(state, Mapping):
        for key in sorted(state, key=str):
            yield str(key).encode()
            yield from _parts(state[key])
    elif isinstance(state, list | tuple):
        for each in state:
            yield from _parts(each)
    elif hasattr(state, "detach"):
        yield state.detach().cpu().contiguous().view(-1).numpy().tobytes()
    else:
        yield repr(state).encode()
