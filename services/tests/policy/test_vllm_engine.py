"""What the vllm engine does before and around vLLM, over a stand-in for the core; see test_vllm_weights."""

import json
import math
import os
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memalpha.policy.checkpoint import MANIFEST, seal
from memalpha.policy.marks import check_same
from memalpha.policy.served import Served
from memalpha.policy.vllm import engine as engine_module
from memalpha.policy.vllm.core import Probe
from memalpha.policy.vllm.engine import VLLMEngine
from memalpha.policy.vllm.process import Process
from memalpha.policy.vllm.weights import Weights

from .conftest import TRAINING
from .engines import Service, served
from .test_local_weights import copied, put

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("transformers")


class Stand:
    """A stand-in for the core, whose scores are the number of its weights, or what it `says`."""

    def __init__(self) -> None:
        self.version = 1
        self.down: MemalphaError | None = None
        self.bare = False
        self.count = 0
        self.says: float | None = None
        self.taken: list[Weights] = []

    def compare(self, weights: Weights) -> None:
        if weights.version == self.version:
            check_same(weights.folder, weights.version, weights.mark, self.taken[-1].mark)

    async def probe(self, sequences: list[list[int]]) -> list[list[float]]:
        return (await self.score(sequences))[0]

    async def score(self, sequences: list[list[int]]) -> tuple[list[list[float]], int]:
        if self.down is not None:
            raise self.down
        said = float(self.version) if self.says is None else self.says
        return [[said] * (len(each) - 1) for each in sequences], self.version

    async def exchange(
        self, weights: Weights, sequences: list[list[int]], probe: Probe
    ) -> tuple[float, float]:
        self.taken.append(weights)
        self.version, self.down, self.bare = weights.version, None, False
        return 0.0, probe((await self.score(sequences))[0])


@pytest.fixture(autouse=True)
def without_vllm(monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "prepare", lambda _settings: None)


def engine(folder: Path, core: Stand, **settings: object) -> VLLMEngine:
    checked = PolicySettings.model_validate({"model": str(folder), "device": "cpu", **settings})
    return VLLMEngine(checked, "lines", core)  # pyright: ignore[reportArgumentType]


def over(folder: Path, core: Stand, root: Path) -> AbstractAsyncContextManager[Service]:
    return served(engine(folder, core, weights_root=root))


def load(version: int, said: float | None = None) -> pb.LoadWeightsRequest:
    """A load of `new`, whose weights shall say this of one token."""
    probe = pb.WeightProbe(sequences=[pb.TokenizedPrompt(token_ids=[5, 6])])
    probe.scores.append(pb.SequenceScore(logprobs=[said or 0.0]))
    return pb.LoadWeightsRequest(policy_version=version, path="new", probe=None if said is None else probe)


def changed(folder: Path, out: Path, **config: object) -> Path:
    """A sealed copy with other settings of its network."""
    shutil.copytree(folder, out)
    found = json.loads((out / "config.json").read_bytes())
    (out / "config.json").write_text(json.dumps(found | config))
    seal(out, TRAINING, policy_version=2)
    return out


async def test_a_number_that_is_served_is_loaded_no_more_but_probed(tiny_folder, tmp_path) -> None:
    changed(tiny_folder(), tmp_path / "new")
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        assert (await service.client.load_weights(load(2, 2.0))).probe_error == 0
        reply = await service.client.load_weights(load(2, 2.0005))
        assert reply.probe_error == pytest.approx(0.0005, abs=1e-5)
        with pytest.raises(ConflictError) as caught:
            await service.client.load_weights(load(2, 7.0))
        assert caught.value.reason == "PROBE_FAILED"
    assert [each.version for each in core.taken] == [2]


async def test_a_number_that_is_served_stands_for_its_own_weights_alone(tiny_folder, tmp_path) -> None:
    changed(tiny_folder(), tmp_path / "new")
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        await service.client.load_weights(load(2))
        await service.client.load_weights(load(2))
        await service.client.load_weights(load(3))
        shutil.rmtree(tmp_path / "new")
        changed(tiny_folder(seed=1), tmp_path / "new")
        # A probe that holds does not make them the same.
        for said in (None, 3.0):
            with pytest.raises(ConflictError) as caught:
                await service.client.load_weights(load(3, said))
            assert caught.value.reason == "WEIGHTS_DIFFER"
        shutil.rmtree(tmp_path / "new")
        with pytest.raises(InvalidInputError, match="path must be a folder"):
            await service.client.load_weights(load(3))
        await service.client.load_weights(load(3, 3.0))
    assert [each.version for each in core.taken] == [2, 3]


@pytest.mark.parametrize("bare", [True, False])
async def test_a_number_whose_weights_are_gone_is_loaded_again(tiny_folder, tmp_path, bare) -> None:
    changed(tiny_folder(), tmp_path / "new")
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        await service.client.load_weights(load(2))
        core.down, core.bare = make(UnavailableError, "WEIGHTS_GONE", "gone"), bare
        if bare:
            await service.client.load_weights(load(2))
        else:  # vLLM itself is down, and takes nothing
            with pytest.raises(UnavailableError, match="gone"):
                await service.engine.load_weights(load(2))  # pyright: ignore[reportAttributeAccessIssue]
    assert [each.version for each in core.taken] == ([2, 2] if bare else [2])
    assert all(each.mark == core.taken[0].mark for each in core.taken)


async def test_a_schema_that_takes_long_to_read_is_refused(tiny_folder, tmp_path) -> None:
    asked = pb.SamplingParams(json_schema=json.dumps({"enum": ["word"] * 40_000}))
    made = pb.GenerateRequest(tokens=pb.TokenizedPrompt(token_ids=[5]), sampling=asked)
    async with over(tiny_folder(), Stand(), tmp_path) as service:
        with pytest.raises(InvalidInputError, match="at most 262144 characters") as caught:
            await service.client.generate(made)
    assert caught.value.reason == "INVALID_SCHEMA"


async def test_weights_for_another_network_are_refused(tiny_folder, tmp_path) -> None:
    changed(tiny_folder(), tmp_path / "new", rms_norm_eps=0.5, max_position_embeddings=128)
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        with pytest.raises(UnsupportedError, match="max_position_embeddings is 128, not 4096") as caught:
            await service.client.load_weights(load(2))
    assert caught.value.reason == "CONFIG_DIFFERS"
    assert core.taken == []


async def test_a_number_that_is_served_is_for_its_network_alone_whatever_notes_say(
    tiny_folder, tmp_path
) -> None:
    changed(tiny_folder(), tmp_path / "new")
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        await service.client.load_weights(load(2))
        shutil.rmtree(tmp_path / "new")
        changed(tiny_folder(), tmp_path / "new", transformers_version="4.0")
        await service.client.load_weights(load(2))
        shutil.rmtree(tmp_path / "new")
        changed(tiny_folder(), tmp_path / "new", rms_norm_eps=0.5)
        with pytest.raises(UnsupportedError, match=r"rms_norm_eps is 0\.5") as caught:
            await service.client.load_weights(load(2))
    assert caught.value.reason == "CONFIG_DIFFERS"
    assert [each.version for each in core.taken] == [2]


@pytest.fixture
def starts(monkeypatch) -> list[tuple[Path, set[str], bool]]:
    """Folders that vLLM is started on, with what is in them, and whether weights are read."""
    found: list[tuple[Path, set[str], bool]] = []

    def start(folder: Path, _settings: object, _context: int, *, weights: bool = True) -> None:
        found.append((folder, {path.name for path in folder.iterdir()}, weights))

    monkeypatch.setattr(Process, "start", start)
    return found


def without_weights(folder: Path) -> Any:
    settings: Any = None
    return engine_module._without_weights(settings, SimpleNamespace(folder=folder, context=8))  # pyright: ignore[reportArgumentType]


def test_a_start_without_weights_needs_no_folder_and_leaves_none(tiny_folder, tmp_path, starts) -> None:
    folder = Path(shutil.copytree(tiny_folder(), tmp_path / "model"))
    words = {path.name for path in folder.iterdir()} - {"model.safetensors"}
    start = without_weights(folder)
    shutil.rmtree(folder)
    start()
    start()
    assert [names for _, names, _ in starts] == [words] * 2
    assert "config.json" in words
    assert not any(weights or path.exists() for path, _, weights in starts)


def test_a_start_without_weights_that_finds_no_room_says_so(
    tiny_folder, tmp_path, starts, monkeypatch
) -> None:
    start = without_weights(tiny_folder())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UnsupportedError, match="no copy of its configuration") as caught:
        start()
    assert caught.value.reason == "MODEL_NOT_LOADED"
    assert starts == []
    with pytest.raises(UnsupportedError) as caught:
        without_weights(tmp_path / "gone")
    assert caught.value.reason == "MODEL_NOT_LOADED"


class Started:
    """A start of vLLM that does nothing."""

    dead = False

    async def ready(self) -> None:
        pass

    def stop(self) -> None:
        self.dead = True


@pytest.mark.parametrize("sealed", [True, False])
def test_vllm_is_not_served_on_files_that_were_touched_since_they_were_checked(
    tiny_folder, tmp_path, monkeypatch, sealed
) -> None:
    made: list[Started] = []

    def start(*_: object, **__: object) -> Started:
        made.append(Started())
        return made[-1]

    monkeypatch.setattr(Process, "start", start)
    monkeypatch.setattr(engine_module, "device", lambda _settings: "cpu")
    folder = Path(shutil.copytree(tiny_folder(), tmp_path / "model"))
    if not sealed:
        (folder / MANIFEST).unlink()
    settings = PolicySettings.model_validate({"model": str(folder), "weights_root": tmp_path})
    checked = Served(settings, "lines")
    # The control: nothing was touched.
    engine_module.started(settings, checked).close()
    os.utime(folder / "model.safetensors", (1, 1))
    with pytest.raises(InternalError, match="were changed while they were loaded") as caught:
        engine_module.started(settings, checked)
    assert caught.value.reason == "LOAD_FAILED"
    assert [each.dead for each in made] == [True, True]


async def test_notes_of_a_library_in_the_configuration_are_no_difference(tiny_folder, tmp_path) -> None:
    changed(tiny_folder(), tmp_path / "new", transformers_version="4.0", use_cache=False, pad_token_id=1)
    core = Stand()
    async with over(tiny_folder(), core, tmp_path) as service:
        await service.client.load_weights(load(2))
    assert [each.version for each in core.taken] == [2]


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "none_such"},
        {"model_type": "none_such", "architectures": ["NoneSuch"]},
        {"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl"},
        {"hidden_size": "many"},
        {"layer_types": ["sliding_attention", "full_attention"]},
    ],
)
def test_a_model_that_is_not_known_is_refused_by_name_and_folder(tiny_folder, tmp_path, config) -> None:
    folder = changed(tiny_folder(), tmp_path / "other", **config)
    (folder / MANIFEST).unlink()
    with pytest.raises(UnsupportedError, match="other cannot be served") as caught:
        engine(folder, Stand())
    assert caught.value.reason == "MODEL_NOT_LOADED"


@pytest.mark.parametrize("text", ["", "[]", "{"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_configuration_that_is_none_is_refused(tiny_folder, tmp_path, name, text) -> None:
    folder = Path(shutil.copytree(tiny_folder(), tmp_path / "other"))
    (folder / MANIFEST).unlink()
    (folder / name).write_text(text)
    with pytest.raises(UnsupportedError, match="other cannot be served") as caught:
        engine(folder, Stand())
    assert caught.value.reason == "MODEL_NOT_LOADED"


def a_number(wrong: float) -> Any:
    """One number of many, in a layer in the middle."""

    def change(tensors: dict[str, Any]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][3, 7] = wrong

    return change


def headed(tensors: dict[str, Any]) -> None:
    """A head that is its embedding, in the place of the embedding."""
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (a_number(math.nan), "up_proj.weight holds a number that is not finite"),
        (a_number(-math.inf), "up_proj.weight holds a number that is not finite"),
        (
            put("model.norm.weight", torch.ones(64).to(torch.float8_e4m3fn)),
            "model.norm.weight of torch.float8",
        ),
        (put("lm_head.weight", torch.zeros(512, 64)), "to which it is tied"),
        (put("lm_head.weight", torch.zeros(512, 64).half()), "lm_head.weight"),
        (headed, "to which it is tied"),
    ],
    ids=["nan", "infinite", "float8", "other head", "head of another type", "head alone"],
)
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
def test_a_model_whose_weights_cannot_be_served_is_refused_before_it_is_started(
    tiny_folder, tmp_path, change, said, sealed
) -> None:
    folder = copied(tiny_folder(), tmp_path / "base", change)
    if not sealed:
        (folder / MANIFEST).unlink()
    with pytest.raises(UnsupportedError, match="base cannot be served") as caught:
        engine(folder, Stand())
    assert caught.value.reason == "MODEL_NOT_LOADED"
    assert said in str(caught.value)


def doubled(tensors: dict[str, Any]) -> None:
    """A tied head in the file, as some libraries write it."""
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


@pytest.mark.parametrize("change", [None, a_number(1e30), doubled], ids=["as it is", "large", "with a head"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_whose_weights_can_be_served_is(tiny_folder, tmp_path, change, tied) -> None:
    folder = copied(tiny_folder(tied=tied), tmp_path / "base", change)
    assert engine(folder, Stand()).describe().policy.policy_id == "base"


@pytest.mark.parametrize("said", [math.nan, math.inf, -math.inf])
async def test_a_score_that_is_not_finite_is_refused(tiny_folder, tmp_path, said) -> None:
    core = Stand()
    asked = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=ids) for ids in ([5], [5, 6])])
    async with over(tiny_folder(), core, tmp_path) as service:
        core.says = said
        with pytest.raises(InternalError, match="must be finite") as caught:
            await service.client.score(asked)
        assert caught.value.reason == "GENERATION_FAILED"
        # The control.
        core.says = -1e30
        assert [len(each.logprobs) for each in (await service.client.score(asked)).scores] == [0, 1]
