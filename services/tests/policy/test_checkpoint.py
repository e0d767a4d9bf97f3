"""Sealed folders, and what is found when one is not what was sealed. No model library is needed."""

import json
from pathlib import Path

import pytest

from memalpha.errors import CorruptionError, InvalidInputError, UnsupportedError
from memalpha.files import draft
from memalpha.policy.checkpoint import MANIFEST, Training, seal, tokenizer_digest, verified

TRAINING = Training("d" * 64, "lines", "relevant(4,4)", 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a trainer leaves it; nothing here looks into the weights."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return tmp_path


def test_a_sealed_folder_says_what_it_was_sealed_with(folder: Path) -> None:
    sealed = seal(folder, TRAINING, policy_version=7)
    assert verified(folder) == sealed
    assert sealed.policy_version == 7
    assert sealed.trained_with.message().view == "relevant(4,4)"
    assert sorted(sealed.files) == ["chat_template.jinja", "model.safetensors", "tokenizer.json"]


def test_a_folder_without_the_file_has_no_manifest(folder: Path) -> None:
    assert verified(folder) is None


def test_sealing_again_after_a_change_makes_it_whole_again(folder: Path) -> None:
    seal(folder, TRAINING)
    (folder / "model.safetensors").write_bytes(b"other")
    seal(folder, TRAINING, policy_version=2)
    found = verified(folder)
    assert found is not None
    assert found.policy_version == 2


def test_a_folder_whose_sealing_was_cut_off_is_sealed_whole(folder: Path) -> None:
    draft(folder / MANIFEST).write_text("{")
    assert "chat_template.jinja" in seal(folder, TRAINING).files
    assert verified(folder) is not None


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_file_that_is_not_the_sealed_one_is_named(folder: Path, name: str, change: str) -> None:
    seal(folder, TRAINING)
    if change == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_text("other")
    with pytest.raises(CorruptionError, match=name) as caught:
        verified(folder)
    assert caught.value.reason == "CHECKPOINT_DAMAGED"


def test_a_tokenizer_digest_that_was_edited_is_found(folder: Path) -> None:
    seal(folder, TRAINING)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"tokenizer_digest": "0" * 64}))
    with pytest.raises(CorruptionError, match="its tokenizer is"):
        verified(folder)


def test_a_file_outside_the_folder_is_never_read(folder: Path) -> None:
    seal(folder, TRAINING)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../secret"] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptionError, match="secret"):
        verified(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "\xff"])
def test_a_manifest_that_is_none_is_refused_by_its_path(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(UnsupportedError, match=MANIFEST) as caught:
        verified(folder)
    assert caught.value.reason == "CHECKPOINT_NOT_UNDERSTOOD"


def test_the_tokenizers_digest_covers_the_chat_template(folder: Path) -> None:
    before = tokenizer_digest(folder)
    (folder / "chat_template.jinja").write_text("{{ other }}")
    assert tokenizer_digest(folder) != before
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_digest(folder) == before


def test_weights_alone_are_sealed_with_the_digest_of_the_tokenizer_they_go_with(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(InvalidInputError) as caught:
        seal(tmp_path, TRAINING)
    assert caught.value.reason == "CHECKPOINT_NOT_SEALABLE"
    assert seal(tmp_path, TRAINING, tokenizer="a" * 64) == verified(tmp_path)


@pytest.mark.parametrize("name", ["other.safetensors", "pytorch_model.bin"])
def test_weights_that_were_added_after_sealing_are_found(folder: Path, name: str) -> None:
    seal(folder, TRAINING)
    (folder / "notes.txt").write_text("what is no weights is nobody's business")
    assert verified(folder) is not None
    (folder / name).write_bytes(b"weights")
    with pytest.raises(CorruptionError, match=name) as caught:
        verified(folder)
    assert caught.value.reason == "CHECKPOINT_DAMAGED"


@pytest.mark.parametrize("text", ["{", "[]", "\udcff", "[" * 100_000])
def test_a_tokenizers_configuration_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UnsupportedError, match=r"tokenizer_config\.json is no JSON object") as caught:
        tokenizer_digest(folder)
    assert caught.value.reason == "MODEL_NOT_LOADED"
