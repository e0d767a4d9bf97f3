"""What the loss is the gradient of: finite differences, exact expectations, tokens that do not count."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import torch
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from memalpha.errors import InvalidInputError
from memalpha_trainer.credit.rows import Row
from memalpha_trainer.grpo.collate import packed
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer

from .grpo_support import VOCABULARY, checkpoint, configured, ragged, row
from .grpo_trainers import distance, gradients, logprobs, model, trainer

PROMPT = (7, 30, 11)
OPEN = {"clip_low": 1.0, "clip_high": 1e6, "micro_batches": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny", layers=1)


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms in the precision of their input; the library's own round to float32."""

    def forward(self: Any, states: torch.Tensor) -> torch.Tensor:
        scale = states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon
        return self.weight * states * torch.rsqrt(scale)

    monkeypatch.setattr(Qwen3RMSNorm, "forward", forward)


class Double(ChunkGRPOTrainer):
    """Scores in float64, which TRL's output head has no numbers for."""

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *_: Any, **__: Any
    ) -> Any:
        logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        table = logits[:, -logits_to_keep - 1 : -1].log_softmax(-1)
        found = table.gather(-1, input_ids[:, -logits_to_keep:, None])[..., 0]
        return found, torch.zeros_like(found), None


def loss(made: ChunkGRPOTrainer, rows: Sequence[Row]) -> torch.Tensor:
    inputs = packed(rows, updates=1, micro_batches=1, pad=0).tensors[0]
    made.current_gradient_accumulation_steps = 1
    return made._compute_loss(made.model, inputs)


def far_from_bounds(network: Any, *, per_token: bool) -> list[Row]:
    """Rows whose ratios are 0.5, 1.05 or 2: none near a bound, where the loss has a kink."""
    made = []
    for number, each in enumerate(ragged(9, per_token=per_token, masked=0)):
        off = (0.05, math.log(2), -math.log(2))[number % 3]
        scores = (logprobs(network, each).detach() - off).tolist()
        made.append(row(each.prompt_ids, each.completion_ids, logprobs=scores, advantage=each.advantage))
    return made


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("per_token", [False, True], ids=["(B,)", "(B,T)"])
@pytest.mark.parametrize("clip", [0.2, 0.9], ids=["clipped", "unclipped"])
def test_the_gradient_is_that_of_the_loss_by_finite_differences(
    folder: Path, tmp_path: Path, per_token: bool, clip: float
) -> None:
    slope, differences = slopes(
        folder, tmp_path, per_token=per_token, low=clip, high=1.5 if clip > 0.5 else clip
    )
    assert abs(slope - differences) <= 1e-4 * abs(differences)


@pytest.mark.usefixtures("precise")
def test_clipping_at_the_other_side_has_another_slope(folder: Path, tmp_path: Path) -> None:
    right, _ = slopes(folder, tmp_path, per_token=False, low=0.2, high=1.5)
    _, flipped = slopes(folder, tmp_path, per_token=False, low=0.9, high=0.2)
    assert abs(right - flipped) > 1e-2 * abs(right)


def slopes(folder: Path, out: Path, *, per_token: bool, low: float, high: float) -> tuple[float, float]:
    """Along one random direction: by the gradient, and by the difference of two losses."""
    config = configured(folder, out, optim={"clip_low": low, "clip_high": high, "micro_batches": 1})
    network = model(folder).double()
    rows = far_from_bounds(network, per_token=per_token)
    made = trainer(config, Double, model=network)
    weights = list(made.model.parameters())
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in weights]
    found = torch.autograd.grad(loss(made, rows), weights)
    slope = sum((one * other).sum() for one, other in zip(found, direction, strict=True))
    step = 1e-6

    def moved(by: float) -> float:
        with torch.no_grad():
            for each, way in zip(weights, direction, strict=True):
                each.add_(way, alpha=by)
            return float(loss(made, rows))

    up, down = moved(step), moved(-2 * step)
    return float(slope), (up - down) / (2 * step)


def arms(network: Any, behaviour: torch.Tensor, rewards: torch.Tensor | None) -> list[Row]:
    """Every token as the only one of a row, weighing its probability: an expectation without sampling."""
    scores = behaviour.log_softmax(-1)
    baseline = (scores.exp() * rewards).sum() if rewards is not None else 0.0
    return [
        row(
            PROMPT,
            [token],
            logprobs=[scores[token].item()],
            advantage=(rewards[token] - baseline).item() if rewards is not None else 0.0,
            weight=scores[token].exp().item(),
        )
        for token in range(VOCABULARY)
    ]


def table(network: Any) -> torch.Tensor:
    return network(input_ids=torch.tensor([PROMPT]), use_cache=False).logits[0, -1].log_softmax(-1)


def test_off_policy_rows_give_the_exact_gradient_of_the_expected_reward(folder: Path, tmp_path: Path) -> None:
    network = model(folder)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        away = table(network) + 0.6 * torch.randn(VOCABULARY, generator=generator)
    rewards = torch.rand(VOCABULARY, generator=generator)
    config = configured(folder, tmp_path, optim=OPEN)
    rows = arms(network, away, rewards)
    (found,) = gradients(config, rows)
    # J = sum of pi(a) r(a); a baseline adds nothing to its gradient.
    exact = -(table(network).exp() * rewards).sum()
    exact.backward()
    by_hand = {name: each.grad for name, each in network.named_parameters()}
    assert distance(found, by_hand) <= 1e-3
    own = table(network).detach()
    as_if = [
        row(
            PROMPT,
            each.completion_ids,
            logprobs=[own[each.completion_ids[0]].item()],
            advantage=each.advantage,
            weight=each.weight,
        )
        for each in rows
    ]
    (biased,) = gradients(config, as_if)
    assert distance(biased, by_hand) > 0.05


@pytest.mark.parametrize("corrected", [True, False])
def test_the_kl_term_has_the_exact_gradient_off_the_policy(
    folder: Path, tmp_path: Path, corrected: bool
) -> None:
    config = configured(folder, tmp_path, optim=OPEN | {"kl": 0.5})
    network = model(folder)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        origin = table(network)
        for each in network.parameters():
            each.add_(torch.randn(each.shape, generator=generator), alpha=0.02)
        away = table(network) + 0.6 * torch.randn(VOCABULARY, generator=generator)
    changed = model(folder)
    changed.load_state_dict(network.state_dict())
    (found,) = gradients(
        config, arms(network, away, None), Uncorrected if not corrected else ChunkGRPOTrainer, model=changed
    )
    now = table(network)
    (0.5 * (now.exp() * (now - origin)).sum()).backward()
    off = distance(found, {name: each.grad for name, each in network.named_parameters()})
    assert off <= 1e-2 if corrected else off > 5e-2


class Uncorrected(ChunkGRPOTrainer):
    """Without the ratio in the KL term."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.args.use_bias_correction_kl = False


def test_logprobs_of_masked_tokens_have_no_gradient_at_all(folder: Path, tmp_path: Path) -> None:
    made = trainer(configured(folder, tmp_path), Kept)
    rows = [row([5, 6], [7, 8, 9]), row([5] * 9, [10], advantage=-0.5)]
    loss(made, rows).backward()
    (scores,) = made.seen
    kept = packed(rows, updates=1, micro_batches=1, pad=0).tensors[0]["tool_mask"] > 0
    assert kept.tolist() == [[True, False, False], [True, True, True]]
    assert (scores.grad[~kept] == 0).all()
    assert (scores.grad[kept] != 0).all()


class Kept(ChunkGRPOTrainer):
    """Keeps logprobs with their gradients."""

    seen: list[torch.Tensor]

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        scores, entropies, none = super()._get_per_token_logps_and_entropies(*args, **options)
        scores.retain_grad()
        self.seen = [scores]
        return scores, entropies, none


def test_kl_without_a_reference_is_refused(folder: Path, tmp_path: Path) -> None:
    config = configured(folder, tmp_path, optim={"kl": 0.1})
    network = model(folder)
    network.config._name_or_path = ""
    with pytest.raises(InvalidInputError, match=r"optim\.kl needs a model that was loaded from a folder"):
        trainer(config, model=network)
