"""A policy service that is killed in the middle of a group, and comes back at its address."""

import subprocess
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the trainer's libraries: uv sync --group train")

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest
from memalpha.up.ports import free_port
from memalpha_trainer import served, tasks
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts import patience
from memalpha_trainer.rollouts.live import LiveRollouts, Plan
from memalpha_trainer.rollouts.policy import Sampling

from .inside import configured

# Libraries' own.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

SMALL = ("policy.tiny={}", "rollouts.groups=2", "rollouts.group_size=2", "agent.max_new_tokens=8")
# Four rollouts of six chunks, two at once.
ROLLOUTS, CHUNKS, AT_ONCE = 4, 6, 2


class Service:
    """A policy service with a process of its own."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self.process = start()

    def restart(self) -> None:
        """Kills it and starts it at once; it comes when it comes."""
        self.stop()
        self.process = self._start()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_rollouts_of_a_service_that_was_killed_are_those_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, base = configured(tmp_path, None, *SMALL)
    address, log = f"127.0.0.1:{free_port('127.0.0.1')}", tmp_path / "policy.log"
    settings = served.settings_of(config, base, tmp_path / "weights", address)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 1.0)
    service = Service(partial(served._start, settings, log))
    plan = Plan(config.seed, 2, AT_ONCE, Sampling(max_tokens=8))
    source = LiveRollouts(address, tasks.task(config).streams, partial(tasks.setting, config), plan)
    try:
        undisturbed = source.collect(0)
        generate, asked = source._client.generate, list[GenerateRequest]()

        async def deadly(request: GenerateRequest) -> Completion:
            asked.append(request)
            if len(asked) == 9:
                service.restart()
            return await generate(request)

        monkeypatch.setattr(source._client, "generate", deadly)
        disturbed = source.collect(0)
    finally:
        source.close()
        service.stop()
    assert disturbed == undisturbed
    assert rows(disturbed) == Counter(rows(disturbed).keys())
    assert rows(disturbed).total() == ROLLOUTS * CHUNKS
    # The control: it was noticed. What had been asked for was asked for again.
    assert len(asked) > ROLLOUTS * CHUNKS
    seeds = Counter(request.sampling.seed for request in asked)
    assert set(seeds) == {sample.seed for each in disturbed for sample in each.samples}
    assert max(seeds.values()) > 1


def rows(rollouts: list[Rollout]) -> Counter[tuple[int, int, int]]:
    """The rows of rollouts, and how often each is there."""
    return Counter((each.group, each.index, sample.chunk) for each in rollouts for sample in each.samples)
