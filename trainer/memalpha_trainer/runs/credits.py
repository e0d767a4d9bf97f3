"""What training made of each sample, as it stands in `credit.jsonl`: beside `rollouts.jsonl`, never in it.

Rollouts are what training needs, credit is what it derived; whoever replays rollouts derives it again. One
line for each rollout; `samples` of the two run in parallel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from memalpha_trainer.records import named


@dataclass(frozen=True, slots=True)
class SampleCredit:
    """What one completion earned.

    Attributes:
        advantage: That its tokens were trained with.
        parts: Its own parts of the reward, such as `calls`; unweighted.
        why: Why it was not trained on; empty if it was.
        trainer_logprobs: Of `completion_ids`, by the trainer's model before the update; empty if not known.
    """

    advantage: float
    parts: Mapping[str, float]
    why: str = ""
    trainer_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutCredit:
    """What one rollout earned.

    Attributes:
        step: As in its rollout, as are `group` and `index`.
        reward: The weighted sum.
        parts: Parts of the reward that belong to the whole rollout; unweighted.
        samples: One for each of the rollout's.
        dropped: Why the whole rollout was not trained on; empty if it was.
    """

    step: int
    group: int
    index: int
    reward: float
    parts: Mapping[str, float]
    samples: tuple[SampleCredit, ...]
    dropped: str = ""

    def to_json(self) -> str:
        """One line of `credit.jsonl`, without its newline."""
        return json.dumps(self, default=named, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` was given; ValueError, KeyError or TypeError for any other line."""
        raw = json.loads(line)
        samples = tuple(
            SampleCredit(**{**each, "trainer_logprobs": tuple(each["trainer_logprobs"])})
            for each in raw.pop("samples")
        )
        return cls(samples=samples, **raw)
