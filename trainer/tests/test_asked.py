"""Who answers and who judges: what is kept of services that a run asks and does not train."""

from typing import Any

import pytest

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity, TrainedWith
from memalpha_trainer import asked
from memalpha_trainer.config import Config


def described(**changes: Any) -> GetPolicyResponse:
    usual: dict[str, Any] = {
        "policy": PolicyIdentity(policy_id="Qwen3-32B", policy_version=1),
        "engine": "vllm",
        "model": "Qwen3-32B",
        "tokenizer_digest": "a" * 64,
    }
    return GetPolicyResponse(**usual | changes)


def a_config(**changes: dict[str, Any]) -> Config:
    """The policy at host:1, a reader at host:2, a judge at host:3."""
    tables: dict[str, dict[str, Any]] = {
        "policy": {"model": "m", "address": "host:1"},
        "task": {"kind": "data", "file": "x.jsonl", "reader": "policy", "reader_address": "host:2"},
        "rewards": {"content": 0.1, "judge_address": "host:3"},
    }
    return Config.model_validate({name: table | changes.get(name, {}) for name, table in tables.items()})


@pytest.fixture(autouse=True)
def services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every service say its address in the place of its name."""

    class Client:
        def __init__(self, address: str) -> None:
            self.address = address

        @classmethod
        def connect(cls, address: str) -> "Client":
            return cls(address)

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *error: object) -> None: ...

        def describe(self) -> GetPolicyResponse:
            return GetPolicyResponse(policy=PolicyIdentity(policy_id=self.address))

    monkeypatch.setattr(asked, "PolicyClient", Client)


def test_a_service_is_told_in_one_line() -> None:
    assert asked.identity(described()) == f"Qwen3-32B, version 1, engine vllm, tokenizer {'a' * 64}"
    assert asked.identity(GetPolicyResponse(policy=PolicyIdentity(policy_id="gpt"), engine="openai")) == (
        "gpt, engine openai"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": PolicyIdentity(policy_id="Qwen3-14B", policy_version=1)},
        {"policy": PolicyIdentity(policy_id="Qwen3-32B", policy_version=2)},
        {"engine": "transformers"},
        {"model": "Qwen3-14B"},
        {"tokenizer_digest": "b" * 64},
        {"trained_with": TrainedWith(prompt_digest="c")},
    ],
)
def test_another_model_is_told_apart(changes: dict[str, Any]) -> None:
    assert asked.identity(described(**changes)) != asked.identity(described())


def test_how_much_a_service_can_do_at_once_does_not_make_it_another() -> None:
    sized = described(max_context_tokens=4096, loads_weights=True, scores=True)
    assert asked.identity(sized) == asked.identity(described())


def test_reader_and_judge_are_those_at_their_addresses() -> None:
    assert asked.reader(a_config(), replay=False) == "host:2"
    assert asked.judge(a_config()) == "host:3"


@pytest.mark.parametrize(
    "task",
    [{"reader_address": ""}, {"reader_address": "host:1"}, {"kind": "ledger", "reader": "literal"}],
)
def test_the_trained_policy_and_a_reader_that_is_no_model_are_not_asked(task: dict[str, Any]) -> None:
    assert asked.reader(a_config(task=task), replay=False) == ""


def test_answers_that_are_replayed_have_no_reader_and_contents_are_judged_all_the_same() -> None:
    assert asked.reader(a_config(), replay=True) == ""
    assert asked.judge(a_config()) == "host:3"


@pytest.mark.parametrize("changes", [{"rewards": {"content": 0.0}}, {"task": {"kind": "ledger"}}])
def test_nobody_judges_where_content_has_no_weight_or_its_truth_is_known(changes: Any) -> None:
    assert asked.judge(a_config(**changes)) == ""
