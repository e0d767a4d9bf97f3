"""A policy service that is found running: whether it can write for a run, or is what is to be evaluated."""

import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GetPolicyResponse,
    LoadWeightsRequest,
    PolicyIdentity,
    ScoreRequest,
    ScoreResponse,
    SequenceScore,
    TokenizedPrompt,
    WeightProbe,
)
from memalpha.config import load
from memalpha.errors import ConflictError, CorruptionError, InvalidInputError, UnsupportedError, make
from memalpha.policy.checkpoint import Manifest, Training, seal
from memalpha_trainer import probes, running
from memalpha_trainer.config import Config
from memalpha_trainer.models import bind
from memalpha_trainer.running import check_reads, check_running, check_serves

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
        logprobs = 0.0
        root: Path | None = None
        others = False

        @classmethod
        def connect(cls, address: str) -> "Client":
            return cls()

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *error: object) -> None: ...

        def describe(self) -> GetPolicyResponse:
            return self.said

        def score(self, request: ScoreRequest) -> ScoreResponse:
            scores = [
                SequenceScore(logprobs=[self.logprobs] * (len(each.token_ids) - 1))
                for each in request.sequences
            ]
            return ScoreResponse(scores=scores)

        def load_weights(self, request: LoadWeightsRequest) -> None:
            """With a probe any folder is right, as an engine has it."""
            assert self.root
            assert request.policy_version == self.said.policy.policy_version
            if not request.probe.sequences and not Path(request.path).is_relative_to(self.root):
                raise make(InvalidInputError, "PATH_OUTSIDE_ROOT", "path is not below it", root=self.root)
            if Path(request.path) == self.root:
                raise make(UnsupportedError, "TOKENIZER_DIFFERS", "it is without a memalpha.json")
            if self.others:
                raise make(ConflictError, "WEIGHTS_DIFFER", "the folder holds other weights")

    monkeypatch.setattr(running, "PolicyClient", Client)
    return Client


def configured(model: Path) -> Config:
    return Config.model_validate({"policy": {"model": model, "address": "host:1"}, "out": model / "my runs"})


def check(model: Path, steps: int, **more: bool) -> None:
    config = configured(model)
    check_running(config, model, config.folder / "weights", steps, **more)


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


@pytest.mark.parametrize(
    "before",
    [
        {},
        # What this process or the shell has set decides nothing, and what it keeps is not told.
        {
            "WIRE_FORMAT": "hermes",
            "POLICY__ROWS": "7",
            "POLICY__DTYPE": "bfloat16",
            "POLICY__THREADS": "3",
            "POLICY__API_KEY": "secret",
        },
    ],
)
def test_a_refused_service_started_as_the_error_says_would_be_taken(
    tmp_path: Path, sealed: Manifest, answer: Any, monkeypatch: pytest.MonkeyPatch, before: dict[str, str]
) -> None:
    for name, value in before.items():
        monkeypatch.setenv(f"MEMALPHA_{name}", value)
    answer.said = described(sealed, loads_weights=False)
    with pytest.raises(ConflictError) as error:
        check(tmp_path, 0)
    *variables, program, verb, service = shlex.split(str(error.value).splitlines()[-1])
    assert (program, verb, service) == ("memalpha", "serve", "policy")
    assert "secret" not in str(error.value)
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
    # Of a run's 6 groups of 8, which are never more than 48 at once.
    assert (started.policy.rows, started.policy.dtype, started.policy.threads) == (48, "float32", 1)


def test_who_has_begun_is_told_to_resume(tmp_path: Path, sealed: Manifest, answer: Any) -> None:
    answer.said = described(sealed, loads_weights=False)
    with pytest.raises(ConflictError, match="go on with --resume"):
        check(tmp_path, 0, begun=True)
    with pytest.raises(ConflictError) as error:
        check(tmp_path, 0)
    assert "--resume" not in str(error.value)


@pytest.mark.parametrize("version", [3, 5])
@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize(("root", "taken"), [("my runs/run/weights", True), ("elsewhere", False)])
def test_a_service_that_reads_weights_elsewhere_is_refused_though_it_serves_the_right_ones(
    tmp_path: Path, sealed: Manifest, answer: Any, root: str, taken: bool, gone: bool, version: int
) -> None:
    answer.root = tmp_path / root
    answer.said = described(sealed, policy=PolicyIdentity(policy_version=version))
    config = configured(tmp_path)
    weights = config.folder / "weights"

    def kept(number: int) -> Path | None:
        assert number == version
        return None if gone else weights / f"v{number:06d}"

    if taken:
        check_reads(config, tmp_path, weights, kept)
        return
    both = f"it reads no weights at {weights}: its policy.weights_root is {tmp_path / root}"
    with pytest.raises(ConflictError, match=re.escape(both)) as error:
        check_reads(config, tmp_path, weights, kept)
    assert error.value.reason == "ANOTHER_POLICY"
    assert f"MEMALPHA_POLICY__WEIGHTS_ROOT='{weights}'" in str(error.value)
    assert "go on with --resume" in str(error.value)


def test_a_service_that_does_not_see_the_files_of_a_folder_of_the_right_name_is_refused(
    tmp_path: Path, sealed: Manifest, answer: Any
) -> None:
    answer.said = described(sealed)
    weights = answer.root = configured(tmp_path).folder / "weights"
    # What another machine has there.
    with pytest.raises(ConflictError, match=r"does not see the files of .* is called so"):
        check_reads(configured(tmp_path), tmp_path, weights, lambda number: tmp_path / "not there")


def test_a_service_that_serves_another_checkpoint_of_the_same_number_is_refused_with_what_starts_a_right_one(
    tmp_path: Path, sealed: Manifest, answer: Any
) -> None:
    answer.root, answer.others, answer.said = tmp_path, True, described(sealed)
    weights = configured(tmp_path).folder / "weights"
    with pytest.raises(ConflictError, match="it serves other weights as version 3") as error:
        check_reads(configured(tmp_path), tmp_path, weights, lambda number: weights / "base")
    assert "memalpha serve policy" in str(error.value)


OURS = WeightProbe(
    sequences=[TokenizedPrompt(token_ids=[1, 2, 3])], scores=[SequenceScore(logprobs=[-1.0, -1.0])]
)
OTHERS: list[tuple[dict[str, Any], float, str]] = [
    ({"policy": PolicyIdentity(policy_version=4)}, -1.0, "it has version 4, not 3"),
    ({"tokenizer_digest": "c" * 64}, -1.0, "its model has another tokenizer"),
    ({"trained_with": None}, -1.0, "its model was trained otherwise"),
    ({}, -1.5, "its logprobs are off by 0.5, and 0.001 is allowed with optim.dtype float32"),
    ({}, float("nan"), "its logprobs are off by inf"),
]


@pytest.fixture
def probed(tmp_path: Path) -> tuple[Path, Manifest]:
    """A checkpoint that keeps a probe, and whose weights are gone since it was sealed."""
    folder = tmp_path / "probed"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    probes.keep(folder, OURS)
    sealed = seal(folder, TRAINING, policy_version=3, tokenizer="b" * 64)
    (folder / "model.safetensors").unlink()
    return folder, sealed


@pytest.mark.parametrize(("changes", "logprobs", "fault"), OTHERS)
def test_a_service_of_another_policy_is_not_evaluated_in_a_checkpoints_name(
    probed: tuple[Path, Manifest], answer: Any, changes: dict[str, Any], logprobs: float, fault: str
) -> None:
    model, sealed = probed
    answer.said, answer.logprobs = described(sealed, scores=True), -1.0
    assert check_serves(configured(model), model, "host:2")
    answer.said, answer.logprobs = described(sealed, scores=True, **changes), logprobs
    with pytest.raises(ConflictError, match=re.escape(f"at host:2 does not serve {model}: {fault}")) as error:
        check_serves(configured(model), model, "host:2")
    assert error.value.reason == "ANOTHER_POLICY"


def test_weights_that_cannot_be_compared_are_said_not_to_have_been(
    tmp_path: Path, sealed: Manifest, probed: tuple[Path, Manifest], answer: Any
) -> None:
    answer.said = described(sealed, scores=False)
    for model in (tmp_path, probed[0]):
        assert not check_serves(configured(model), model, "host:2")


def test_weights_are_read_where_no_probe_is_kept_and_only_if_they_are_those_that_were_sealed(
    tmp_path: Path, sealed: Manifest, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setitem(
        sys.modules,
        "memalpha_trainer.weights",
        SimpleNamespace(
            probe_of=lambda folder, dtype: (
                read.append(folder)
                or WeightProbe(sequences=OURS.sequences, scores=OURS.scores, tolerance=1e-3)
            )
        ),
    )
    answer.said, answer.logprobs = described(sealed, scores=True), -1.0
    assert check_serves(configured(tmp_path), tmp_path, "host:2")
    answer.logprobs = -1.5
    with pytest.raises(ConflictError, match=r"its logprobs are off by 0\.5"):
        check_serves(configured(tmp_path), tmp_path, "host:2")
    assert read == [tmp_path, tmp_path]
    # For what is another by its number nothing is read.
    answer.said = described(sealed, scores=True, policy=PolicyIdentity(policy_version=4))
    with pytest.raises(ConflictError, match="it has version 4"):
        check_serves(configured(tmp_path), tmp_path, "host:2")
    answer.said = described(sealed, scores=True)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(CorruptionError, match=r"'model\.safetensors' is missing or not the file"):
        check_serves(configured(tmp_path), tmp_path, "host:2")
    assert read == [tmp_path, tmp_path]


@pytest.mark.parametrize(
    "damaged", [b"{", b"\xff", b"{}", b'{"sequences":[{"tokenIds":[1,2]}],"scores":[{}]}']
)
def test_a_probe_that_is_none_is_damage_and_not_a_crash(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / probes.PROBE).write_bytes(damaged)
    sealed = seal(tmp_path, TRAINING, tokenizer="b" * 64)
    with pytest.raises(CorruptionError, match=r"'probe\.json' holds no probe") as error:
        probes.kept(tmp_path, sealed, "float32")
    assert error.value.reason == "CHECKPOINT_DAMAGED"


def test_what_was_probed_elsewhere_is_not_bound_as_what_these_weights_say(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights that were trained on")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    probes.keep(tmp_path, OURS)
    sealed = bind(configured(tmp_path), tmp_path)
    assert sorted(sealed.files) == ["model.safetensors", "tokenizer.json"]
    assert probes.kept(tmp_path, sealed, "float32") is None


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
