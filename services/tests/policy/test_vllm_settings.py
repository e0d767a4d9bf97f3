"""What the vllm engine refuses before anything is started; no library of models is needed."""

import json

import pytest

from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError
from memalpha.policy.engine import create
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
    monkeypatch.setattr(process, "find_spec", lambda _name: None)
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
