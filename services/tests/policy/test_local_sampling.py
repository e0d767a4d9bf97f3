"""Distributions that tokens are drawn from, against values derived by hand."""

import math
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import InvalidInputError
from memalpha.policy.checks import checked_score
from memalpha.policy.local.sampling import Sampling, draw, logprobs

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")

# Probabilities 0.4, 0.3, 0.2, 0.1 in another order.
SHARES = [0.2, 0.4, 0.1, 0.3]
LOGITS = [math.log(share) for share in SHARES]


def shares(**fields: float) -> list[float]:
    """Probabilities of the four tokens."""
    found = logprobs(torch.tensor([LOGITS]), [Sampling(**fields)]).exp()[0].tolist()  # type: ignore[arg-type]
    assert sum(found) == pytest.approx(1)
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, SHARES),
        # Square roots of the shares, over their sum: p ** (1 / 2).
        ({"temperature": 2.0}, [s**0.5 / sum(t**0.5 for t in SHARES) for s in SHARES]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 9}, SHARES),
        ({"top_p": 0.4}, [0, 1, 0, 0]),
        # 0.4 does not reach 0.5, 0.4 + 0.3 does.
        ({"top_p": 0.5}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 1e-6}, [0, 1, 0, 0]),
        # At least 0.45 of 0.4 is 0.18.
        ({"min_p": 0.45}, [2 / 9, 4 / 9, 0, 3 / 9]),
        ({"min_p": 1.0}, [0, 1, 0, 0]),
        # Of the three likeliest 4/9 and 3/9 reach 0.75.
        ({"top_k": 3, "top_p": 0.75}, [0, 4 / 7, 0, 3 / 7]),
        # A greedy row has the model's own distribution.
        ({"temperature": 0.0, "top_k": 1}, SHARES),
    ],
)
def test_a_distribution_is_the_one_derived_by_hand(fields, expected) -> None:
    assert shares(**fields) == pytest.approx(expected, abs=1e-6)


def test_rows_keep_their_own_settings() -> None:
    rows = [Sampling(), Sampling(top_k=1), Sampling(temperature=2.0)]
    found = logprobs(torch.tensor([LOGITS] * 3), rows).exp()
    assert found[0].tolist() == pytest.approx(SHARES)
    assert found[1].tolist() == pytest.approx([0, 1, 0, 0])
    assert found[2, 1].item() < 0.4


def test_tokens_come_as_often_as_their_probability_says() -> None:
    count = 4000
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    tokens, scores = draw(torch.tensor([LOGITS] * count), [Sampling()] * count, generators)
    for token, share in enumerate(SHARES):
        # Four standard deviations of a binomial.
        assert abs(tokens.count(token) / count - share) < 4 * math.sqrt(share * (1 - share) / count)
    assert scores == pytest.approx([LOGITS[token] for token in tokens], abs=1e-6)


def test_a_left_out_token_is_never_drawn() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in range(500)]
    tokens, _ = draw(torch.tensor([LOGITS] * 500), [Sampling(top_k=2)] * 500, generators)
    assert set(tokens) == {1, 3}


def test_the_same_generator_draws_the_same_tokens_and_greedy_rows_need_none() -> None:
    def drawn(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [draw(torch.tensor([LOGITS]), [Sampling()], [generator])[0][0] for _ in range(40)]

    assert drawn(1) == drawn(1) != drawn(2)
    greedy = [Sampling(temperature=0.0)]
    assert draw(torch.tensor([LOGITS]), greedy, [torch.Generator()]) == ([1], [pytest.approx(math.log(0.4))])


def test_a_temperature_next_to_none_is_greedy() -> None:
    # 5 / 1e-38 is beyond float32, and infinity less infinity no number.
    logits = torch.tensor([[5.0, 5.5, 1.0]])
    found = draw(logits, [Sampling(temperature=1e-38)], [torch.Generator()])
    assert found == draw(logits, [Sampling(temperature=0.0)], [torch.Generator()])
    assert not Sampling(temperature=torch.tensor(1e-5).item()).greedy


@pytest.mark.parametrize("temperature", [0.0, 1e-38, 9e-6, math.nan])
def test_scores_at_no_temperature_are_refused(temperature) -> None:
    policy = pb.GetPolicyResponse(scores=True)
    sequences = [pb.TokenizedPrompt(token_ids=[1])]
    with pytest.raises(InvalidInputError, match=r"temperature: must be from 0\.00001 to 2"):
        checked_score(pb.ScoreRequest(sequences=sequences, temperature=temperature), policy)
    checked_score(pb.ScoreRequest(sequences=sequences, temperature=1e-5), policy)
