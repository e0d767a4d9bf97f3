"""The files of a model and its adapter: what does not belong together is found without loading it."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha.cli import app
from memalpha.policy.vllm.adapter import CONFIG, TENSORS

from .support import GPU_HOST, QWEN3_4B, Shapes, bad, found, tensors, write

RANK = 4
LAYER = "model.layers.35.mlp.up_proj.weight"


def change(folder: Path, name: str, shape: tuple[int, ...] | None) -> None:
    """Writes the folder's weights with one tensor added or of another shape; None leaves it out."""
    shapes = tensors(QWEN3_4B) | ({name: shape} if shape else {})
    write(folder / "model.safetensors", {key: each for key, each in shapes.items() if shape or key != name})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"vocab_size": 151937}, "model.embed_tokens.weight is 151936×2560, not 151937×2560"),
        ({"num_hidden_layers": 37}, "model.layers.36.self_attn.q_proj.weight is missing"),
        ({"num_hidden_layers": 35}, "model.layers.35.input_layernorm.weight is of no layer"),
        ({"num_key_value_heads": 4}, "k_proj.weight is 1024×2560, not 512×2560"),
        ({"head_dim": 64}, "q_proj.weight is 4096×2560, not 2048×2560"),
        ({"intermediate_size": 4864}, "gate_proj.weight is 9728×2560, not 4864×2560"),
        ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
    ],
)
def test_weights_of_another_model_than_the_configurations_are_found(folder, on, told, said) -> None:
    on(**GPU_HOST)
    (folder / "config.json").write_text(json.dumps(QWEN3_4B | told))
    findings = found(folder, dtype="bfloat16", dry_run=True)
    assert bad(findings) == {"weights"}
    assert findings["weights"].text.startswith("other than in config.json: ")
    assert said in findings["weights"].text


def test_what_the_configuration_leaves_out_is_no_fault_of_the_weights(folder, on) -> None:
    on(**GPU_HOST)
    for name in ("head_dim", "vocab_size", "num_key_value_heads", "tie_word_embeddings"):
        told = {
            key: value for key, value in (QWEN3_4B | {"tie_word_embeddings": False}).items() if key != name
        }
        write(folder / "model.safetensors", tensors(QWEN3_4B) | {"lm_head.weight": (151936, 2560)})
        (folder / "config.json").write_text(json.dumps(told))
        assert bad(found(folder, dtype="bfloat16")) == set()


def test_qwen2s_heads_are_as_wide_as_the_model_divided_by_them(folder, on) -> None:
    on(**GPU_HOST)
    told = {key: value for key, value in QWEN3_4B.items() if key != "head_dim"}
    told["architectures"] = ["Qwen2ForCausalLM"]
    write(folder / "model.safetensors", tensors(told | {"head_dim": 80}))
    (folder / "config.json").write_text(json.dumps(told))
    assert bad(found(folder, dtype="bfloat16")) == set()
    change(folder, LAYER, (9728, 2560))  # of heads of 128
    assert bad(found(folder, dtype="bfloat16")) == {"weights"}


@pytest.mark.parametrize("shape", [None, (2560, 9728), (9728, 2561)])
def test_one_tensor_that_is_missing_or_of_another_shape_is_found(folder, on, shape) -> None:
    on(**GPU_HOST)
    change(folder, LAYER, shape)
    findings = found(folder, dtype="bfloat16")
    assert bad(findings) == {"weights"}
    assert LAYER in findings["weights"].text


def test_a_tensor_in_two_files_is_found(folder, on) -> None:
    on(**GPU_HOST)
    write(folder / "model-2.safetensors", {"model.norm.weight": (2560,), "more": (1,)})
    findings = found(folder, dtype="bfloat16")
    assert bad(findings) == {"weights"}
    assert findings["weights"].text == "in more than one file: model.norm.weight"
    write(folder / "model-2.safetensors", {"more": (1,)})
    assert bad(found(folder, dtype="bfloat16")) == set()


def test_a_tensor_that_the_index_names_and_no_file_holds_is_found(folder, on) -> None:
    on(**GPU_HOST)
    names = {name: "model.safetensors" for name in tensors(QWEN3_4B)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert bad(found(folder, dtype="bfloat16")) == set()
    index.write_text(json.dumps({"weight_map": {**names, "model.extra": "model.safetensors"}}))
    findings = found(folder, dtype="bfloat16")
    assert bad(findings) == {"weights"}
    assert findings["weights"].text == "in the index and no file: model.extra"


def adapter(out: Path, *, rank: int = RANK, told: int = RANK, **config: object) -> Path:
    """An adapter on one layer of the model, of a rank that its configuration may tell otherwise."""
    layer = f"base_model.model.{LAYER.removesuffix('.weight')}"
    shapes: Shapes = {f"{layer}.lora_A.weight": (rank, 2560), f"{layer}.lora_B.weight": (9728, rank)}
    out.mkdir(exist_ok=True)
    write(out / TENSORS, shapes)
    (out / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": told, **config}))
    return out


def test_an_adapter_that_fits_is_told_to_vllm(folder, on, tmp_path) -> None:
    on(**GPU_HOST)
    above = adapter(tmp_path / "above")
    findings = found(folder, dtype="bfloat16", adapter=above)
    assert bad(findings) == set()
    told = json.loads(findings["arguments"].text)
    assert (told["max_lora_rank"], told["lora_target_modules"]) == (8, ["up_proj"])
    # For another machine, the model's weights may be there.
    (folder / "model.safetensors").unlink()
    assert bad(found(folder, dtype="bfloat16", adapter=above, dry_run=True)) == set()


def test_an_adapter_that_does_not_fit_is_in_the_way(folder, on, tmp_path) -> None:
    on(**GPU_HOST)

    def wrong(above: Path, **policy: object) -> str:
        findings = found(folder, **{"dtype": "bfloat16", **policy}, adapter=above)
        assert bad(findings) - {"arguments"} == {"adapter"}
        return findings["adapter"].text

    above = tmp_path / "above"
    assert "must be the folder of an adapter" in wrong(above)
    assert "fits no layer" in wrong(adapter(above, told=RANK + 1))
    assert "use_dora" in wrong(adapter(above, use_dora=True))
    assert "policy.weights_root" in wrong(adapter(above), weights_root=tmp_path)
    assert "policy.dtype" in wrong(adapter(above), dtype="float32")
    os.truncate(above / TENSORS, (above / TENSORS).stat().st_size - 2)
    assert f"{TENSORS} is torn" in wrong(above)
    os.truncate(above / TENSORS, 20)
    assert TENSORS in wrong(above)


def test_the_command_looks_at_the_adapter_it_is_given(folder, on, tmp_path) -> None:
    on(**GPU_HOST)
    command = ["doctor", "--model", str(folder), "--json"]
    environment = {"MEMALPHA_POLICY__DTYPE": "bfloat16"}

    def findings(*more: str) -> dict[str, str]:
        result = CliRunner().invoke(app, [*command, *more], env=environment)
        states = {each["name"]: each["state"] for each in json.loads(result.stdout)["findings"]}
        assert result.exit_code == ("bad" in states.values())
        return states

    assert "bad" not in findings().values()
    assert "bad" not in findings("--adapter", str(adapter(tmp_path / "above"))).values()
    assert findings("--adapter", str(tmp_path))["adapter"] == "bad"
