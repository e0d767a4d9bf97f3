"""Training in this process: a real engine behind its service, gRPC and the real trainer, in one loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from memalpha.policy.engine import create
from memalpha.services.policy import PolicyServicer
from memalpha.up.ports import free_port
from memalpha_trainer import building, served, tasks
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.credit.rows import Batch, rows
from memalpha_trainer.grpo.packing import PADDING
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer
from memalpha_trainer.models import fitted, starting_model
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.live import LiveRollouts, Plan
from memalpha_trainer.rollouts.policy import Sampling

Ids = tuple[tuple[int, ...], tuple[int, ...]]
"""Of a prompt and of what was written about it."""


class Servicer(PolicyServicer):
    """A policy service that keeps the ids it sent."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.sent: list[Ids] = []

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        pieces = []
        async for piece in super().Generate(request, context):
            pieces.append(piece)
            yield piece
        done = Completion.joined(pieces)
        self.sent.append((done.prompt_token_ids, done.token_ids))


class Trainer(ChunkGRPOTrainer):
    """Keeps the ids of every row that its loss saw."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: list[Ids] = []

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        self.seen += _ids(inputs)
        return super().compute_loss(model, inputs, *arguments, **options)


def _ids(inputs: Mapping[str, Any]) -> Iterator[Ids]:
    for place, row in enumerate(inputs["row"].tolist()):
        if row != PADDING:
            yield _kept(inputs, "prompt", place), _kept(inputs, "completion", place)


def _kept(inputs: Mapping[str, Any], part: str, place: int) -> tuple[int, ...]:
    """Ids without padding."""
    mask = inputs[f"{part}_mask"][place].bool()
    return tuple(inputs[f"{part}_ids"][place][mask].tolist())


@dataclass
class Run:
    """What is left of a training run.

    Attributes:
        rollouts: Of all steps.
        sent: Ids as the policy service sent them, and how often.
        trained: Ids as the loss saw them, and how often.
        numbers: Of each optimizer step.
        before: The weights that it started from.
        after: Those that it ended with.
    """

    rollouts: list[Rollout] = field(default_factory=list)
    sent: Counter[Ids] = field(default_factory=Counter)
    trained: Counter[Ids] = field(default_factory=Counter)
    numbers: list[dict[str, float]] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def collected(self, step: int, rollouts: Sequence[Rollout], batch: Batch) -> None:
        self.rollouts += rollouts

    def scored(self, step: int, logprobs: Mapping[Any, Sequence[float]]) -> None: ...

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        self.numbers.append(dict(numbers))


def configured(folder: Path, file: Path | None, *overrides: str) -> tuple[Config, Path]:
    """A run with a tiny model, and the model."""
    asked = resolve(file, [f"out='{folder}'", *overrides])
    base = starting_model(asked, folder)
    return fitted(asked, base), base


@contextmanager
def written(config: Config, base: Path) -> Iterator[tuple[LiveRollouts, Servicer]]:
    """Rollouts of a run, from a service that lives in their loop, and the service."""
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    sampling = Sampling(config.rollouts.temperature, config.agent.max_new_tokens)
    plan = Plan(config.seed, config.rollouts.group_size, config.rollouts.concurrency, sampling)
    source = LiveRollouts(address, tasks.task(config).streams, partial(tasks.setting, config), plan)
    server, engine, servicer = source._runner.run(_serving(config, base, address))
    try:
        yield source, servicer
    finally:
        source._runner.run(server.stop(1))
        source._runner.run(engine.close())
        source.close()


async def _serving(config: Config, base: Path, address: str) -> tuple[Any, Any, Servicer]:
    wanted = served.settings_of(config, base, config.folder / "weights", address)
    engine = create("transformers", wire_format=config.agent.wire_format, settings=wanted.policy)
    servicer, server = Servicer(engine), grpc.aio.server()
    add_PolicyServiceServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    return server, engine, servicer


def trained(config: Config, base: Path, *, every_row: bool = False) -> Run:
    """Trains a run to its end.

    Args:
        config: The run's.
        base: The checkpoint to start from.
        every_row: Train on all rows, with an advantage of 1, in place of those that have one.
    """
    run = Run()
    with written(config, base) as (source, servicer):
        made = _trainer(config, base, source, run)
        if every_row:
            made._credit = partial(_all_rows, config)
        run.before = _weights(made)
        made.train()
        made.publish()
        run.after = _weights(made)
    run.sent, run.trained = Counter(servicer.sent), Counter(made.seen)
    return run


def _trainer(config: Config, base: Path, source: LiveRollouts, run: Run) -> Trainer:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "ChunkGRPOTrainer", Trainer)
        made = building.built(config, base, config.folder / "weights", source, run)
    assert isinstance(made, Trainer)
    return made


def _all_rows(config: Config, rollouts: Sequence[Rollout], **options: Any) -> Batch:
    found = rows(rollouts, config=config, **options)
    return replace(found, rows=tuple(replace(each, advantage=1.0) for each in found.rows))


def _weights(made: Trainer) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in made.model.state_dict().items()}
