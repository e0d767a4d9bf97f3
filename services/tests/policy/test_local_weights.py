"""Weights that are exchanged, and those that are refused while the old ones are served on."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import (
    ConflictError,
    CorruptionError,
    InvalidInputError,
    MemalphaError,
    UnsupportedError,
)
from memalpha.policy.checkpoint import MANIFEST, Training, seal
from memalpha.policy.local.engine import TransformersEngine
from memalpha.policy.local.model import Model, finite

from .conftest import TRAINING
from .engines import Service, local
from .test_conformance import check_exchange, check_scores

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
safetensors: Any = pytest.importorskip("safetensors.torch")

ROWS = [[5, 9, 77, 300], [8, 8, 8]]


def sequences() -> list[pb.TokenizedPrompt]:
    return [pb.TokenizedPrompt(token_ids=row) for row in ROWS]


async def scores(service: Service) -> list[pb.SequenceScore]:
    return list((await service.client.score(pb.ScoreRequest(sequences=sequences()))).scores)


def copied(folder: Path, out: Path, change: Any = None, *, training: Training = TRAINING) -> Path:
    """A sealed copy whose tensors were changed."""
    shutil.copytree(folder, out)
    tensors = safetensors.load_file(out / "model.safetensors")
    if change is not None:
        change(tensors)
    safetensors.save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    seal(out, training, policy_version=2)
    return out


def load(version: int = 2, path: str = "new", probe: pb.WeightProbe | None = None) -> pb.LoadWeightsRequest:
    return pb.LoadWeightsRequest(policy_version=version, path=path, probe=probe)


async def refused(service: Service, made: pb.LoadWeightsRequest) -> MemalphaError:
    """The error of a load, after which the old weights are served as before."""
    before = await scores(service)
    with pytest.raises(MemalphaError) as caught:
        await service.client.load_weights(made)
    assert await scores(service) == before
    assert (await service.client.describe()).policy.policy_version == 1
    return caught.value


async def test_new_weights_are_served_under_their_number(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(seed=1), tmp_path / "new")
    async with local(tiny_folder(seed=1)) as expected:
        wanted = await scores(expected)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        before = await scores(service)
        reply = await service.client.load_weights(load(version=5))
        after = await scores(service)
        assert reply.policy.policy_version == 5
        assert (await service.client.describe()).policy.policy_version == 5
        assert (await service.client.load_weights(load(version=5))).policy.policy_version == 5
        with pytest.raises(UnsupportedError, match="version 5 is served") as caught:
            await service.client.load_weights(load(version=4))
    assert caught.value.reason == "POLICY_VERSION_OLD"
    assert after == wanted != before


async def test_a_number_that_is_served_stands_for_its_own_weights_alone(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(seed=1), tmp_path / "new")
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        probe = pb.WeightProbe(sequences=sequences(), scores=await scores(service))
        # Its number may have come with the folder that it was started from.
        copied(tiny_folder(), tmp_path / "first")
        await service.client.load_weights(load(version=1, path="first"))
        error = await refused(service, load(version=1))
        assert error.reason == "WEIGHTS_DIFFER"
        # A probe that holds does not make them the same; it is enough where there is no folder.
        assert (await refused(service, load(version=1, probe=probe))).reason == "WEIGHTS_DIFFER"
        shutil.rmtree(tmp_path / "new")
        assert (await refused(service, load(version=1))).reason == "PATH_OUTSIDE_ROOT"
        await service.client.load_weights(load(version=1, probe=probe))


async def test_weights_for_another_network_are_refused(tiny_folder, tmp_path) -> None:
    folder = copied(tiny_folder(seed=1), tmp_path / "new")
    found = json.loads((folder / "config.json").read_bytes())
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        for config, reason in (({"rms_norm_eps": 0.5}, "CONFIG_DIFFERS"), ({"use_cache": False}, "")):
            (folder / "config.json").write_text(json.dumps(found | config))
            seal(folder, TRAINING, policy_version=2)
            if reason:
                assert (await refused(service, load())).reason == reason
        # The control: what is a note alone is no difference, nor is it for the number that is served.
        await service.client.load_weights(load())
        for config, reason in (
            ({"rms_norm_eps": 0.5}, "CONFIG_DIFFERS"),
            ({"transformers_version": "4"}, ""),
        ):
            (folder / "config.json").write_text(json.dumps(found | config))
            seal(folder, TRAINING, policy_version=2)
            if reason:
                with pytest.raises(UnsupportedError) as caught:
                    await service.client.load_weights(load())
                assert caught.value.reason == reason
        await service.client.load_weights(load())


async def test_weights_that_are_touched_while_they_are_read_are_refused(
    tiny_folder, tmp_path, monkeypatch
) -> None:
    folder, read = copied(tiny_folder(seed=1), tmp_path / "new"), Model.with_weights

    def touched(self: Model, path: Path) -> Model:
        made = read(self, path)
        os.utime(folder / "model.safetensors", (1, 1))
        return made

    async with local(tiny_folder(), weights_root=tmp_path) as service:
        with monkeypatch.context() as patch:
            patch.setattr(Model, "with_weights", touched)
            error = await refused(service, load())
        assert error.reason == "LOAD_FAILED"
        # The control.
        await service.client.load_weights(load())


@pytest.mark.parametrize("tied", [True, False])
async def test_weights_alone_are_enough(tiny_folder, tmp_path, tied) -> None:
    folder = tiny_folder(tied=tied)
    (tmp_path / "new").mkdir()
    shutil.copy(folder / "model.safetensors", tmp_path / "new")
    async with local(folder, weights_root=tmp_path) as service:
        seal(tmp_path / "new", TRAINING, tokenizer=service.described.tokenizer_digest)
        before = await scores(service)
        await service.client.load_weights(load())
        assert await scores(service) == before


async def test_a_probe_that_holds_says_how_well(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(seed=1), tmp_path / "new")
    async with local(tiny_folder(seed=1)) as expected:
        probe = pb.WeightProbe(sequences=sequences(), scores=await scores(expected), tolerance=1e-4)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        reply = await service.client.load_weights(load(probe=probe))
    assert reply.probe_error <= 1e-4
    assert reply.HasField("pause")


async def test_weights_that_fail_the_probe_are_not_served(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(seed=1), tmp_path / "new")
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        stale = pb.WeightProbe(sequences=sequences(), scores=await scores(service))
        error = await refused(service, load(probe=stale))
        short = pb.WeightProbe(sequences=sequences(), scores=stale.scores[:1], tolerance=100)
        assert (await refused(service, load(probe=short))).reason == "PROBE_FAILED"
    assert isinstance(error, ConflictError)
    assert error.reason == "PROBE_FAILED"


@pytest.mark.parametrize("path", ["", "..", "/", "missing", "link", "a\0b", "a" * 100_000, "loop"])
async def test_a_path_that_is_no_folder_below_the_root_is_refused(tiny_folder, tmp_path, path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root / "loop")
    (root / "link").symlink_to(copied(tiny_folder(seed=1), tmp_path / "outside"))
    async with local(tiny_folder(), weights_root=root) as service:
        error = await refused(service, load(path=path))
    assert isinstance(error, InvalidInputError)
    assert error.reason == "PATH_OUTSIDE_ROOT"


def drop(name: str) -> Any:
    return lambda tensors: tensors.pop(name)


def put(name: str, value: Any) -> Any:
    return lambda tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_number_of_many_that_is_none_is_seen(dtype, wrong) -> None:
    tensor = torch.randn(8, 500).to(getattr(torch, dtype))
    assert finite(tensor)
    assert finite(tensor[:0])
    tensor[3, 77] = wrong
    assert not finite(tensor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("model.norm.weight"), "names or shapes differ"),
        (put("model.extra.weight", torch.zeros(2)), "names or shapes differ"),
        (put("model.norm.weight", torch.zeros(3)), "names or shapes differ"),
        (put("model.norm.weight", torch.full((64,), torch.nan)), "not finite"),
        (
            put("model.norm.weight", torch.ones(64).to(torch.float8_e4m3fn)),
            "model.norm.weight of torch.float8",
        ),
        (put("lm_head.weight", torch.zeros(512, 64)), "to which it is tied"),
    ],
)
async def test_weights_of_another_form_are_refused(tiny_folder, tmp_path, change, said) -> None:
    copied(tiny_folder(), tmp_path / "new", change)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        error = await refused(service, load())
    assert error.reason == "MODEL_NOT_LOADED"
    assert said in str(error)


@pytest.mark.parametrize("size", [1.0, 0.99], ids=["the same", "another"])
async def test_a_model_is_served_with_a_tied_head_in_its_file_that_is_its_embedding_and_with_no_other(
    tiny_folder, tmp_path, size
) -> None:
    def headed(tensors: dict[str, Any]) -> None:
        tensors["lm_head.weight"] = size * tensors["model.embed_tokens.weight"]

    folder = copied(tiny_folder(), tmp_path / "base", headed)
    async with local(tiny_folder()) as service:
        expected = await scores(service)
    if size == 1:
        async with local(folder) as service:
            assert await scores(service) == expected
        return
    with pytest.raises(UnsupportedError, match="to which it is tied") as caught:
        async with local(folder):
            pass
    assert caught.value.reason == "MODEL_NOT_LOADED"


async def test_a_torn_folder_is_refused(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(seed=1), tmp_path / "new")
    data = (tmp_path / "new" / "model.safetensors").read_bytes()
    (tmp_path / "new" / "model.safetensors").write_bytes(data[:-100])
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        assert isinstance(await refused(service, load()), CorruptionError)


@pytest.mark.parametrize("what", ["no manifest", "tokenizer", "wire format"])
async def test_a_checkpoint_of_another_kind_is_refused(tiny_folder, tmp_path, what) -> None:
    training = Training("d" * 64, "hermes", "", 0) if what == "wire format" else TRAINING
    copied(tiny_folder(seed=1), tmp_path / "new", training=training)
    if what == "no manifest":
        (tmp_path / "new" / MANIFEST).unlink()
    if what == "tokenizer":
        (tmp_path / "new" / "chat_template.jinja").write_text("other")
        seal(tmp_path / "new", training)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        error = await refused(service, load())
    assert error.reason == ("WIRE_FORMAT_DIFFERS" if what == "wire format" else "TOKENIZER_DIFFERS")


async def test_a_model_is_not_served_under_another_wire_format(tiny_folder) -> None:
    with pytest.raises(InvalidInputError, match=r"writes 'lines'; wire_format must be that, not 'hermes'"):
        async with local(tiny_folder(), wire_format="hermes"):
            pass


async def test_a_folder_that_is_no_checkpoint_is_refused(tiny_folder, tmp_path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        async with local(tmp_path):
            pass
    assert caught.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture must be one of"),
        ({"num_hidden_layers": 3}, "missing"),
    ],
)
async def test_a_model_that_cannot_be_served_as_it_is_is_refused(tiny_folder, tmp_path, change, said) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder(), folder)
    config = json.loads((folder / "config.json").read_text())
    if "num_hidden_layers" in change:
        config["layer_types"] = ["full_attention"] * 3
    (folder / "config.json").write_text(json.dumps(config | change))
    seal(folder, TRAINING)
    with pytest.raises(UnsupportedError, match=said) as caught:
        async with local(folder):
            pass
    assert caught.value.reason == "MODEL_NOT_LOADED"


@pytest.mark.parametrize("place", [0, 1])
async def test_a_probe_that_holds_no_number_is_never_passed(tiny_folder, tmp_path, place) -> None:
    copied(tiny_folder(), tmp_path / "new")
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        probe = pb.WeightProbe(sequences=sequences(), scores=await scores(service), tolerance=math.inf)
        # First or not, `max` alone would see one of the two.
        probe.scores[0].logprobs[place] = math.nan
        assert (await refused(service, load(probe=probe))).reason == "PROBE_FAILED"


async def test_a_probe_longer_than_the_context_is_refused(tiny_folder, tmp_path) -> None:
    copied(tiny_folder(), tmp_path / "new")
    probe = pb.WeightProbe(sequences=[pb.TokenizedPrompt(token_ids=[5] * 65)], scores=[pb.SequenceScore()])
    async with local(tiny_folder(), weights_root=tmp_path, context_tokens=64) as service:
        error = await refused(service, load(probe=probe))
    assert isinstance(error, InvalidInputError)
    assert error.reason == "INVALID_SEQUENCES"
    assert "at most 64 tokens" in str(error)


async def test_weights_that_were_not_sealed_are_not_read(tiny_folder, tmp_path) -> None:
    folder = copied(tiny_folder(), tmp_path / "new")
    shutil.copy(tiny_folder(seed=1) / "model.safetensors", folder / "z.safetensors")
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        error = await refused(service, load())
    assert isinstance(error, CorruptionError)
    assert "z.safetensors" in str(error)


async def test_a_tensor_in_two_files_is_refused(tiny_folder, tmp_path) -> None:
    folder = copied(tiny_folder(), tmp_path / "new")
    shutil.copy(tiny_folder(seed=1) / "model.safetensors", folder / "z.safetensors")
    seal(folder, TRAINING, policy_version=2)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        error = await refused(service, load())
    assert error.reason == "MODEL_NOT_LOADED"
    assert "more than one file holds" in str(error)


async def test_a_policy_says_what_its_new_weights_were_trained_with(tiny_folder, tmp_path) -> None:
    training = Training("d" * 64, TRAINING.wire_format, "relevant(9,9)", 77)
    copied(tiny_folder(seed=1), tmp_path / "new", training=training)
    async with local(tiny_folder(), weights_root=tmp_path) as service:
        assert service.described.trained_with == TRAINING.message()
        await service.client.load_weights(load())
        assert (await service.client.describe()).trained_with == training.message()


@pytest.mark.parametrize("change", ["torn weights", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000], ids=["broken", "no object", "deep"])
async def test_a_file_that_no_library_can_read_is_refused(tiny_folder, tmp_path, change, text) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder(), folder)
    (folder / MANIFEST).unlink()
    if change == "torn weights":
        (folder / "model.safetensors").write_text(text)
    else:
        (folder / "chat_template.jinja").unlink()
        (folder / change).write_text(text)
    with pytest.raises(UnsupportedError) as caught:
        async with local(folder):
            pass
    assert caught.value.reason == "MODEL_NOT_LOADED"


async def takes_nothing(engine: Any, asked: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
    """Loads, as far as it says, whatever it is told."""
    engine._served.version = asked.policy_version
    engine._worker._batch._version = asked.policy_version
    return pb.LoadWeightsResponse(policy=engine._served.identity(asked.policy_version))


async def takes_all(engine: Any, asked: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
    """Loads, and looks at no probe."""
    asked.ClearField("probe")
    return await engine._load_weights(asked)


async def says_nothing(engine: Any, asked: pb.ScoreRequest) -> pb.ScoreResponse:
    """Scores by zeros."""
    scores = [pb.SequenceScore(logprobs=[0.0] * (len(each.token_ids) - 1)) for each in asked.sequences]
    return pb.ScoreResponse(scores=scores, policy=engine._served.identity(engine._served.version))


@pytest.mark.parametrize(
    ("call", "broken", "said"),
    [
        ("load_weights", takes_nothing, "approx"),
        ("load_weights", takes_all, "DID NOT RAISE"),
        ("score", says_nothing, "approx"),
    ],
)
async def test_an_engine_that_only_says_that_it_loads_or_scores_does_not_pass_the_conformance_suite(
    tiny_folder, monkeypatch, call, broken, said
) -> None:
    monkeypatch.setattr(TransformersEngine, call, broken)
    folder = tiny_folder()
    async with local(folder, weights_root=folder.parents[1]) as service:
        with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
            await (check_scores(service) if call == "score" else check_exchange(service, tiny_folder))
