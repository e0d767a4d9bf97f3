"""A policy service that a run finds running: whether it can write for this run, before anything is spent."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity
from memalpha.config import load
from memalpha.errors import ConflictError, InternalError
from memalpha.policy.checkpoint import Manifest, Training, seal
from memalpha_trainer import served
from memalpha_trainer.config import Config
from memalpha_trainer.served import check_running

TRAINING = Training("a" * 64, "lines", "relevant", 32)


@pytest.fixture
def sealed(tmp_path: Path) -> Manifest:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return seal(tmp_path, TRAINING, policy_version=3, tokenizer="b" * 64)


def described(sealed: Manifest, **changes: Any) -> GetPolicyResponse:
    right: dict[str, Any] = {
        "policy": PolicyIdentity(policy_version=sealed.policy_version),
        "tokenizer_digest": sealed.tokenizer_digest,
        "trained_with": sealed.trained_with.message(),
        "loads_weights": True,
    }
    return GetPolicyResponse(**right | changes)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has every service say this of itself."""

    class Client:
        said = GetPolicyResponse()

        @classmethod
        def connect(cls, address: str) -> "Client":
            return cls()

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *error: object) -> None: ...

        def describe(self) -> GetPolicyResponse:
            return self.said

    monkeypatch.setattr(served, "PolicyClient", Client)
    return Client


def check(model: Path, steps: int) -> None:
    config = Config.model_validate(
        {"policy": {"model": model, "address": "host:1"}, "out": model / "my runs"}
    )
    check_running(config, model, config.folder / "weights", steps)


def test_a_service_of_the_runs_own_checkpoint_is_taken(tmp_path: Path, sealed: Manifest, answer: Any) -> None:
    answer.said = described(sealed)
    check(tmp_path, 0)


FAULTS: list[tuple[dict[str, Any], str]] = [
    (
        {"policy": PolicyIdentity(policy_version=4)},
        "it serves version 4 of its weights, and the run needs version 3",
    ),
    ({"tokenizer_digest": "c" * 64}, "its model has another tokenizer"),
    ({"trained_with": None}, "its model was trained otherwise"),
    ({"loads_weights": False}, "it takes no weights, for want of policy.weights_root"),
]


@pytest.mark.parametrize(("changes", "fault"), FAULTS)
def test_any_other_service_is_refused_and_the_difference_named(
    tmp_path: Path, sealed: Manifest, answer: Any, changes: Any, fault: str
) -> None:
    answer.said = described(sealed, **changes)
    with pytest.raises(
        ConflictError, match=re.escape(f"service at host:1 cannot write for this run: {fault}. ")
    ) as error:
        check(tmp_path, 0)
    assert error.value.reason == "ANOTHER_POLICY"


def test_all_that_is_wrong_with_a_service_is_said_at_once(
    tmp_path: Path, sealed: Manifest, answer: Any
) -> None:
    answer.said = described(sealed, **{name: value for each, _ in FAULTS for name, value in each.items()})
    with pytest.raises(ConflictError, match=re.escape("; ".join(fault for _, fault in FAULTS))):
        check(tmp_path, 0)


def test_a_refused_service_started_as_the_error_says_would_be_taken(
    tmp_path: Path, sealed: Manifest, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer.said = described(sealed, loads_weights=False)
    with pytest.raises(ConflictError) as error:
        check(tmp_path, 0)
    *variables, program, verb, service = shlex.split(str(error.value).splitlines()[-1])
    assert (program, verb, service) == ("memalpha", "serve", "policy")
    for name, value in (each.split("=", 1) for each in variables):
        monkeypatch.setenv(name, value)
    started = load()
    assert started.policy.model == str(tmp_path)
    assert started.policy.weights_root == tmp_path / "my runs" / "run" / "weights"
    assert (started.policy_engine, started.policy_address, started.wire_format) == (
        "transformers",
        "host:1",
        "lines",
    )


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        # Two streams of three rollouts each: never more than six completions at once.
        ({"rows": 64}, 6),
        ({"rows": 4}, 4),
        # Where no row is computed that stands empty, more cost nothing.
        ({"rows": 64, "batch_invariant": False}, 64),
        ({"rows": 64, "engine": "vllm"}, 64),
    ],
)
def test_a_service_has_no_more_rows_than_rollouts_where_empty_ones_are_computed(
    tmp_path: Path, policy: dict[str, Any], rows: int
) -> None:
    config = Config.model_validate(
        {"policy": {"tiny": {}} | policy, "rollouts": {"groups": 2, "group_size": 3}}
    )
    assert served._settings(config, tmp_path, tmp_path, "host:1").policy.rows == rows


@pytest.mark.parametrize(("version", "taken"), [(2, False), (3, True), (13, True), (14, False)])
def test_a_resumed_run_takes_a_service_that_is_no_further_than_itself(
    tmp_path: Path, sealed: Manifest, answer: Any, version: int, taken: bool
) -> None:
    # It began at version 3, and has ten steps behind it.
    answer.said = described(sealed, policy=PolicyIdentity(policy_version=version))
    if taken:
        check(tmp_path, 10)
    else:
        with pytest.raises(ConflictError, match="run needs versions 3 to 13"):
            check(tmp_path, 10)


def test_a_service_that_was_started_and_has_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "policy.log"
    log.write_text("out of memory\n")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        service = served.Service("host:1", process, log)
        # The control: while it lives, and of a service that was not started here, nothing is known.
        service.require_alive()
        served.Service("host:1").require_alive()
        process.kill()
        process.wait()
    with pytest.raises(InternalError, match=r"(?s)status -9.*out of memory") as caught:
        service.require_alive()
    assert caught.value.reason == "POLICY_DIED"
