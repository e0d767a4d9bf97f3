"""Adapters that the vllm engine serves, and those that it refuses before anything is started."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError, MemalphaError, UnsupportedError
from memalpha.policy.engine import create
from memalpha.policy.vllm import adapter, files, refusals
from memalpha.policy.vllm.refusals import Case

from .engines import PLACE, serving
from .test_local_parity import BOTH, PARITY, full_pass, generated, largest_gap, reference, requests

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
safetensors: Any = pytest.importorskip("safetensors.torch")

RANK, SCALE = 4, 2.0
LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def made(folder: Path, out: Path, *, drop: str = "", rank: int = RANK, **config: object) -> Path:
    """An adapter on the first two layers of a checkpoint, with weights that are far from nothing."""
    generator, tensors = torch.Generator().manual_seed(3), {}
    for name in (f"model.layers.{n}.{layer}" for n in range(2) for layer in LAYERS):
        high, wide = files.shapes(folder)[f"{name}.weight"]
        down, up = torch.randn(RANK, wide, generator=generator), torch.randn(high, RANK, generator=generator)
        tensors[f"base_model.model.{name}.lora_A.weight"] = 0.1 * down
        tensors[f"base_model.model.{name}.lora_B.weight"] = 0.1 * up
    out.mkdir()
    kept = {name: tensor for name, tensor in tensors.items() if not drop or drop not in name}
    safetensors.save_file(kept, out / adapter.TENSORS)
    targets = sorted(layer.rpartition(".")[2] for layer in LAYERS)
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": SCALE * RANK}
    (out / adapter.CONFIG).write_text(
        json.dumps({**told, "target_modules": targets, "bias": "none", **config})
    )
    return out


def merged(folder: Path, above: Path) -> Any:
    """The library's own model with W + s B A in the place of W (arXiv 2106.09685, section 4.1)."""
    model, tensors = reference(folder), safetensors.load_file(above / adapter.TENSORS)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name in [name for name in tensors if ".lora_A." in name]:
            up = tensors[name.replace(".lora_A.", ".lora_B.")]
            weight = weights[name.removeprefix("base_model.model.").replace(".lora_A.", ".")]
            weight += SCALE * (up @ tensors[name])
    return model


def refuse(folder: Path, above: Path, **settings: object) -> None:
    told = {"model": str(folder), "device": "cpu", "adapter": above, **settings}
    refusals.RULES["adapter"](Case.read(folder, PolicySettings.model_validate(told)))


def refusal(folder: Path, above: Path, **settings: object) -> MemalphaError:
    with pytest.raises(MemalphaError) as caught:
        refuse(folder, above, **settings)
    return caught.value


def test_an_adapter_that_fits_is_taken_with_the_least_room_that_there_is(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    refuse(tiny_folder(), above)
    adapter.check_finite(above)
    told = adapter.arguments(above)
    assert told["max_lora_rank"] == 8
    # Neither the other layers nor an untied head.
    assert told["lora_target_modules"] == ["down_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"rank": 5}, "fits no layer"),
        ({"rank": 0}, "r: "),
        ({"drop": "layers.0.mlp.down_proj.lora_B"}, "with its pair"),
        ({"drop": "lora"}, "holds nothing"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(tiny_folder, tmp_path, change, said) -> None:
    error = refusal(tiny_folder(), made(tiny_folder(), tmp_path / "above", **change))
    assert isinstance(error, UnsupportedError)
    assert error.reason == "ADAPTER_NOT_LOADED"
    assert said in str(error)


def test_an_adapter_for_a_larger_model_is_refused(tiny_folder, tmp_path) -> None:
    above, smaller = made(tiny_folder(), tmp_path / "above"), tmp_path / "smaller"
    smaller.mkdir()
    shutil.copy(tiny_folder() / "config.json", smaller)
    halved = {
        name: torch.zeros([n // 2 for n in shape]) for name, shape in files.shapes(tiny_folder()).items()
    }
    safetensors.save_file(halved, smaller / "model.safetensors")
    assert "fits no layer" in str(refusal(smaller, above))
    # Without weights, as in a dry run, nothing is known of misfits.
    (smaller / "model.safetensors").unlink()
    refuse(smaller, above)


def test_a_file_of_tensors_that_is_none_is_refused_by_name(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    (above / adapter.TENSORS).write_bytes(b"no tensors at all")
    error = refusal(tiny_folder(), above)
    assert error.reason == "ADAPTER_NOT_LOADED"
    assert f"{adapter.TENSORS} is no safetensors file" in str(error)


def test_a_torn_file_of_tensors_is_refused_as_the_adapters(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    os.truncate(above / adapter.TENSORS, (above / adapter.TENSORS).stat().st_size - 50)
    error = refusal(tiny_folder(), above)
    assert (error.reason, error.metadata["path"]) == ("ADAPTER_NOT_LOADED", str(above))
    assert f"{adapter.TENSORS} is torn" in str(error)
    # What only reading it all tells is the adapter's as well.
    with pytest.raises(UnsupportedError, match=f"adapter {above} .* {adapter.TENSORS}: ") as caught:
        adapter.check_finite(above)
    assert caught.value.reason == "ADAPTER_NOT_LOADED"


def test_other_files_beside_an_adapter_are_left_alone(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    (above / "training.safetensors").write_bytes(b"no tensors at all")
    refuse(tiny_folder(), above)
    adapter.check_finite(above)


def test_an_adapter_with_a_number_that_is_none_is_refused(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    tensors = safetensors.load_file(above / adapter.TENSORS)
    next(iter(tensors.values()))[0, 0] = torch.nan
    safetensors.save_file(tensors, above / adapter.TENSORS)
    with pytest.raises(UnsupportedError, match="not finite"):
        adapter.check_finite(above)


def test_a_folder_without_an_adapter_is_refused(tiny_folder, tmp_path) -> None:
    error = refusal(tiny_folder(), tmp_path)
    assert isinstance(error, InvalidInputError)
    assert error.reason == "ADAPTER_NOT_FOUND"


def test_weights_below_an_adapter_are_not_exchanged(tiny_folder, tmp_path) -> None:
    above = made(tiny_folder(), tmp_path / "above")
    assert refusal(tiny_folder(), above, weights_root=tmp_path).reason == "INVALID_SETTING"


@pytest.mark.parametrize("engine", ["extractive", "openai", "transformers"])
def test_an_engine_that_would_leave_an_adapter_out_refuses_it(tmp_path, engine) -> None:
    with pytest.raises(InvalidInputError, match=r"policy\.adapter") as caught:
        create(engine, wire_format="lines", settings=PolicySettings.model_validate({"adapter": tmp_path}))
    assert caught.value.reason == "INVALID_SETTING"


@BOTH
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
async def test_all_that_is_written_and_scored_is_by_the_adapter(
    tiny_folder, tmp_path, vllm_core, tied
) -> None:
    if PLACE["device"] != "cpu":
        pytest.skip("on a GPU vLLM has adapters in bfloat16 alone, which rounds more than parity allows")
    folder = tiny_folder(tied=tied)
    above = made(folder, tmp_path / "above")
    model, rows = merged(folder, above), [(5, 9, 77, 300, 8, n) for n in range(7, 11)]
    small = {**PLACE, "cache_gib": 0.25, "gpu_memory": 0.1}
    async with serving("vllm", model=str(folder), adapter=above, **small) as service:
        cold = await generated(service, requests(12))
        # More sequences than one, and completions beside: they go through the head together.
        sequences = [pb.TokenizedPrompt(token_ids=row) for row in rows]
        scored = service.client.score(pb.ScoreRequest(sequences=sequences))
        warm, found = await asyncio.gather(generated(service, requests(12)), scored)
        assert service.described.policy.policy_id == f"{folder.name}+above"
    assert largest_gap(model, cold) <= PARITY
    assert largest_gap(model, warm) <= PARITY
    for row, score in zip(rows, found.scores, strict=True):
        assert list(score.logprobs) == pytest.approx(full_pass(model, row[:1], row[1:], 1.0), abs=PARITY)
    # The control: the model alone says something else.
    assert largest_gap(reference(folder), cold) > 100 * PARITY
