"""Where answers are owed to: r1 in parts for chunks."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memalpha_trainer.credit.evidence import Credit, Owed, Shares, credits_of, rests_on, split, touched

from .credit_support import answer, rollout


def owed(*credits: Credit, chunks: int = 3) -> Owed:
    return Owed(credits, tuple(range(chunks)))


def right(*chunks: int) -> Credit:
    return Credit(1.0, chunks)


def wrong(*chunks: int) -> Credit:
    return Credit(0.0, chunks)


def parts(*group: Owed, share: float = 1.0, handover: bool = False) -> list[list[float]]:
    return [[each[chunk] for chunk in sorted(each)] for each in split(group, share, handover=handover)]


def test_an_answer_rests_on_the_chunks_that_last_wrote_what_it_used() -> None:
    assert rests_on(answer(1.0, 4, 2, 4)) == (4, 2, 4)
    assert rests_on(answer(0.0, 4)) == (4,)
    assert rests_on(answer(1.0, 5, deleted=True, absent=True, evidence=(1,))) == (5,)


def test_a_right_answer_that_nothing_is_known_rests_on_the_chunks_that_mentioned_it() -> None:
    assert rests_on(answer(1.0, absent=True, evidence=(1, 3))) == (1, 3)
    assert rests_on(answer(0.0, absent=True, evidence=(1, 3))) == ()
    # What a task knows of where is not used for anything else.
    assert rests_on(answer(1.0, evidence=(1, 3))) == ()


def test_a_score_goes_in_equal_shares_to_memories() -> None:
    # Two of the three memories were written by chunk 2.
    assert parts(owed(right(0, 2, 2))) == [pytest.approx([1 / 3, 0, 2 / 3])]


def test_a_score_of_which_nothing_is_known_goes_to_all_chunks_alike() -> None:
    assert parts(owed(right())) == [pytest.approx([1 / 3] * 3)]
    assert touched([owed(right()), owed(wrong(1))]) == {0, 1, 2}
    assert touched([owed(wrong()), owed(wrong(1))]) == {1}


def test_half_goes_to_where_it_is_owed_and_half_everywhere() -> None:
    # r1 = 0.5 + 0.25: 0.375 / 3 everywhere, 0.25 to chunk 0 and 0.125 to chunk 2.
    found = parts(owed(Credit(0.5, (0,)), Credit(0.25, (2,))), share=0.5)
    assert found == [pytest.approx([0.375, 0.125, 0.25])]


def test_chunks_that_were_not_read_are_owed_nothing() -> None:
    whole = rollout(answer(1.0, 0, 9), answer(1.0, 9), samples=2)
    assert [credit.chunks for credit in credits_of(whole)] == [(0,), ()]


def test_a_users_own_reward_goes_to_all_chunks_alike() -> None:
    assert credits_of(rollout(answer(1.0, 0), reward=0.3)) == (Credit(0.3),)


def test_who_repeats_a_memory_does_not_take_the_credit_of_who_wrote_it() -> None:
    first, repeated = owed(right(0)), owed(right(1))
    assert parts(first, repeated) == [[1, 0, 0], [0, 1, 0]]
    # Chunk 0 earns 1 where nobody took over; so it gets that from chunk 1, which is left with nothing.
    assert parts(first, repeated, handover=True) == [[1, 0, 0], [1, 0, 0]]


def test_who_spoils_a_memory_pays_for_it_and_not_who_wrote_it() -> None:
    kept, spoiled = owed(right(0)), owed(wrong(1))
    assert parts(kept, spoiled) == [[1, 0, 0], [0, 0, 0]]
    assert parts(kept, spoiled, handover=True) == [[1, 0, 0], [1, -1, 0]]


def test_of_memories_that_disagree_the_last_writer_pays() -> None:
    kept, at_odds = owed(right(0)), owed(wrong(0, 2))
    assert parts(kept, at_odds, handover=True) == [[1, 0, 0], [1, 0, -1]]


def test_who_leaves_out_a_change_is_not_helped_by_the_chunk_before() -> None:
    changed, stale = owed(right(1)), owed(wrong(0))
    assert parts(changed, stale, handover=True) == [[0, 1, 0], [0, 0, 0]]


def test_a_chunk_that_everyone_took_over_is_worth_nothing() -> None:
    assert parts(owed(right(1)), owed(wrong(2)), handover=True) == [[0, 1, 0], [0, 1, -1]]


questions = st.lists(
    st.tuples(st.floats(0, 1), st.lists(st.integers(0, 4), max_size=3)), min_size=4, max_size=4
)


@st.composite
def groups(draw: st.DrawFn) -> list[Owed]:
    answered = draw(st.lists(questions, min_size=1, max_size=5))
    return [
        owed(*(Credit(score / 4, tuple(chunks)) for score, chunks in each), chunks=5) for each in answered
    ]


def r1(each: Owed) -> float:
    return fsum(credit.amount for credit in each.credits)


@given(groups(), st.floats(0, 1), st.booleans())
def test_parts_sum_to_the_reward_whatever_answers_rest_on(
    group: list[Owed], share: float, handover: bool
) -> None:
    for each, shares in zip(group, split(group, share, handover=handover), strict=True):
        assert set(shares) == set(each.chunks)
        assert fsum(shares.values()) == pytest.approx(r1(each), abs=1e-9)


@pytest.mark.parametrize("handover", [False, True])
def test_they_do_not_if_one_edge_of_provenance_is_lost(
    monkeypatch: pytest.MonkeyPatch, handover: bool
) -> None:
    group = [owed(right(0, 1), right(2)), owed(right(1), wrong(2))]
    whole = Credit.weights

    def lossy(self: Credit) -> Shares:
        return {chunk: part for chunk, part in whole.__get__(self).items() if chunk != 1}

    monkeypatch.setattr(Credit, "weights", property(lossy))
    sums = [fsum(each.values()) for each in split(group, 0.5, handover=handover)]
    assert sums[0] == pytest.approx(2 - 0.5 * 0.5)
    assert sums[1] == pytest.approx(1 - 0.5)
