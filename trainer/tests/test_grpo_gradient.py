"""The gradient of an optimizer step against the same gradient by hand, row by row, in float64."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import torch
from transformers import AutoTokenizer

from memalpha_trainer.config import CreditTable
from memalpha_trainer.credit.rows import Row, expand_rows

from .grpo_support import checkpoint, configured, ragged, rollouts, row
from .grpo_trainers import distance, gradients, logprobs, mean, model, reference

EXACT = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny", layers=1)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "untied", tied=False, layers=1)


@pytest.mark.parametrize("per_token", [False, True], ids=["(B,)", "(B,T)"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gradient_is_the_stated_one_on_ragged_rows(
    folder: Path, tmp_path: Path, per_token: bool, temperature: float
) -> None:
    rows = ragged(37, per_token=per_token)
    config = configured(folder, tmp_path, rollouts={"temperature": temperature}, optim={"micro_batches": 4})
    (found,) = gradients(config, rows)
    assert distance(found, reference(config, rows)) <= EXACT


def test_the_temperature_counts(folder: Path, tmp_path: Path) -> None:
    rows = ragged(20)
    warm, plain = (configured(folder, tmp_path, rollouts={"temperature": each}) for each in (0.7, 1.0))
    (found,) = gradients(warm, rows)
    assert distance(found, reference(plain, rows)) > 1e-2


@pytest.mark.parametrize("micro_batches", [1, 3, 7, 40])
def test_it_does_not_depend_on_micro_batches(folder: Path, tmp_path: Path, micro_batches: int) -> None:
    rows = ragged(31, seed=1)
    config = configured(folder, tmp_path, optim={"micro_batches": micro_batches})
    (found,) = gradients(config, rows)
    assert distance(found, reference(config, rows)) <= EXACT


def test_the_steps_of_a_collection_have_its_gradient_as_their_mean(folder: Path, tmp_path: Path) -> None:
    rows = ragged(41, seed=2)
    config = configured(folder, tmp_path, optim={"steps": 6, "updates": 3, "micro_batches": 2})
    found = gradients(config, rows)
    assert len(found) == 3
    assert distance(mean(found), reference(config, rows)) <= EXACT
    assert distance(found[0], reference(config, rows)) > 0.1


def test_padding_with_the_first_row_gives_another_gradient(folder: Path, tmp_path: Path) -> None:
    rows = ragged(37)
    config = configured(folder, tmp_path, optim={"micro_batches": 4})
    (found,) = gradients(config, [*rows, rows[0], rows[0], rows[0]])
    assert distance(found, reference(config, rows)) > 1e-2


def test_losing_one_row_of_97_gives_another_gradient(folder: Path, tmp_path: Path) -> None:
    rows = ragged(97, masked=0)
    config = configured(folder, tmp_path, optim={"micro_batches": 4})
    (found,) = gradients(config, rows[:96])
    assert distance(found, reference(config, rows)) > 1e-2


@pytest.mark.parametrize("weighting", ["token", "rollout"])
def test_tokens_or_rollouts_weigh_the_same(folder: Path, tmp_path: Path, weighting: Any) -> None:
    # Rollouts of one, two and three chunks.
    made = [replace(each, samples=each.samples[: each.group + 1]) for each in rollouts(0)]
    values = [tuple(0.5 - each.index + 0.1 * n for n in range(len(each.samples))) for each in made]
    rows, _ = expand_rows(made, values, CreditTable(weighting=weighting))
    config = configured(folder, tmp_path)
    (found,) = gradients(config, rows)
    weights = {"token": by_token(rows), "rollout": by_rollout(rows)}
    by_hand = {
        name: reference(
            config, [replace(each, weight=weight) for each, weight in zip(rows, weights[name], strict=True)]
        )
        for name in weights
    }
    other = "rollout" if weighting == "token" else "token"
    assert distance(found, by_hand[weighting]) <= EXACT
    assert distance(found, by_hand[other]) > 1e-2


def by_token(rows: tuple[Row, ...]) -> list[float]:
    return [1.0] * len(rows)


def by_rollout(rows: tuple[Row, ...]) -> list[float]:
    """One over the number of tokens of the row's rollout."""
    return [
        1 / sum(len(other.completion_ids) for other in rows if other.rollout == each.rollout) for each in rows
    ]


def test_the_scale_of_weights_does_not_matter(folder: Path, tmp_path: Path) -> None:
    rows = ragged(12)
    config = configured(folder, tmp_path)
    (one,), (other,) = (
        gradients(config, [replace(each, weight=each.weight * by) for each in rows]) for by in (1, 1e-4)
    )
    assert distance(one, other) <= EXACT


def test_rows_that_are_not_trained_on_have_no_gradient_at_all(untied: Path, tmp_path: Path) -> None:
    # Token 300 is in a masked row only.
    rows = [
        row(completion=[10, 11]),
        row([300, 300], [300], trained=False),
        row([12], [13, 14], advantage=-1.0),
    ]
    config = configured(untied, tmp_path)
    (found,) = gradients(config, rows)
    (kept,) = gradients(config, [replace(each, trained=True) for each in rows])
    embedding, head = found["model.embed_tokens.weight"], found["lm_head.weight"]
    assert embedding[300].count_nonzero() == 0
    assert distance(found, reference(config, rows)) <= EXACT
    assert kept["model.embed_tokens.weight"][300].count_nonzero() > 0
    assert head.count_nonzero() > 0


def test_padding_has_no_gradient_at_all(untied: Path, tmp_path: Path) -> None:
    # Rows of many lengths in one micro-batch; the padding's token is in none of them. It is not the model's
    # own, whose embedding never has a gradient.
    tokenizer = AutoTokenizer.from_pretrained(untied)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(50)
    rows = [row(range(5, 5 + n), range(100, 100 + n)) for n in (1, 3, 6, 9)]
    config = configured(untied, tmp_path, optim={"micro_batches": 1})
    (found,) = gradients(config, rows, tokenizer=tokenizer)
    (seen,) = gradients(config, [*rows, row([50], [100])], tokenizer=tokenizer)
    assert found["model.embed_tokens.weight"][50].count_nonzero() == 0
    assert seen["model.embed_tokens.weight"][50].count_nonzero() > 0


def test_a_dual_clip_bounds_the_loss_of_bad_tokens_only(folder: Path, tmp_path: Path) -> None:
    network = model(folder)
    # Four times as likely as they were: beyond both bounds.
    far = [
        replace(each, logprobs=tuple((logprobs(network, each) - 1.386).tolist()))
        for each in (row([5], [6, 7], advantage=-1.0), row([8, 9], [10], advantage=1.0))
    ]
    near = ragged(6)
    bounded, free = (configured(folder, tmp_path, optim={"dual_clip": each}) for each in (3.0, 0.0))
    (found,) = gradients(bounded, [*far, *near])
    assert distance(found, reference(bounded, [*far, *near])) <= EXACT
    assert distance(found, reference(free, [*far, *near])) > 0.1


def test_rows_without_advantage_add_their_tokens_only(folder: Path, tmp_path: Path) -> None:
    rows = [*ragged(9, masked=0), row(completion=range(50, 80), advantage=0.0)]
    config = configured(folder, tmp_path)
    (found,) = gradients(config, rows)
    assert distance(found, reference(config, rows)) <= EXACT
    assert distance(found, reference(config, rows[:-1])) > 0.1
    assert torch.isfinite(found["model.embed_tokens.weight"]).all()
