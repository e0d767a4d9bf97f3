"""Who answers and who judges: what is kept of services that a run asks and does not train."""

from dataclasses import replace
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GetPolicyResponse,
    PolicyIdentity,
    ScoreRequest,
    ScoreResponse,
    SequenceScore,
    TrainedWith,
)
from memalpha_trainer import asked
from memalpha_trainer.asked import Asked
from memalpha_trainer.config import Config


def described(**changes: Any) -> GetPolicyResponse:
    usual: dict[str, Any] = {
        "policy": PolicyIdentity(policy_id="Qwen3-32B", policy_version=1),
        "engine": "vllm",
        "model": "Qwen3-32B",
        "tokenizer_digest": "a" * 64,
        "scores": True,
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
    """Has every service say its address in the place of its name; one at `scorer` gives logprobs."""

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
            scores = self.address.startswith("scorer")
            return GetPolicyResponse(policy=PolicyIdentity(policy_id=self.address), engine="e", scores=scores)

        def score(self, request: ScoreRequest) -> ScoreResponse:
            ids = request.sequences[0].token_ids
            return ScoreResponse(scores=[SequenceScore(logprobs=[-each / 7 for each in ids[1:]])])

    monkeypatch.setattr(asked, "PolicyClient", Client)


def test_a_service_is_told_in_one_line() -> None:
    assert asked.identity(described()) == f"version 1, engine vllm, tokenizer {'a' * 64}"
    assert asked.identity(GetPolicyResponse(policy=PolicyIdentity(policy_id="gpt"), engine="openai")) == (
        "gpt, engine openai"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": PolicyIdentity(policy_id="Qwen3-32B", policy_version=2)},
        {"engine": "transformers"},
        {"tokenizer_digest": "b" * 64},
        {"trained_with": TrainedWith(prompt_digest="c")},
    ],
)
def test_another_model_is_told_apart(changes: dict[str, Any]) -> None:
    assert asked.identity(described(**changes)) != asked.identity(described())


@pytest.mark.parametrize(
    "changes",
    [
        {"max_context_tokens": 4096, "loads_weights": True},
        # The same weights in another folder.
        {"policy": PolicyIdentity(policy_id="checkpoint", policy_version=1), "model": "checkpoint"},
    ],
)
def test_how_much_a_service_can_do_and_what_its_folder_is_called_do_not_make_it_another(changes: Any) -> None:
    assert asked.identity(described(**changes)) == asked.identity(described())
    # The control: where a name is all there is, it is compared.
    assert ("policy" in changes) == (
        asked.identity(described(scores=False, **changes)) != asked.identity(described(scores=False))
    )


def test_reader_and_judge_are_those_at_their_addresses() -> None:
    assert asked.reader(a_config(), replay=False) == Asked("host:2, engine e", "host:2")
    assert asked.judge(a_config()) == Asked("host:3, engine e", "host:3")


def test_one_that_gives_logprobs_is_known_by_them() -> None:
    found = asked.reader(a_config(task={"reader_address": "scorer:1"}), replay=False)
    assert found is not None
    assert (found.said, found.at) == ("engine e", "scorer:1")
    # Of 32 tokens; the stand-in's logprob is a seventh of the id.
    assert (len(found.logprobs), found.logprobs[0]) == (31, round(-asked._FIXED[1] / 7, 4))
    assert not found.differs(replace(found, logprobs=tuple(each + 0.2 for each in found.logprobs)))
    for other in (-9.0, float("nan")):
        assert found.differs(replace(found, logprobs=(*found.logprobs[:-1], other)))


@pytest.mark.parametrize(
    ("policy", "reader"),
    [("host:1", ""), ("host:1", "host:1"), ("127.0.0.1:1", "localhost:1"), ("Localhost:1", "127.0.0.1:1")],
)
def test_the_trained_policy_is_known_as_that_wherever_it_is(policy: str, reader: str) -> None:
    given = a_config(policy={"address": policy}, task={"reader_address": reader})
    assert asked.reader(given, replay=False) == asked.TRAINED
    # The control: another service is another reader, though the run began with its own policy.
    other = asked.reader(a_config(policy={"address": policy}), replay=False)
    assert other is not None
    assert other.differs(asked.TRAINED)


def test_a_reader_that_is_no_model_is_not_asked() -> None:
    assert asked.reader(a_config(task={"kind": "ledger", "reader": "literal"}), replay=False) is None


def test_answers_that_are_replayed_have_no_reader_and_contents_are_judged_all_the_same() -> None:
    assert asked.reader(a_config(), replay=True) is None
    assert asked.judge(a_config()) == Asked("host:3, engine e", "host:3")


@pytest.mark.parametrize("changes", [{"rewards": {"content": 0.0}}, {"task": {"kind": "ledger"}}])
def test_nobody_judges_where_content_has_no_weight_or_its_truth_is_known(changes: Any) -> None:
    assert asked.judge(a_config(**changes)) is None
