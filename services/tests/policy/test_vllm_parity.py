"""vLLM's logprobs against a full pass of the library's own model, before and after weights are exchanged.

Each hazard has a control that takes its remedy away: the packed tied head, the cache of old keys and values,
noise on the weights.
"""

import asyncio
import random
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import UnsupportedError
from memalpha.policy.served import largest

from .engines import PLACE, Service, over
from .test_local_parity import PARITY, full_pass, generated, largest_gap, noisy, reference, requests

vllm: Any = pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")
torch: Any = pytest.importorskip("torch")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
ON_CPU = pytest.mark.skipif(
    PLACE["device"] != "cpu", reason="vLLM packs heads, and scores a prompt's tokens at once, on a CPU alone"
)


# Of the module, so that all tests of one shape come together: each shape costs a start. Tied heads come last,
# as the tests of weights that follow go on with them.
@pytest.fixture(
    scope="module",
    params=[pytest.param(False, marks=pytest.mark.long, id="untied"), pytest.param(True, id="tied")],
)
def tied(request) -> bool:
    return request.param


async def take(service: Service, folder: Path) -> int:
    """Has a folder's weights served; returns their number."""
    version = (await service.client.describe()).policy.policy_version + 1
    await service.client.load_weights(pb.LoadWeightsRequest(policy_version=version, path=str(folder)))
    return version


def anywhere(shared: tuple[Path, Any]) -> Any:
    """The engine, loading weights from any folder."""
    return over(shared, weights_root="/")


async def test_sampled_logprobs_are_those_of_a_full_pass_with_cold_and_warm_caches(vllm_core, tied) -> None:
    shared = vllm_core(tied=tied, fresh=True)
    model = reference(shared[0])
    async with over(shared) as service:
        for temperature in (1.0, 0.7):
            made = requests(24, temperature=temperature)
            cold = await generated(service, made)
            warm = await generated(service, made)
            assert largest_gap(model, cold, temperature) <= PARITY
            assert largest_gap(model, warm, temperature) <= PARITY
            assert max(each.usage.cached_tokens for each in warm) >= 128
        assert [each.token_ids for each in warm] == [each.token_ids for each in cold]


async def test_scores_are_those_of_a_full_pass(vllm_core, tied) -> None:
    shared = vllm_core(tied=tied, fresh=True)
    chance = random.Random(1)
    # One fills the context to its last token.
    rows = [tuple(chance.choices(range(3, 500), k=k)) for k in (2, 300, 17, 5, 1, 120, 4096)]
    model = reference(shared[0])
    async with over(shared) as service:
        sequences = [pb.TokenizedPrompt(token_ids=row) for row in rows]
        reply = await service.client.score(pb.ScoreRequest(sequences=sequences))
        with pytest.raises(UnsupportedError, match="temperature 1"):
            await service.client.score(pb.ScoreRequest(sequences=sequences, temperature=0.7))
    for row, found in zip(rows, reply.scores, strict=True):
        expected = full_pass(model, row[:1], row[1:], 1.0) if len(row) > 1 else []
        assert list(found.logprobs) == pytest.approx(expected, abs=PARITY)


async def test_noise_of_a_thousandth_on_the_weights_is_seen(vllm_core, tied, tmp_path) -> None:
    shared = vllm_core(tied=tied, fresh=True)
    async with over(shared) as service:
        found = await generated(service, requests(8))
    assert largest_gap(reference(noisy(shared[0], tmp_path / "noisy", size=1e-3, version=2)), found) > PARITY


async def test_parity_holds_after_each_of_several_exchanges(vllm_core, tied, tmp_path) -> None:
    shared = vllm_core(tied=tied)
    old = reference(shared[0])
    async with anywhere(shared) as service:
        for number in range(2, 4):
            folder = noisy(shared[0], tmp_path / f"v{number}", size=0.02, version=number)
            # Prompts whose keys and values are cached under the weights of before.
            await generated(service, requests(16, seed=2))
            version = await take(service, folder)
            found = await generated(service, requests(16, seed=2))
            assert {each.policy.policy_version for each in found} == {version}
            assert largest_gap(reference(folder), found) <= PARITY
            # The control: by the old weights they are far off.
            assert largest_gap(old, found) > 100 * PARITY


async def test_without_a_new_cache_an_exchange_is_seen(vllm_core, tied, tmp_path, monkeypatch) -> None:
    shared = vllm_core(tied=tied)
    llm = shared[1]._process._llm
    pause = llm.pause_generation

    async def keeping(**how: Any) -> None:
        await pause(**{**how, "clear_cache": False})

    folder = noisy(shared[0], tmp_path / "v2", size=0.02, version=2)
    async with anywhere(shared) as service:
        await generated(service, requests(16, seed=2))
        monkeypatch.setattr(llm, "pause_generation", keeping)
        await take(service, folder)
        monkeypatch.undo()
        assert largest_gap(reference(folder), await generated(service, requests(16, seed=2))) > 10 * PARITY
        await take(service, folder)
        assert largest_gap(reference(folder), await generated(service, requests(16, seed=2))) <= PARITY


async def test_a_completion_under_two_versions_has_the_logprobs_of_each(vllm_core, tied, tmp_path) -> None:
    shared = vllm_core(tied=tied)
    long = requests(5)
    for each in long:
        each.sampling.max_tokens = 1500
    folders = {n: noisy(shared[0], tmp_path / f"v{n}", size=0.02 * n, version=n) for n in (2, 3)}
    async with anywhere(shared) as service:
        first = await take(service, folders[2])
        running = asyncio.create_task(generated(service, long))
        while service.engine.load[0] < 5 or not all(made.new for made in shared[1]._requests):
            await asyncio.sleep(0.01)
        second = await take(service, folders[3])
        found = await running
    models = {first: reference(folders[2]), second: reference(folders[3])}
    for each in found:
        assert list(each.versions) == sorted(each.versions)
        table = {
            n: full_pass(model, each.prompt_token_ids, each.token_ids, 1.0) for n, model in models.items()
        }
        expected = [table[version][place] for place, version in enumerate(each.versions)]
        assert list(each.logprobs) == pytest.approx(expected, abs=PARITY)
    assert any(set(each.versions) == {first, second} for each in found)


async def test_ids_are_the_same_alone_and_among_sixteen(vllm_core, tied) -> None:
    made = requests(16, seed=5)
    async with over(vllm_core(tied=tied)) as service:
        alone = [await service.client.generate(each) for each in made]
        together = await generated(service, made)
        for each in made:
            each.sampling.seed += 1
        otherwise = await generated(service, made)
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    assert [each.token_ids for each in otherwise] != [each.token_ids for each in alone]


@contextmanager
def in_this_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """vLLM without processes of its own, so that a remedy can be taken out of it."""
    from memalpha.config import PolicySettings
    from memalpha.policy.vllm.process import engine_arguments, prepare

    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    settings = PolicySettings.model_validate({"device": "cpu", "cache_gib": 0.25})
    prepare(settings)
    told = engine_arguments(folder, settings, 1024, on_cpu=True)
    given = {name: value for name, value in told.items() if name != "enable_log_requests"}
    llm = vllm.LLM(**given, distributed_executor_backend="uni")
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


@ON_CPU
@pytest.mark.long
@pytest.mark.parametrize("repacked", [True, False], ids=["packed again", "control"])
async def test_a_tied_head_left_as_it_was_packed_is_seen(
    tiny_folder, tmp_path, monkeypatch, repacked
) -> None:
    folder = noisy(tiny_folder(), tmp_path / "v2", size=0.02, version=2)
    model, prompt = reference(folder), list(range(5, 60))
    with in_this_process(tiny_folder(), monkeypatch) as llm:
        from memalpha.policy.vllm import worker

        if not repacked:
            monkeypatch.setattr(worker, "repack_heads", lambda model: None)
        llm.collective_rpc("start_weight_update")
        llm.collective_rpc("update_weights", kwargs={"update_info": {"path": str(folder)}})
        llm.collective_rpc("finish_weight_update")
        params = vllm.SamplingParams(max_tokens=20, logprobs=0, seed=1, ignore_eos=True)
        output = llm.generate([{"prompt_token_ids": prompt}], params, use_tqdm=False)[0].outputs[0]
    ids = tuple(output.token_ids)
    found = [table[token].logprob for token, table in zip(ids, output.logprobs, strict=True)]
    gaps = [abs(a - b) for a, b in zip(found, full_pass(model, tuple(prompt), ids, 1.0), strict=True)]
    assert (largest(gaps) <= PARITY) == repacked


@ON_CPU
@pytest.mark.long
def test_scores_of_several_sequences_are_exact_by_parts(tiny_folder, monkeypatch) -> None:
    chance, model = random.Random(2), reference(tiny_folder())
    rows = [tuple(chance.choices(range(3, 500), k=k)) for k in (300, 17, 2, 64, 63, 65)]
    expected = [full_pass(model, row[:1], row[1:], 1.0) for row in rows]
    params = vllm.SamplingParams(max_tokens=1, prompt_logprobs=0, ignore_eos=True)

    def gap(llm: Any) -> float:
        outputs = llm.generate([{"prompt_token_ids": list(row)} for row in rows], params, use_tqdm=False)
        found = [
            [table[token].logprob for token, table in zip(row[1:], output.prompt_logprobs[1:], strict=True)]
            for row, output in zip(rows, outputs, strict=True)
        ]
        pairs = [zip(*each, strict=True) for each in zip(found, expected, strict=True)]
        return largest(abs(one - other) for pair in pairs for one, other in pair)

    with in_this_process(tiny_folder(), monkeypatch) as llm:
        from memalpha.policy.vllm import worker

        part, sizes = worker.Scorer._part, []

        def counted(scorer: Any, states: Any, ids: Any) -> Any:
            sizes.append(len(states))
            return part(scorer, states, ids)

        # 64 tokens by 512 words: of some sequences one part, of others several, or one that is just full.
        monkeypatch.setattr(worker, "_HEAD_LOGITS", 64 * 512)
        monkeypatch.setattr(worker.Scorer, "_part", counted)
        assert gap(llm) <= PARITY
        assert sorted(sizes) == sorted([64, 64, 64, 64, 43, 16, 1, 63, 62, 64])
        # The control: parts of other tokens.
        monkeypatch.setattr(
            worker.Scorer, "_part", lambda scorer, states, ids: part(scorer, states, ids.roll(1, 0))
        )
        assert gap(llm) > 100 * PARITY
