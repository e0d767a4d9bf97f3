"""Muon for matrices and Adam for the rest, as one optimizer: how a tiny model learns to copy in few steps.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by the
nearest matrix whose singular values are about one, by five Newton-Schulz iterations. Rare directions are
learned as fast as common ones, which copying needs. torch's own iterates in bfloat16, which CPUs are slow
at; this one in float32, all matrices of a shape at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPS = 1e-8


class MuonAdam(torch.optim.Optimizer):
    """Groups with `muon` hold matrices and take its update, the others Adam's, bias corrected."""

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        muon_lr: float,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
    ) -> None:
        """Over all parameters of a network; embeddings and head are not matrices in this sense.

        Args:
            network: What is trained.
            muon_lr: Learning rate of matrices, in units of their spectral norm.
            lr: Of everything else.
            momentum: Of Muon; Nesterov's.
            betas: Of Adam.
            weight_decay: Of matrices, decoupled.
        """
        embeddings = {id(network.get_input_embeddings().weight), id(network.get_output_embeddings().weight)}  # type: ignore[operator, union-attr]
        matrices, rest = [], []
        for parameter in network.parameters():
            is_matrix = parameter.ndim == 2 and id(parameter) not in embeddings
            (matrices if is_matrix else rest).append(parameter)
        groups = [
            {"params": matrices, "lr": muon_lr, "muon": True, "weight_decay": weight_decay},
            {"params": rest, "lr": lr, "muon": False, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; there is no closure."""
        for group in self.param_groups:
            parameters = [each for each in group["params"] if each.grad is not None]
            (self._muon if group["muon"] else self._adam)(group, parameters)

    def _muon(self, group: dict[str, Any], parameters: Iterable[torch.Tensor]) -> None:
        by_shape: dict[torch.Size, list[torch.Tensor]] = {}
        for each in parameters:
            by_shape.setdefault(each.shape, []).append(each)
        for shape, those in by_shape.items():
            updates = orthogonal(torch.stack([self._nesterov(each, group["momentum"]) for each in those]))
            scale = max(1.0, shape[0] / shape[1]) ** 0.5
            for each, update in zip(those, updates, strict=True):
                each.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)

    def _nesterov(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        assert parameter.grad is not None
        mean = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        mean.mul_(momentum).add_(parameter.grad)
        return parameter.grad.add(mean, alpha=momentum)

    def _adam(self, group: dict[str, Any], parameters: Iterable[torch.Tensor]) -> None:
        first, second = group["betas"]
        for each in parameters:
            state = self.state[each]
            if not state:
                state |= {"step": 0, "mean": torch.zeros_like(each), "square": torch.zeros_like(each)}
            state["step"] += 1
            state["mean"].lerp_(each.grad, 1 - first)
            state["square"].lerp_(each.grad.square(), 1 - second)
            root = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(_EPS)
            each.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - first ** state["step"]))


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (count, rows, columns) with the same singular vectors, their singular values about one."""
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT).mT
    a, b, c = _QUINTIC
    found = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + _EPS)
    for _ in range(_ITERATIONS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found
