"""Rollouts from a file: training without a policy, exact to the last bit.

A run's `rollouts.jsonl` holds all that its gradients came from. Replayed under the same configuration it
gives the same weights, which separates faults of the trainer from those of the policy that wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from memalpha.errors import InvalidInputError, NotFoundError, make
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.source import Weights


class ReplayRollouts:
    """A `RolloutSource` over rollouts that were made before; new weights have no effect on it."""

    def __init__(self, rollouts: Iterable[Rollout]) -> None:
        """Keeps them by step."""
        self._steps: dict[int, list[Rollout]] = {}
        for each in rollouts:
            self._steps.setdefault(each.step, []).append(each)

    @classmethod
    def of_file(cls, file: Path) -> ReplayRollouts:
        """All rollouts of a `rollouts.jsonl`.

        Raises:
            InvalidInputError: INVALID_ROLLOUTS; it names the line.
        """
        return cls(read_rollouts(file))

    @property
    def steps(self) -> list[int]:
        """Steps that there are rollouts of."""
        return sorted(self._steps)

    def collect(self, step: int) -> list[Rollout]:
        """See `RolloutSource`.

        Raises:
            NotFoundError: NO_ROLLOUTS, if the file has none of that step.
        """
        if step not in self._steps:
            message = f"there are no rollouts of step {step}; there are those of {_shown(self.steps)}"
            raise make(NotFoundError, "NO_ROLLOUTS", message, step=step)
        return sorted(self._steps[step], key=lambda each: (each.group, each.index))

    def publish(self, weights: Weights) -> None:
        """Does nothing: what is replayed was written by the weights of its time."""

    def close(self) -> None:
        """Nothing is open."""


def read_rollouts(file: Path) -> list[Rollout]:
    """Rollouts of a file, one on each line.

    Raises:
        InvalidInputError: INVALID_ROLLOUTS; it names the line.
    """
    found = []
    for number, line in enumerate(_whole_lines(file), 1):
        try:
            found.append(Rollout.from_json(line))
        except (KeyError, TypeError, ValueError) as error:
            message = f"{file}, line {number}: no rollout: {error!r:.200}"
            raise make(InvalidInputError, "INVALID_ROLLOUTS", message, line=number) from None
    return found


def _whole_lines(file: Path) -> list[str]:
    """All lines; without a newline at its end, the last one was being written when its writer ended."""
    try:
        return file.read_text("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise make(InvalidInputError, "INVALID_ROLLOUTS", f"{file}: {error}", path=file) from None


def _shown(steps: list[int]) -> str:
    return f"{steps[0]} to {steps[-1]}" if steps else "no step"
