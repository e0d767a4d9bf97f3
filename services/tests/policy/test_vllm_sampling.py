"""vLLM draws from the distribution that it reports, and it is the one that the `transformers` engine has.

The first token after one prompt is drawn some thousand times, and Pearson's chi-square compares how often
each came with how often it should have. Seeds are fixed: what comes is the same every time.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.policy.local.sampling import Sampling, logprobs

from .engines import Service
from .test_local_parity import PARITY, noisy, reference
from .test_vllm_parity import anywhere, take

torch: Any = pytest.importorskip("torch")
pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

DRAWS = 2000
AT_ONCE = 200
PROMPT = [5, 9, 33, 120, 7]
# What chance does once in a thousand times is taken for chance; what it does once in a million times is not.
LIKELY, UNLIKELY = 1e-3, 1e-6
LEAST_EXPECTED = 10


def expected(folder: Path, sampling: Sampling) -> Any:
    """Logprobs of the first token, by a full pass and the `transformers` engine's sampler."""
    with torch.no_grad():
        logits = reference(folder)(torch.tensor([PROMPT]), use_cache=False).logits[0, -1:]
    return logprobs(logits, [sampling])[0]


async def drawn(service: Service, sampling: Sampling) -> list[Completion]:
    """The first token, drawn with one seed after the other."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> Completion:
        asked = pb.SamplingParams(
            seed=seed,
            max_tokens=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
        )
        tokens = pb.TokenizedPrompt(token_ids=PROMPT)
        async with room:
            return await service.client.generate(
                pb.GenerateRequest(tokens=tokens, sampling=asked, return_tokens=True)
            )

    return await asyncio.gather(*(one(seed) for seed in range(DRAWS)))


def chance_of(found: list[Completion], scores: Any) -> float:
    """How likely draws from the distribution are as far from it as these, or further.

    Tokens of which few are expected are counted together, so that the statistic is that of chi-square.
    """
    counts = Counter(each.token_ids[0] for each in found)
    hoped = {token: DRAWS * float(score.exp()) for token, score in enumerate(scores)}
    if not all(hoped[token] > 0 for token in counts):
        return 0.0
    pairs = [(counts[token], hope) for token, hope in hoped.items() if hope >= LEAST_EXPECTED]
    rest = DRAWS - sum(hope for _, hope in pairs)
    if rest >= LEAST_EXPECTED:
        pairs.append((DRAWS - sum(count for count, _ in pairs), rest))
    statistic = sum((count - hope) ** 2 / hope for count, hope in pairs)
    halves = torch.tensor([len(pairs) - 1, statistic], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(*halves))


@pytest.mark.parametrize(
    ("sampling", "other"),
    [
        (Sampling(), Sampling(temperature=0.8)),
        pytest.param(Sampling(top_p=0.7), Sampling(), marks=pytest.mark.long),
        pytest.param(Sampling(top_k=4), Sampling(), marks=pytest.mark.long),
        pytest.param(Sampling(min_p=0.1), Sampling(), marks=pytest.mark.long),
    ],
    ids=["whole", "top_p", "top_k", "min_p"],
)
async def test_tokens_come_as_often_as_their_logprobs_say(vllm_core, tmp_path, sampling, other) -> None:
    shared = vllm_core()
    # An untrained model takes all tokens for as likely; this one does not.
    peaked = noisy(shared[0], tmp_path / "peaked", size=0.5, version=2)
    async with anywhere(shared) as service:
        await take(service, peaked)
        found = await drawn(service, sampling)
    scores = expected(peaked, sampling)
    assert [each.logprobs[0] for each in found] == pytest.approx(
        [float(scores[each.token_ids[0]]) for each in found], abs=PARITY
    )
    chance, control = chance_of(found, scores), chance_of(found, expected(peaked, other))
    assert chance > LIKELY
    # Of another distribution they cannot be.
    assert control < UNLIKELY
