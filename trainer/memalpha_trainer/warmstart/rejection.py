"""Rejection-sampled imitation: the arm that goes on imitating, its own best rollouts.

It sees what a training run sees: as many streams, as many rollouts of each under the same seeds, the same
rewards. All of them are written by the warm start; the best of each group are learned, as often as makes up
for the others, so that both arms generate and train the same number of rollouts. Groups whose rewards are
all the same say nothing and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from memalpha.policy.checkpoint import MANIFEST
from memalpha_trainer import tasks
from memalpha_trainer.config import Config, RewardTable
from memalpha_trainer.credit.groups import positions
from memalpha_trainer.credit.rewards import assign_rewards
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.live import LiveRollouts, Plan
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.source import RolloutSource
from memalpha_trainer.runs import lines
from memalpha_trainer.runs.lines import JsonLines
from memalpha_trainer.served import Service, served, with_own_service
from memalpha_trainer.warmstart.schedule import Row, Schedule

KEPT = 2
"""Rollouts of a group that are learned."""
CHECKPOINT = "checkpoint"
_SAME = 1e-9

Progress = Callable[[int, int], None]
"""Called with steps sampled and steps in all."""


def imitate_best(
    config: Config, warm: Path, folder: Path, progress: Progress = lambda done, of: None
) -> Path:
    """Samples what a run of this configuration would, learns the best; the checkpoint.

    Args:
        config: Of the run that it is compared with.
        warm: The checkpoint that both start from.
        folder: Where rollouts and the checkpoint go; what is there already is not made again.
        progress: Is told of each step of sampling.

    Raises:
        MemalphaError: The policy service cannot be started, or nothing was better than anything else.
    """
    from memalpha_trainer.warmstart.sft import imitate

    out = folder / CHECKPOINT
    if (out / MANIFEST).exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    config = with_own_service(config)
    with served(config, warm, folder, folder / "policy.log") as service:
        source = _source(config, service)
        try:
            chosen = sampled(config, source, folder / "best.jsonl", progress)
        finally:
            source.close()
    rows = [Row(prompt, completion) for prompt, completion in chosen]
    passes = max(1, config.rollouts.group_size // KEPT)
    imitate(warm, out, [rows] * passes, Schedule(muon_lr=2e-3, lr=3e-4, seed=config.seed), version=2)
    return out


Ids = tuple[tuple[int, ...], tuple[int, ...]]
"""Of a prompt and of what was written about it."""


def sampled(
    config: Config, source: RolloutSource, path: Path, progress: Progress = lambda done, of: None
) -> list[Ids]:
    """The rows of the best rollouts of every step; a step that stands in the file is not sampled again.

    Args:
        config: Says how many steps there are, and what is rewarded.
        source: Writes the rollouts.
        path: A file with a line for each step, or none yet.
        progress: Is told of each step.
    """
    steps = [json.loads(line)["rows"] for line in lines.read(path)]
    with closing(JsonLines(path)) as file:
        for step in range(len(steps), config.optim.steps):
            chosen = best(source.collect(step), config.rewards)
            rows = [each for rollout in chosen for each in _ids(rollout)]
            file.append([json.dumps({"step": step, "rows": rows})])
            steps.append(rows)
            progress(step + 1, config.optim.steps)
    return [(tuple(prompt), tuple(written)) for rows in steps for prompt, written in rows]


def best(rollouts: Sequence[Rollout], table: RewardTable, kept: int = KEPT) -> list[Rollout]:
    """The best of each group, in order; of a group with one reward for all, none."""
    rewards = [each.total for each in assign_rewards(rollouts, table)]
    chosen: list[Rollout] = []
    for places in positions((each.step, each.group) for each in rollouts):
        ranked = sorted(places, key=lambda place: -rewards[place])
        if rewards[ranked[0]] - rewards[ranked[-1]] > _SAME:
            chosen += [rollouts[place] for place in ranked[:kept]]
    return chosen


def _ids(rollout: Rollout) -> list[Ids]:
    """Of the samples that ended by themselves; to be cut off is nothing to imitate."""
    return [(each.prompt_ids, each.completion_ids) for each in rollout.samples if each.finished]


def _source(config: Config, service: Service) -> LiveRollouts:
    sampling = Sampling(config.rollouts.temperature, config.agent.max_new_tokens)
    plan = Plan(config.seed, config.rollouts.group_size, config.rollouts.concurrency, sampling)
    streams, setting = tasks.task(config).streams, partial(tasks.setting, config)
    return LiveRollouts(service.address, streams, setting, plan, require_alive=service.require_alive)
