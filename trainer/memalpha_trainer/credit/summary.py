"""What a step's log says of its rollouts: reward parts, spread within groups, lengths, calls by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from memalpha_trainer.credit.advantages import Advantages
from memalpha_trainer.credit.groups import deviation, mean, positions
from memalpha_trainer.credit.rewards import Rewards
from memalpha_trainer.records import ChunkSample, Rollout

KINDS = ("insert", "update", "delete")


def summary(
    rollouts: Sequence[Rollout], rewards: Sequence[Rewards], advantages: Sequence[Advantages]
) -> dict[str, float]:
    """Numbers by name: a part's mean `reward/NAME`, its deviation `reward/NAME_std`; `ops/` are per chunk."""
    samples = [sample for rollout in rollouts for sample in rollout.samples]
    return {
        **_rewards(rewards),
        **_advantages(rewards, advantages),
        **_operations(samples),
        "completion/tokens": mean([len(each.completion_ids) for each in samples]),
        "completion/truncated": mean([not each.finished for each in samples]),
        "memory/tokens": mean([each.memory_tokens for each in rollouts]),
        "rollouts/failed": mean([bool(each.failure) for each in rollouts]),
    }


def _rewards(rewards: Sequence[Rewards]) -> dict[str, float]:
    parts = {
        "total": [each.total for each in rewards],
        "qa": [each.answers for each in rewards],
        "call": [mean(each.calls) for each in rewards],
        "compression": [each.compression for each in rewards],
        "content": [mean(each.content) for each in rewards],
    }
    return {f"reward/{name}": mean(values) for name, values in parts.items()} | {
        f"reward/{name}_std": deviation(values) for name, values in parts.items()
    }


def _advantages(rewards: Sequence[Rewards], advantages: Sequence[Advantages]) -> dict[str, float]:
    """Size of the advantages; groups that teach nothing because all that they did was worth the same."""
    sizes = [abs(value) for each in advantages for value in each]
    groups = positions(each.group for each in rewards)
    idle = [not any(chain.from_iterable(advantages[each] for each in members)) for members in groups]
    return {"adv/abs_mean": mean(sizes), "frac_zero_std_groups": mean(idle)}


def _operations(samples: Sequence[ChunkSample]) -> dict[str, float]:
    """Calls per chunk that were carried out, by kind, those that were not, and chunks without any."""
    calls = [operation for sample in samples for operation in sample.operations]
    counts = Counter(call.kind if call.applied else "failed" for call in calls)
    chunks = max(len(samples), 1)
    silent = sum(not sample.operations for sample in samples)
    return {f"ops/{kind}": counts[kind] / chunks for kind in (*KINDS, "failed")} | {
        "ops/skip": silent / chunks
    }
