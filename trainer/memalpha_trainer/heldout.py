"""Held-out results of a served policy: every row that a configuration names, greedily or sampled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse
from memalpha.client import AsyncPolicyClient
from memalpha.errors import UnsupportedError, make
from memalpha_trainer import evaluation, tasks
from memalpha_trainer.config import Config
from memalpha_trainer.evaluation import MakeWriter, Result
from memalpha_trainer.models import fitted
from memalpha_trainer.rollouts.live import Plan
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.served import served, with_own_service

Results = dict[str, Result]
"""By row, such as `4x`."""
Phase = Callable[[str, int, int], None]
"""Called with a row's name, rollouts done and rollouts in all."""


def of_service(
    config: Config, address: str, phase: Phase = lambda name, done, of: None, *, temperature: float = 0.0
) -> Results:
    """Results of the policy that is served at `host:port`.

    Raises:
        MemalphaError: It cannot be had, or the task's files cannot be read.
    """
    return asyncio.run(_of_service(config, address, phase, temperature))


def of_checkpoint(
    config: Config, folder: Path, phase: Phase = lambda name, done, of: None, *, temperature: float = 0.0
) -> Results:
    """Results of a checkpoint's folder, through a policy service of its own, whatever the settings name."""
    config = with_own_service(fitted(config, folder))
    with TemporaryDirectory() as scratch:
        here = Path(scratch)
        with served(config, folder, here, here / "policy.log") as service:
            return of_service(config, service.address, phase, temperature=temperature)


def of_writer(config: Config, writer: MakeWriter) -> Results:
    """Results of a scripted writer; `writer` is called for each stream."""
    return asyncio.run(_of_writer(config, writer))


async def _of_service(config: Config, address: str, phase: Phase, temperature: float) -> Results:
    found, plan = Results(), _plan(config, temperature)
    async with (
        AsyncPolicyClient.connect(address) as policy,
        AsyncPolicyClient.connect(config.task.reader_address or address) as reader,
    ):
        setting, description = tasks.setting(config, reader), await policy.describe()
        for name, instances in tasks.task(config).held_out().items():
            told = partial(phase, name)
            scores = await evaluation.evaluate(policy, description, setting, instances, plan, told)
            found[name] = await evaluation.result(name, scores, setting, instances, plan)
    return found


async def _of_writer(config: Config, writer: MakeWriter) -> Results:
    found, plan = Results(), _plan(config, 0.0)
    setting = tasks.setting(config, _Nobody())
    for name, instances in tasks.task(config).held_out().items():
        scores = await evaluation.scripted(writer, setting, instances, plan)
        found[name] = await evaluation.result(name, scores, setting, instances, plan)
    return found


class _Nobody:
    """Stands for a model where the task's reader is none."""

    async def generate(self, request: GenerateRequest) -> Completion:
        """See `Policy`."""
        raise make(UnsupportedError, "NO_READER", "a scripted writer's memory is read by no model")

    async def describe(self) -> GetPolicyResponse:
        """See `Policy`."""
        return GetPolicyResponse(model_free=True)


def _plan(config: Config, temperature: float) -> Plan:
    sampling = Sampling(temperature, config.agent.max_new_tokens)
    return Plan(config.seed, 1, config.rollouts.concurrency, sampling)
