import shutil
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")
safetensors: Any = pytest.importorskip("safetensors.torch")

from memalpha.errors import InvalidInputError  # noqa: E402
from memalpha_trainer.config import resolve  # noqa: E402
from memalpha_trainer.scale.architecture import QWEN3_4B, Architecture  # noqa: E402
from memalpha_trainer.scale.network import bare, build, check_checkpoint, is_tied  # noqa: E402

from .grpo_support import checkpoint  # noqa: E402

PUBLISHED = Architecture(QWEN3_4B, "published")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("tied") / "model")


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("untied") / "model", tied=False)


@pytest.fixture
def copy(tied: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tied, tmp_path / "copy"))


def test_the_published_network_is_built_without_memory() -> None:
    network = bare(PUBLISHED)

    assert {each.device.type for each in network.parameters()} == {"meta"}
    # The tied head counts once.
    assert sum(each.numel() for each in network.parameters()) == 4_022_468_096
    assert is_tied(network)


def test_the_formula_counts_the_matrices_of_the_network(untied: Path) -> None:
    for architecture in (PUBLISHED, Architecture.of(untied)):
        matrices = {
            name: each.numel() for name, each in bare(architecture).named_parameters() if each.dim() == 2
        }
        assert sum(size for name, size in matrices.items() if "layers" in name) == architecture.decoder
        assert matrices["model.embed_tokens.weight"] == architecture.head


def test_a_whole_checkpoint_passes_and_its_tensors_are_counted(tied: Path, untied: Path) -> None:
    # Two layers of 11 tensors, embedding and norm; apart from it, the head is one more.
    assert check_checkpoint(tied, bare(Architecture.of(tied))) == 24
    assert check_checkpoint(untied, bare(Architecture.of(untied))) == 25


def test_data_is_not_read(copy: Path) -> None:
    file = copy / "model.safetensors"
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    file.write_bytes(whole[:header] + b"\xff" * (len(whole) - header))

    assert check_checkpoint(copy, bare(Architecture.of(copy))) == 24


def test_a_torn_file_is_refused(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(InvalidInputError, match=r"model\.safetensors") as refused:
        check_checkpoint(copy, bare(Architecture.of(copy)))
    assert refused.value.reason == "CHECKPOINT_UNREADABLE"


def test_a_folder_without_weights_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()

    with pytest.raises(InvalidInputError, match="no tensors"):
        check_checkpoint(copy, bare(Architecture.of(copy)))


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("model.norm.weight", None, "model.norm.weight is missing"),
        ("model.extra.weight", [3], "model.extra.weight is unknown"),
        ("model.norm.weight", [63], r"model.norm.weight is \[63\], not \[64\]"),
        ("lm_head.weight", [384, 63], r"lm_head.weight is \[384, 63\], not \[384, 64\]"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    copy: Path, name: str, tensor: list[int] | None, said: str
) -> None:
    file = copy / "model.safetensors"
    tensors = safetensors.load_file(file)
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(tensor)
    safetensors.save_file(tensors, file)

    with pytest.raises(InvalidInputError, match=said) as refused:
        check_checkpoint(copy, bare(Architecture.of(copy)))
    assert refused.value.reason == "CHECKPOINT_MISMATCH"


def test_a_head_may_be_missing_only_if_it_is_tied(tied: Path, untied: Path) -> None:
    assert "lm_head.weight" not in safetensors.load_file(tied / "model.safetensors")
    with pytest.raises(InvalidInputError, match=r"lm_head\.weight is missing"):
        check_checkpoint(tied, bare(Architecture.of(untied)))


def test_a_tensor_in_two_files_is_refused(copy: Path) -> None:
    safetensors.save_file({"model.norm.weight": torch.zeros(64)}, copy / "more.safetensors")

    with pytest.raises(InvalidInputError, match=r"holds model\.norm\.weight too"):
        check_checkpoint(copy, bare(Architecture.of(copy)))


def test_adapters_are_at_every_target_of_every_layer_and_alone_are_trained() -> None:
    config = resolve(None, ["policy.model=x", "optim.lora_rank=16"])
    network = build(PUBLISHED, config)

    assert len(network.adapted) == 36 * 7
    # 16 * (in + out): queries and output 2560 and 4096, keys and values 2560 and 1024, three 2560 and 9728.
    layer = 16 * (2 * (2560 + 4096) + 2 * (2560 + 1024) + 3 * (2560 + 9728))
    assert sum(each.numel() for each in network.trained) == 36 * layer


def test_fewer_targets_are_fewer_adapters() -> None:
    config = resolve(None, ["policy.model=x", "optim.lora_rank=1", "scale.lora_targets=['q_proj']"])

    assert sum(each.numel() for each in build(PUBLISHED, config).trained) == 36 * (2560 + 4096)


@pytest.mark.parametrize("target", ["qkv_proj", "lm_head", "mlp"])
def test_a_target_that_is_not_in_every_layer_is_refused(target: str) -> None:
    config = resolve(
        None, ["policy.model=x", "optim.lora_rank=4", f"scale.lora_targets=['q_proj', '{target}']"]
    )

    with pytest.raises(InvalidInputError, match=f"{target!r} names .; there are down_proj") as refused:
        build(PUBLISHED, config)
    assert refused.value.reason == "LORA_TARGET_NOT_FOUND"
