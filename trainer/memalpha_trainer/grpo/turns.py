"""What happens between a backward pass and the next collection."""

from __future__ import annotations

from typing import Any, Protocol

from transformers import TrainerCallback

from memalpha.errors import InternalError, make
from memalpha_trainer.grpo.ranks import listed


class Turning(Protocol):
    """What is asked of a trainer."""

    @property
    def idle(self) -> bool:
        """Whether no row of the optimizer step at hand can move the weights."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether training is to end before the next collection."""
        ...


class Turns(TrainerCallback):
    """Skips updates without a reason, refuses ruinous ones, ends a run between two collections."""

    def __init__(self, trainer: Turning, updates: int) -> None:
        """Beside a trainer with so many updates of a collection."""
        self._trainer = trainer
        self._updates = updates

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Checks gradients, and takes them away where nothing was learned: momentum would move the weights.

        Raises:
            InternalError: GRADIENT_NOT_FINITE.
        """
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        if not all(listed([bool(each.isfinite().all()) for each in gradients])):
            step = state.global_step + 1
            message = (
                f"the gradient of step {step} holds what is no number; the weights are as they were before"
            )
            raise make(InternalError, "GRADIENT_NOT_FINITE", message, step=step)
        if self._trainer.idle:
            for parameter in model.parameters():
                parameter.grad = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends the run if any rank was asked to, with a checkpoint that it can be resumed from.

        A signal reaches ranks at different steps, or only one of them; those that went on would wait for it.
        """
        if state.global_step % self._updates == 0 and any(listed([self._trainer.stopping])):
            control.should_save = control.should_training_stop = True
