"""The sampler's logprobs against a full pass of the library's own model, with controls that must fail."""

import asyncio
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.policy.checkpoint import seal
from memalpha.policy.served import largest

from .conftest import TRAINING
from .engines import Service, local

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
transformers: Any = pytest.importorskip("transformers")

PARITY = 1e-4
BOTH = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def reference(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def full_pass(model: Any, prompt: tuple[int, ...], new: tuple[int, ...], temperature: float) -> list[float]:
    """Logprobs of new tokens by one pass over the whole sequence, alone, without any cache."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *new]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    table = torch.log_softmax(logits / temperature, dim=-1)
    return table.gather(-1, torch.tensor(new)[:, None])[:, 0].tolist()


def requests(count: int, *, seed: int = 0, temperature: float = 1.0) -> list[pb.GenerateRequest]:
    """Prompts of 1 to 300 ids and answers of 1 to 40, so that rows come and go at different times."""
    chance = random.Random(seed)
    return [
        pb.GenerateRequest(
            tokens=pb.TokenizedPrompt(
                token_ids=chance.choices(range(3, 500), k=chance.choice([1, 9, 80, 300]))
            ),
            sampling=pb.SamplingParams(seed=n, temperature=temperature, max_tokens=chance.randint(1, 40)),
            return_tokens=True,
        )
        for n in range(count)
    ]


async def generated(service: Service, made: list[pb.GenerateRequest]) -> list[Completion]:
    return await asyncio.gather(*(service.client.generate(each) for each in made))


def largest_gap(model: Any, found: list[Completion], temperature: float = 1.0) -> float:
    gaps = [
        abs(one - other)
        for each in found
        for one, other in zip(
            each.logprobs,
            full_pass(model, each.prompt_token_ids, each.token_ids, temperature),
            strict=True,
        )
    ]
    assert gaps
    return largest(gaps)


def noisy(folder: Path, out: Path, *, size: float, version: int) -> Path:
    """A sealed copy of a checkpoint with noise on its weights."""
    shutil.copytree(folder, out)
    model = reference(folder)
    generator = torch.Generator().manual_seed(version)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=size)
    model.save_pretrained(out)
    seal(out, TRAINING, policy_version=version)
    return out


@BOTH
@pytest.mark.parametrize("temperature", [1.0, 0.7])
async def test_sampled_logprobs_are_those_of_a_full_pass_in_any_batch(tiny_folder, tied, temperature) -> None:
    folder = tiny_folder(tied=tied)
    async with local(folder, rows=7) as service:
        found = await generated(service, requests(24, temperature=temperature))
    assert len({len(each.prompt_token_ids) for each in found}) > 2
    assert largest_gap(reference(folder), found, temperature) <= PARITY


@pytest.mark.parametrize("invariant", [True, False], ids=["batch-invariant", "control"])
async def test_logprobs_are_the_same_to_the_last_bit_beside_any_others(tiny_folder, invariant) -> None:
    made = requests(12)
    async with local(tiny_folder(), rows=6, batch_invariant=invariant) as service:
        together = await generated(service, made)
        alone = [await service.client.generate(each) for each in made]
    same = [one.logprobs == other.logprobs for one, other in zip(together, alone, strict=True)]
    assert all(same) == invariant


@pytest.mark.parametrize("place", [0, 1])
def test_a_logprob_that_is_no_number_is_far_off(tiny_folder, place) -> None:
    model, prompt, new = reference(tiny_folder()), (5, 9, 77), (8, 300)
    logprobs = full_pass(model, prompt, new, 1.0)
    found = Completion(
        "", pb.FINISH_REASON_STOP, pb.PolicyIdentity(), pb.Usage(), prompt, new, tuple(logprobs)
    )
    assert largest_gap(model, [found]) <= PARITY
    logprobs[place] = math.nan
    assert largest_gap(model, [replace(found, logprobs=tuple(logprobs))]) > PARITY


@BOTH
async def test_noise_of_a_thousandth_on_the_weights_is_seen(tiny_folder, tied, tmp_path) -> None:
    folder = tiny_folder(tied=tied)
    async with local(folder) as service:
        found = await generated(service, requests(8))
    assert largest_gap(reference(noisy(folder, tmp_path / "noisy", size=1e-3, version=2)), found) > PARITY


@BOTH
async def test_scores_are_those_of_a_full_pass_in_any_batch(tiny_folder, tied) -> None:
    folder = tiny_folder(tied=tied)
    chance = random.Random(1)
    rows = [tuple(chance.choices(range(3, 500), k=k)) for k in (2, 300, 17, 5, 1, 120)]
    model = reference(folder)
    for temperature in (1.0, 0.7):
        async with local(folder) as service:
            sequences = [pb.TokenizedPrompt(token_ids=row) for row in rows]
            reply = await service.client.score(pb.ScoreRequest(sequences=sequences, temperature=temperature))
        for row, found in zip(rows, reply.scores, strict=True):
            expected = full_pass(model, row[:1], row[1:], temperature) if len(row) > 1 else []
            assert list(found.logprobs) == pytest.approx(expected, abs=PARITY)


@BOTH
async def test_parity_holds_after_weights_were_exchanged(tiny_folder, tied, tmp_path) -> None:
    folder = tiny_folder(tied=tied)
    other = noisy(folder, tmp_path / "v2", size=0.02, version=2)
    async with local(folder, weights_root=tmp_path) as service:
        await generated(service, requests(3))
        await service.client.load_weights(pb.LoadWeightsRequest(policy_version=2, path="v2"))
        found = await generated(service, requests(16, seed=2))
    assert {each.policy.policy_version for each in found} == {2}
    assert largest_gap(reference(other), found) <= PARITY
    # The control: by the old weights they are far off.
    assert largest_gap(reference(folder), found) > 100 * PARITY


@BOTH
async def test_a_completion_under_two_versions_has_the_logprobs_of_each(tiny_folder, tied, tmp_path) -> None:
    folder = tiny_folder(tied=tied)
    other = noisy(folder, tmp_path / "v2", size=0.02, version=2)
    long = requests(5)
    for each in long:
        each.sampling.max_tokens = 600
    async with local(folder, weights_root=tmp_path) as service:
        running = asyncio.create_task(generated(service, long))
        while service.engine.load[0] < 5:
            await asyncio.sleep(0.01)
        await service.client.load_weights(pb.LoadWeightsRequest(policy_version=2, path="v2"))
        found = await running
    models = {1: reference(folder), 2: reference(other)}
    spans = 0
    for each in found:
        assert list(each.versions) == sorted(each.versions)
        spans += len(set(each.versions)) == 2
        table = {
            n: full_pass(model, each.prompt_token_ids, each.token_ids, 1.0) for n, model in models.items()
        }
        expected = [table[version][place] for place, version in enumerate(each.versions)]
        # A row whose old keys and values were kept would be off from the exchange on.
        assert list(each.logprobs) == pytest.approx(expected, abs=PARITY)
    assert spans


async def test_greedy_completions_are_the_librarys_own(tiny_folder) -> None:
    made = requests(6, temperature=0)
    async with local(tiny_folder()) as service:
        found = await generated(service, made)
    model = reference(tiny_folder())
    for each in found:
        ids = torch.tensor([each.prompt_token_ids])
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=len(each.token_ids), do_sample=False
        )
        assert tuple(whole[0, ids.shape[1] :].tolist()) == each.token_ids


async def test_ids_are_the_same_alone_and_among_sixteen(tiny_folder) -> None:
    made = requests(16, seed=5)
    async with local(tiny_folder()) as service:
        alone = [await service.client.generate(each) for each in made]
        together = await generated(service, made)
        for each in made:
            each.sampling.seed += 1
        otherwise = await generated(service, made)
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    # The control: it is the seed that makes them so.
    assert [each.token_ids for each in otherwise] != [each.token_ids for each in alone]


@pytest.mark.parametrize("family", ["Llama", "Qwen2"])
async def test_other_families_have_parity_too(tiny_folder, tmp_path, family) -> None:
    folder = tmp_path / family
    shutil.copytree(tiny_folder(), folder, ignore=shutil.ignore_patterns("memalpha.json", "*config.json"))
    shutil.copy(tiny_folder() / "tokenizer_config.json", folder)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=2,
        bos_token_id=None,
    )
    getattr(transformers, f"{family}ForCausalLM")(config).save_pretrained(folder)
    async with local(folder) as service:
        assert not service.described.HasField("trained_with")
        found = await generated(service, requests(6))
    assert largest_gap(reference(folder), found) <= PARITY
