"""Weights that vLLM is given, those that are refused while it serves on, and the death of its processes."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import CorruptionError, InternalError, InvalidInputError, MemalphaError, UnavailableError
from memalpha.policy.checkpoint import MANIFEST, Training
from memalpha.policy.local import job
from memalpha.policy.vllm import files

from .engines import PLACE, Service, over, serving
from .test_conformance import pieces
from .test_local_parity import PARITY, largest_gap, noisy, reference, requests
from .test_local_weights import copied, drop, put, scores, sequences
from .test_vllm_parity import anywhere, take

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")
torch: Any = pytest.importorskip("torch")
psutil: Any = pytest.importorskip("psutil")

SMALL: dict[str, Any] = {**PLACE, "cache_gib": 0.25, "gpu_memory": 0.1}
# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


async def refused(service: Service, folder: Path, *, probe: pb.WeightProbe | None = None) -> MemalphaError:
    """The error of a load, after which the old weights are served as before."""
    before, version = await scores(service), (await service.client.describe()).policy.policy_version
    made = pb.LoadWeightsRequest(policy_version=version + 1, path=str(folder), probe=probe)
    with pytest.raises(MemalphaError) as caught:
        await service.client.load_weights(made)
    assert await scores(service) == before
    assert (await service.client.describe()).policy.policy_version == version
    return caught.value


async def test_a_probe_that_holds_says_how_well_and_one_that_does_not_changes_nothing(
    vllm_core, tiny_folder, tmp_path
) -> None:
    shared = vllm_core()
    folder = noisy(shared[0], tmp_path / "new", size=0.02, version=2)
    async with anywhere(shared) as service:
        old = await scores(service)
        stale = pb.WeightProbe(sequences=sequences(), scores=old)
        error = await refused(service, folder, probe=stale)
        assert error.reason == "PROBE_FAILED"
        assert largest_gap(reference(folder), [await service.client.generate(requests(1)[0])]) > PARITY
        version = await take(service, folder)
        probe = pb.WeightProbe(sequences=sequences(), scores=await scores(service), tolerance=1e-4)
        made = pb.LoadWeightsRequest(policy_version=version + 1, path=str(folder), probe=probe)
        reply = await service.client.load_weights(made)
    assert reply.probe_error <= 1e-4
    assert reply.pause.ToTimedelta().total_seconds() > 0


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
async def test_weights_of_another_form_are_refused(vllm_core, tmp_path, change, said) -> None:
    shared = vllm_core()
    folder = copied(shared[0], tmp_path / "new", change)
    async with anywhere(shared) as service:
        error = await refused(service, folder)
    assert error.reason == "MODEL_NOT_LOADED"
    assert said in str(error)


async def test_what_is_written_or_scored_by_weights_that_are_no_numbers_fails(
    vllm_core, tmp_path, monkeypatch
) -> None:
    shared = vllm_core()
    nan = put("model.norm.weight", torch.full((64,), torch.nan))
    async with anywhere(shared) as service:
        with monkeypatch.context() as patch:
            patch.setattr(files, "check", lambda *_, **__: None)
            await take(service, copied(shared[0], tmp_path / "nan", nan))
        for call in (*(service.client.generate(each) for each in requests(2)), scores(service)):
            with pytest.raises(InternalError, match="must be finite") as caught:
                await call
            assert caught.value.reason == "GENERATION_FAILED"
        # The control.
        await take(service, noisy(shared[0], tmp_path / "new", size=0.02, version=3))
        assert (await service.client.generate(requests(1)[0])).finish_reason
        await scores(service)


@pytest.mark.parametrize("what", ["torn", "no manifest", "tokenizer", "wire format", "twice"])
async def test_a_folder_that_is_not_what_it_says_is_refused(vllm_core, tmp_path, what) -> None:
    shared = vllm_core()
    training = Training("d" * 64, "hermes", "", 0) if what == "wire format" else None
    folder = copied(shared[0], tmp_path / "new", **({"training": training} if training else {}))
    if what == "torn":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[:-100])
    if what == "no manifest":
        (folder / MANIFEST).unlink()
    if what == "tokenizer":
        (folder / "chat_template.jinja").write_text("other")
    if what == "twice":
        shutil.copy(folder / "model.safetensors", folder / "z.safetensors")
    async with anywhere(shared) as service:
        error = await refused(service, folder)
    assert isinstance(error, CorruptionError) == (what in ("torn", "tokenizer", "twice"))


async def test_a_folder_outside_of_the_root_is_refused(vllm_core, tmp_path) -> None:
    shared = vllm_core()
    async with over(shared, weights_root=tmp_path) as service:
        error = await refused(service, shared[0])
    assert isinstance(error, InvalidInputError)
    assert error.reason == "PATH_OUTSIDE_ROOT"


async def test_weights_are_swapped_under_load_without_a_failed_request(vllm_core, tmp_path) -> None:
    shared = vllm_core()
    folders = [noisy(shared[0], tmp_path / f"v{n}", size=0.02, version=n) for n in (2, 3)]
    made = requests(48, seed=3)
    for each in made:
        each.sampling.max_tokens = 150
    async with anywhere(shared) as service:
        running = [asyncio.create_task(service.client.generate(each)) for each in made]
        versions = []
        for number in range(6):
            await asyncio.sleep(0.1)
            versions.append(await take(service, folders[number % 2]))
        found = await asyncio.gather(*running)
    assert all(each.finish_reason for each in found)
    assert all(len(each.token_ids) == len(each.logprobs) == len(each.versions) for each in found)
    assert all(list(each.versions) == sorted(each.versions) for each in found)
    assert len({version for each in found for version in each.versions} & set(versions)) > 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "control"])
async def test_a_completion_that_comes_whole_has_a_piece_for_each_version(
    vllm_core, tmp_path, monkeypatch, stream
) -> None:
    monkeypatch.setattr(job, "_WAKING_SECONDS", 0.0)
    shared, made = vllm_core(), requests(1)[0]
    folder = noisy(shared[0], tmp_path / "new", size=0.02, version=2)
    made.sampling.MergeFrom(pb.SamplingParams(temperature=0, max_tokens=800))
    async with over(shared, weights_root="/", stream=stream) as service:
        first = (await service.client.describe()).policy.policy_version
        running = asyncio.create_task(pieces(service, made))
        while not any(each.new for each in shared[1]._requests):
            await asyncio.sleep(0.01)
        second = await take(service, folder)
        found = await running
    versions = [piece.policy.policy_version for piece in found]
    assert set(versions) == {first, second}
    assert (versions == [first, second]) == (not stream)
    assert [bool(piece.finish_reason) for piece in found] == [False] * (len(found) - 1) + [True]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("whom", [pytest.param("engine", marks=pytest.mark.long), "worker"])
async def test_vllm_that_is_killed_is_unavailable_at_once_and_returns_under_its_weights(
    vllm_core, tmp_path, whom
) -> None:
    if whom == "worker" and PLACE["device"] != "cpu":
        pytest.skip("over a single GPU vLLM has no worker: its engine computes")
    shared = vllm_core()
    folder = noisy(shared[0], tmp_path / "new", size=0.02, version=2)
    long = requests(4, seed=9)
    for each in long:
        each.sampling.max_tokens = 3000
    async with anywhere(shared) as service:
        version = await take(service, folder)
        running = [asyncio.create_task(service.client.generate(each)) for each in long]
        while service.engine.load[0] < 4 or not all(made.new for made in shared[1]._requests):
            await asyncio.sleep(0.01)
        engine = shared[1]._process._llm.engine_core.resources.engine_manager.processes[0].pid
        below = [each.pid for each in psutil.Process(engine).children()]
        os.kill(engine if whom == "engine" else below[0], signal.SIGKILL)
        begin = time.monotonic()
        replies = await asyncio.gather(*running, return_exceptions=True)
        assert time.monotonic() - begin < 20
        assert {type(each) for each in replies} == {UnavailableError}
        while service.engine.serving:
            await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError):
            await service.client.generate(long[0])
        while not service.engine.serving:
            await asyncio.sleep(0.1)
        found = await asyncio.gather(*(service.client.generate(each) for each in requests(8)))
        assert (await service.client.describe()).policy.policy_version == version
    assert {each.policy.policy_version for each in found} == {version}
    assert largest_gap(reference(folder), list(found)) <= PARITY
    assert not any(map(alive, [engine, *below]))


@pytest.mark.long
async def test_a_model_whose_folder_is_gone_starts_again_without_it_and_takes_newer_weights(
    tiny_folder, tmp_path
) -> None:
    folder = Path(shutil.copytree(tiny_folder(), tmp_path / "model"))
    newer = noisy(folder, tmp_path / "new", size=0.02, version=2)
    async with serving("vllm", model=str(folder), weights_root=tmp_path, **SMALL) as service:
        core = service.engine._core  # pyright: ignore[reportAttributeAccessIssue]
        shutil.rmtree(folder)
        os.kill(core._process._llm.engine_core.resources.engine_manager.processes[0].pid, signal.SIGKILL)
        while not core.bare:
            await asyncio.sleep(0.1)
        with pytest.raises(UnavailableError) as caught:
            await service.client.generate(requests(1)[0])
        assert caught.value.reason == "WEIGHTS_GONE"
        await service.client.load_weights(pb.LoadWeightsRequest(policy_version=2, path="new"))
        found = [await service.client.generate(each) for each in requests(4)]
    assert {each.policy.policy_version for each in found} == {2}
    assert largest_gap(reference(newer), found) <= PARITY
    # The control: the model that is gone says something else.
    assert largest_gap(reference(tiny_folder()), found) > 100 * PARITY
