"""The one seam between training and rollouts.

A trainer asks a source for the rollouts of a step and hands it the weights that come of them. Behind it
stands a policy service that writes now (`live`), or a file of what one wrote before (`replay`); a source that
runs ahead of the trainer would stand here too, which is why every token carries the version that drew it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from memalpha.api.policy.v1alpha1.policy_service_pb2 import WeightProbe
from memalpha_trainer.records import Rollout


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are ready to be served: a sealed folder, their number, and what they must say."""

    folder: Path
    version: int
    probe: WeightProbe


class RolloutSource(Protocol):
    """Makes rollouts. Called by one thread; blocking."""

    def collect(self, step: int) -> list[Rollout]:
        """The rollouts of an optimizer step, whole groups, ordered by group and index.

        Called once per generation, with steps that rise; after a resume, with the step that it goes on at.
        The same step, weights and seed give the same rollouts.
        """
        ...

    def publish(self, weights: Weights) -> None:
        """Has later rollouts written with these weights. Called before `collect`, once for each version.

        The first version is that of the checkpoint that training starts from, which is served already; for it
        this is called before the first evaluation as well.

        Raises:
            MemalphaError: They are not served; the trainer stops.
        """
        ...

    def close(self) -> None:
        """Called once, at the end."""
        ...
