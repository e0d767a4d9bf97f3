"""The circuit that a warm start begins with: what its two heads look at, before anything is learned."""

import pytest

pytest.importorskip("trl", reason="needs the trainer's libraries: uv sync --group train")

import torch
from transformers import AutoModelForCausalLM

from memalpha.errors import InvalidInputError
from memalpha.policy.tiny.make import Shape, tiny
from memalpha_trainer.warmstart.make import Recipe
from memalpha_trainer.warmstart.wiring import lay_circuit

SMALL = Shape(layers=2, vocabulary=1024, context=512)
REPEATED = 60


def attentions(folder) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the first heads of both layers, (tokens, tokens) each, over tokens of chance that come twice."""
    network = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    tokens = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:REPEATED]
    with torch.no_grad():
        first, second = network(tokens.repeat(1, 2), output_attentions=True).attentions
    return first[0, 0], second[0, 0]


def test_one_head_looks_at_the_token_before_and_one_at_what_came_after_it_last_time(tmp_path) -> None:
    tiny(tmp_path, SMALL, Recipe().training())
    by_chance = attentions(tmp_path)
    lay_circuit(tmp_path, seed=0)
    laid = attentions(tmp_path)
    # Token i of the second time stands at 60 + i; what came after it the first time at i + 1, 59 before.
    for (first, second), bounds in ((laid, (0.9, 1.0)), (by_chance, (0.0, 0.1))):
        for looked in (first.diagonal(-1), second.diagonal(1 - REPEATED)[1:]):
            assert bounds[0] <= looked.mean() <= bounds[1]


def test_the_same_seed_lays_the_same_circuit(tmp_path) -> None:
    files = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        tiny(tmp_path / name, SMALL, Recipe().training())
        lay_circuit(tmp_path / name, seed=seed)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_one_layer_is_too_few(tmp_path) -> None:
    tiny(tmp_path, Shape(layers=1, hidden=64, vocabulary=512, context=512), Recipe().training())
    with pytest.raises(InvalidInputError, match="layers must be 2 or more"):
        lay_circuit(tmp_path, seed=0)
