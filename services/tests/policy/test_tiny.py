"""Tiny checkpoints: the same bytes again, whole, and refused where they would not fit."""

from typing import Any

import pytest
from typer.testing import CliRunner

from memalpha import config
from memalpha.cli import app
from memalpha.cli.model import training
from memalpha.errors import InvalidInputError
from memalpha.policy.checkpoint import verified
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny

from .conftest import TRAINING

transformers: Any = pytest.importorskip("transformers", reason="needs transformers: uv sync --group train")
SMALL = Shape(layers=1, hidden=64, vocabulary=400, context=512)


def test_the_same_shape_and_seed_give_the_same_bytes(tmp_path) -> None:
    one = tiny(tmp_path / "one", SMALL, TRAINING, texts(0, 100))
    other = tiny(tmp_path / "other", SMALL, TRAINING, texts(0, 100))
    assert one == other
    assert one == verified(tmp_path / "one")
    reseeded = Shape(layers=1, hidden=64, vocabulary=400, context=512, seed=1)
    third = tiny(tmp_path / "third", reseeded, TRAINING, texts(0, 100))
    assert third.files["model.safetensors"] != one.files["model.safetensors"]
    assert third.tokenizer_digest == one.tokenizer_digest


@pytest.mark.parametrize("tied", [True, False])
def test_the_library_loads_it_as_qwen3_with_its_head_tied_or_not(tiny_folder, tied) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder(tied=tied))
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model.config.vocab_size == 512


def test_its_tokenizer_has_as_many_tokens_as_asked_and_spells_anything(tiny_folder) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder())
    assert len(tokenizer) == 512
    text = "Ann ❤️ 東京\t\n\x07 <tool_call>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    ids = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>", "<|im_end|>"])
    assert len(set(ids)) == 3
    assert None not in ids


def test_the_texts_it_learns_from_follow_from_the_seed() -> None:
    assert list(texts(1, 50)) == list(texts(1, 50)) != list(texts(2, 50))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layers": 0}, "layers must be from 1 to 64; it is 0"),
        ({"hidden": 100}, "hidden must be a multiple of 64, to 4096; it is 100"),
        ({"vocabulary": 256}, "vocabulary must be from 320 to 65536; it is 256"),
        ({"context": 1}, "context must be from 64 to 131072; it is 1"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(fields, said) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Shape(**fields)


def test_a_folder_that_holds_something_is_left_alone(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="must be empty"):
        tiny(tmp_path, SMALL, TRAINING)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command_makes_one_that_is_bound_to_the_settings(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMALPHA_WIRE_FORMAT", "lines")
    monkeypatch.setenv("MEMALPHA_VIEW_SEMANTIC", "4")
    arguments = ["model", "tiny", "out", "--layers", "1", "--hidden", "64", "--no-tied", "--vocab", "400"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "memalpha up --policy transformers --model out" in result.output
    found = verified(tmp_path / "out")
    assert found is not None
    assert found.trained_with == training(config.load())
    assert (found.trained_with.wire_format, found.trained_with.view) == ("lines", "relevant(4,10)")
