"""Rollouts that a policy service writes now, while the trainer waits.

Every rollout of a step runs at once, as many as the settings allow; each has a bank in RAM and gives it up at
the end. The policy is asked over gRPC whether it runs on this machine or another, and what was asked for is
decided by step and seed alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import memcore
from memalpha.agent.protocols import Completion, Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyResponse,
    LoadWeightsRequest,
)
from memalpha.client import AsyncPolicyClient
from memalpha.errors import ConflictError, UnsupportedError, make
from memalpha.tasks.instance import Instance
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.collect import Place, Setting, rollout
from memalpha_trainer.rollouts.patience import patiently
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.source import Weights

Streams = Callable[[int], Sequence[Instance]]
"""The instances of a step, one for each group."""
MakeSetting = Callable[[Policy], Setting]
"""How rollouts are made, given the policy that answers questions where one does."""
Progress = Callable[[int, int], None]
"""Called with rollouts done and rollouts asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step's rollouts are.

    Attributes:
        seed: The run's.
        group_size: Rollouts of each stream.
        concurrency: Most rollouts at once.
        sampling: How completions are drawn.
    """

    seed: int
    group_size: int
    concurrency: int
    sampling: Sampling


class _Reloading:
    """A service's policy, which gets the run's weights again if it was started again in the middle."""

    def __init__(self, policy: Policy, reload: Callable[[], Awaitable[object]]) -> None:
        self._policy = policy
        self._reload = reload
        self._turn = asyncio.Lock()

    async def generate(self, request: GenerateRequest) -> Completion:
        try:
            return await self._policy.generate(request)
        except UnsupportedError as error:
            if error.reason != "POLICY_TOO_OLD":
                raise
        async with self._turn:  # whoever comes second finds them loaded
            await self._reload()
        return await self._policy.generate(request)

    async def describe(self) -> GetPolicyResponse:
        return await self._policy.describe()


class LiveRollouts:
    """A `RolloutSource` over a running policy service."""

    def __init__(
        self,
        address: str,
        streams: Streams,
        setting: MakeSetting,
        plan: Plan,
        progress: Progress = lambda done, of: None,
        reader_address: str = "",
        require_alive: Callable[[], None] = lambda: None,
    ) -> None:
        """Over the policy services at `host:port`; without a reader's, the writer answers. Sends nothing.

        A service that is not to be had is waited for, unless `require_alive` raises.
        """
        self._streams = streams
        self._plan = plan
        self._progress = progress
        self._require_alive = require_alive
        self._weights: Weights | None = None
        # A gRPC channel belongs to the loop that it was made in.
        self._runner = asyncio.Runner()
        self._client = self._runner.run(_connected(address))
        self._reader = self._runner.run(_connected(reader_address)) if reader_address else self._client
        self._setting = setting(self._reader)

    def collect(self, step: int) -> list[Rollout]:
        """See `RolloutSource`."""
        return self._runner.run(self._collect(step))

    def publish(self, weights: Weights) -> None:
        """See `RolloutSource`."""
        self._runner.run(self._load(weights))
        self._weights = weights

    def close(self) -> None:
        """See `RolloutSource`."""
        for client in {self._client, self._reader}:
            self._runner.run(client.close())
        self._runner.close()

    async def _collect(self, step: int) -> list[Rollout]:
        description = await self._ready()
        version = self._weights.version if self._weights else 0
        places = [
            (instance, Place(self._plan.seed, step, group, index))
            for group, instance in enumerate(self._streams(step))
            for index in range(self._plan.group_size)
        ]
        policy = _Reloading(self._client, self._ready)
        return await rollouts(
            policy,
            description,
            self._setting,
            places,
            self._plan,
            self._progress,
            version,
            self._require_alive,
        )

    async def _ready(self) -> GetPolicyResponse:
        """The policy, once it serves the weights that were published; one that was restarted gets them again.

        Raises:
            ConflictError: POLICY_VERSION_DIFFERS.
        """
        description = await patiently(self._client.describe, self._require_alive)
        if self._weights is None:
            return description
        if description.policy.policy_version < self._weights.version:
            await self._load(self._weights)
            description = await patiently(self._client.describe, self._require_alive)
        served, wanted = description.policy.policy_version, self._weights.version
        if served != wanted:
            message = (
                f"the policy service serves version {served} of its weights, and this run gave it {wanted}:"
                " one run at a time can have a service"
            )
            raise make(ConflictError, "POLICY_VERSION_DIFFERS", message, served=served, wanted=wanted)
        return description

    async def _load(self, weights: Weights) -> None:
        """A service that has the version already compares it with the probe, and does nothing else."""
        request = LoadWeightsRequest(
            policy_version=weights.version, path=str(weights.folder.resolve()), probe=weights.probe
        )
        await patiently(partial(self._client.load_weights, request), self._require_alive)


async def rollouts(
    policy: Policy,
    description: GetPolicyResponse,
    setting: Setting,
    places: Sequence[tuple[Instance, Place]],
    plan: Plan,
    progress: Progress = lambda done, of: None,
    version: int = 0,
    require_alive: Callable[[], None] = lambda: None,
) -> list[Rollout]:
    """Rollouts of instances, in their order, some at once. The first that fails stops the others.

    Raises:
        MemalphaError: As `collect.rollout`, at the last try; or what `require_alive` raised.
    """
    turns = asyncio.Semaphore(plan.concurrency)
    done = 0

    async def one(instance: Instance, place: Place) -> Rollout:
        nonlocal done
        async with turns:
            with memcore.Store.in_memory() as store:
                work = partial(
                    rollout, store, instance, policy, description, setting, place, plan.sampling, version
                )
                made = await patiently(work, require_alive)
        done += 1
        progress(done, len(places))
        return made

    return await _all([one(instance, place) for instance, place in places])


async def _all(works: Sequence[object]) -> list[Rollout]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[arg-type]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connected(address: str) -> AsyncPolicyClient:
    return AsyncPolicyClient.connect(address)
