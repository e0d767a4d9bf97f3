"""What the vllm engine refuses before anything is started; no library of models is needed."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from memalpha.config import PolicySettings
from memalpha.errors import ConflictError, InternalError, InvalidInputError, MemalphaError, UnsupportedError
from memalpha.policy.architecture import check_alike
from memalpha.policy.checkpoint import MANIFEST, Training, seal
from memalpha.policy.engine import create
from memalpha.policy.local import libraries
from memalpha.policy.marks import check_same, mark
from memalpha.policy.vllm import process
from memalpha.policy.vllm.process import engine_arguments


def refusal(folder, **settings: object) -> str:
    checked = PolicySettings.model_validate({"model": str(folder), **settings})
    with pytest.raises(InvalidInputError) as caught:
        create("vllm", wire_format="lines", settings=checked)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    return tmp_path


def test_a_name_that_is_no_folder_is_refused(tmp_path) -> None:
    assert refusal(tmp_path / "Qwen3-4B") == "MODEL_NOT_FOUND"


def test_sums_that_depend_on_no_batch_are_not_promised(folder) -> None:
    assert refusal(folder, batch_invariant=True) == "INVALID_SETTING"


def test_vllm_that_is_not_installed_is_named_with_its_extras(folder, monkeypatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _name: None)
    assert refusal(folder) == "ENGINE_NOT_INSTALLED"


def test_vllm_takes_no_code_and_no_pickles_from_a_checkpoint_and_samples_as_it_is_told(folder) -> None:
    settings = PolicySettings.model_validate({"model": str(folder), "rows": 7, "data_parallel": 2})
    told = engine_arguments(folder, settings, 1000, on_cpu=False)
    assert (told["trust_remote_code"], told["load_format"], told["generation_config"]) == (
        False,
        "safetensors",
        "vllm",
    )
    assert told["logprobs_mode"] == "processed_logprobs"
    assert (told["max_model_len"], told["max_num_seqs"], told["data_parallel_size"]) == (1000, 7, 2)


def test_keys_and_values_take_what_is_set_and_little_of_a_cpus_memory_if_nothing_is(folder) -> None:
    unset = PolicySettings.model_validate({"model": str(folder)})
    assert engine_arguments(folder, unset, 1000, on_cpu=True)["kv_cache_memory_bytes"] == 2**30
    assert engine_arguments(folder, unset, 1000, on_cpu=False)["kv_cache_memory_bytes"] is None
    half = PolicySettings.model_validate({"model": str(folder), "cache_gib": 0.5})
    assert engine_arguments(folder, half, 1000, on_cpu=False)["kv_cache_memory_bytes"] == 2**29


@pytest.mark.parametrize("context", [1000, 10_000])
def test_on_a_cpu_every_prompt_is_read_whole(folder, context) -> None:
    settings = PolicySettings.model_validate({"model": str(folder)})
    told = engine_arguments(folder, settings, context, on_cpu=True)
    assert told["enable_chunked_prefill"] is False
    assert told["max_num_batched_tokens"] >= context


def platform(name: str) -> SimpleNamespace:
    """vLLM's own notion of where it runs, which its build decides."""
    found = SimpleNamespace(is_cpu=lambda: name == "cpu", is_cuda_alike=lambda: name == "cuda")
    return SimpleNamespace(current_platform=found)


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_the_build_of_vllm_decides_where_it_runs(monkeypatch, build) -> None:
    monkeypatch.setattr(process, "_platforms", platform(build))
    assert process.device(PolicySettings.model_validate({"device": "auto"})) == build
    assert process.device(PolicySettings.model_validate({"device": build})) == build
    other = "cuda" if build == "cpu" else "cpu"
    with pytest.raises(InvalidInputError, match=f"runs on {build}") as caught:
        process.device(PolicySettings.model_validate({"device": other}))
    assert caught.value.reason == "DEVICE_DIFFERS"


def test_a_build_that_finds_no_device_is_told(monkeypatch) -> None:
    monkeypatch.setattr(process, "_platforms", platform("none"))
    with pytest.raises(InvalidInputError, match="no device") as caught:
        process.device(PolicySettings.model_validate({"device": "auto"}))
    assert caught.value.reason == "DEVICE_DIFFERS"


@pytest.mark.parametrize(("settings", "threads"), [({"threads": 3}, "3"), ({}, "5")])
def test_threads_that_are_set_win_over_the_environment(monkeypatch, settings, threads) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv(process.OWNER, "")
    for name in process._ENVIRONMENT:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(libraries, "find_spec", lambda _name: True)
    monkeypatch.setattr(libraries, "prepare", lambda _threads: None)
    process.prepare(PolicySettings.model_validate(settings))
    assert os.environ["OMP_NUM_THREADS"] == threads


def test_vllm_is_loaded_with_few_threads_bound_to_no_core_and_with_exact_products(monkeypatch) -> None:
    pytest.importorskip("torch", reason="needs torch: uv sync --group train")
    monkeypatch.setattr(libraries, "find_spec", lambda _name: True)
    for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", process.OWNER, *process._ENVIRONMENT):
        # Set first, so that it is taken away again afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    process.prepare(PolicySettings.model_validate({}))
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert os.environ["TRITON_F32_DEFAULT"] == "ieee"
    assert os.environ[process.OWNER] == str(os.getpid())


class ClientError(Exception):
    """As vLLM refuses requests; it names the parameter, but for a schema."""

    parameter: str | None = None


@pytest.mark.parametrize(
    ("schema", "parameter", "reason"),
    [
        ("{}", None, "INVALID_SCHEMA"),
        ("", None, "GENERATION_FAILED"),
        ("{}", "logprobs", "GENERATION_FAILED"),
    ],
)
def test_a_schema_is_blamed_for_nothing_else(monkeypatch, schema, parameter, reason) -> None:
    monkeypatch.setattr(process, "_dead", SimpleNamespace(EngineDeadError=ArithmeticError))
    monkeypatch.setattr(process, "_exceptions", SimpleNamespace(VLLMClientError=ClientError))
    error = ClientError("it cannot be")
    error.parameter = parameter
    with pytest.raises(MemalphaError, match="it cannot be") as caught, process._translated(schema=schema):
        raise error
    assert caught.value.reason == reason
    assert isinstance(caught.value, InvalidInputError if reason == "INVALID_SCHEMA" else InternalError)


def test_weights_for_another_network_are_told_from_those_for_the_same(tmp_path) -> None:
    served = {"rope_theta": 10_000.0, "dtype": "float32", "hidden_size": 64}
    check_alike(tmp_path, {**served, "dtype": "bfloat16", "use_cache": False}, served)
    for other in ({**served, "rope_theta": 1e6}, {**served, "more": 1}, {"hidden_size": 64}):
        with pytest.raises(UnsupportedError) as caught:
            check_alike(tmp_path, other, served)
        assert caught.value.reason == "CONFIG_DIFFERS"


def test_a_folder_that_was_never_sealed_is_known_by_its_files(folder) -> None:
    (folder / "model.safetensors").write_bytes(b"12345678")
    before = mark(folder)
    assert mark(folder) == before
    # Touched, or sealed: the same weights.
    os.utime(folder / "model.safetensors", (1, 1))
    assert mark(folder) == before
    seal(folder, Training("d" * 64, "lines", "", 0), tokenizer="e" * 64)
    assert mark(folder) == before
    (folder / MANIFEST).unlink()
    (folder / "model.safetensors").write_bytes(b"12345679")
    assert mark(folder) != before


def test_weights_that_come_alone_are_compared_by_their_tensors() -> None:
    alone, whole = {"model.safetensors": "a"}, {"model.safetensors": "a", "config.json": "b"}
    # A configuration is compared by what it says, elsewhere.
    for found, served in (
        (alone, whole),
        (whole, alone),
        (whole, whole),
        ({**whole, "config.json": "c"}, whole),
    ):
        check_same(Path("new"), 2, found, served)
    for other in (
        {"model.safetensors": "c"},
        {**whole, "more.safetensors": "a"},
    ):
        with pytest.raises(ConflictError) as caught:
            check_same(Path("new"), 2, other, whole)
        assert caught.value.reason == "WEIGHTS_DIFFER"
