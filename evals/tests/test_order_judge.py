"""BEAM's order of events: a judge matches lines with nuggets, and Kendall's tau-b scores their order."""

from dataclasses import replace

import pytest
from made_judges import AT_ONCE, Failing, Scripted
from made_runs import row

from memalpha.errors import InvalidInputError, make
from memalpha_evals.judges import prompts
from memalpha_evals.judges.cases import ORDERED
from memalpha_evals.judges.judge import Judge
from memalpha_evals.judges.judging import count, judge_known, judge_rows
from memalpha_evals.judges.ordering import aligned, complete_score, order_score, tau_b

ORDER = prompts.load("order")
EVENTS = ("tent", "boat", "lake")


def by_words(prompt: str, seed: int) -> str:
    """The same event if its word stands in the line."""
    texts = dict(line.split(": ", 1) for line in prompt.splitlines() if ": " in line)
    return "CORRECT" if texts["First text"] in texts["Second text"] else "WRONG"


def asked(number: int, answer: str, category: str = ORDERED, **more):
    return replace(row(question=number, answer=answer), category=category, rubric=EVENTS, **more)


def nothing(count: int) -> None:
    pass


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        # of three pairs two agree and one does not
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        # two pairs agree; of three pairs one is tied: 2 / sqrt(3 * 2)
        ([1, 2, 3], [1, 2, 2], 2 / 6**0.5),
        # Kendall's own kind of case, both sides tied once: 6 pairs, 5 untied each, 4 agree
        ([1, 1, 2, 3], [1, 2, 3, 3], 4 / 5),
        ([1, 1, 1], [1, 2, 3], None),
        ([1], [1], None),
    ],
)
def test_tau_b_counts_pairs_and_takes_ties_out_of_what_could_agree(first, second, tau) -> None:
    assert tau_b(first, second) == (None if tau is None else pytest.approx(tau))


def test_events_that_an_order_lacks_are_tied_at_its_end() -> None:
    assert order_score("abc", "abc") == 1
    assert order_score("abc", "cba") == 0
    # c is missing: ranks 0 1 2 and 0 1 3, as right as can be
    assert order_score("abc", "ab") == 1
    # x is beside the point: ranks 0 1 2 4 and 0 1 2 3 agree too, so that what comes last costs nothing
    assert order_score("abc", ["a", "b", "c", "x"]) == 1
    # x first: a b c x are 0 1 2 4 and 1 2 3 0: 3 of 6 pairs agree, 3 do not
    assert order_score("abc", ["x", "a", "b", "c"]) == 0.5
    # nothing right, a b c and x y z: 9 pairs disagree, of 15 three are tied on each side: tau -9 / 12
    assert order_score("abc", "xyz") == pytest.approx((1 - 9 / 12) / 2)


def test_one_event_that_is_named_is_right_and_one_that_is_not_is_wrong() -> None:
    assert order_score(["a"], ["a"]) == order_score(["a"], ["a", "a"]) == 1
    assert order_score(["a"], ["b"]) == order_score(["a"], []) == order_score([], []) == 0


def test_the_first_event_alone_is_almost_right_unless_what_is_missing_counts() -> None:
    # b and c are tied: of three pairs two agree, 2 / sqrt(3 * 2)
    almost = (2 / 6**0.5 + 1) / 2
    assert order_score("abc", "a") == pytest.approx(almost) == pytest.approx(0.91, abs=0.005)
    assert order_score("abcdefghij", "a") == pytest.approx(0.72, abs=0.005)
    # one of three right events, none wrong: F1 is 2 * 1 / (2 * 1 + 0 + 2)
    assert complete_score("abc", "a") == pytest.approx(almost / 2)
    # a line that is no event: 2 * 3 / (2 * 3 + 1)
    assert complete_score("abc", ["a", "b", "c", "x"]) == pytest.approx(6 / 7)
    assert complete_score("abc", "abc") == 1
    assert complete_score("abc", "xyz") == complete_score("abc", "") == 0


def test_a_line_takes_the_first_nugget_that_is_the_same_and_free() -> None:
    same = [[True, True], [True, False], [False, True]]
    assert aligned(["one", "two", "three"], ["a", "b"], same) == ["a", "two", "b"]


async def test_rows_about_the_order_of_events_are_scored_by_it_and_no_others() -> None:
    made = [
        asked(0, "1) the tent\n\n2) the boat\n3) the lake"),
        asked(1, "the lake\nthe boat\nthe tent"),
        asked(2, "the tent\nthe lake\nthe boat"),
        asked(3, " "),
        asked(4, "the tent", failure="down"),
        asked(5, "the tent", category="summarization"),
    ]
    policy = Scripted(by_words)
    found = await judge_rows(Judge(policy, ORDER), made, nothing)
    # right; turned round; two of three pairs right: (1 / 3 + 1) / 2; empty; failed; of another kind
    expected = [1, 0, pytest.approx(2 / 3), 0, 0, None]
    assert [one.scores.get("judge.order") for one in found] == expected
    # all events are named once in the first three rows, so that both scores are the same
    complete = [one.scores.get("judge.order_complete") for one in found]
    assert complete == expected
    # three lines of three rows with three nuggets each, and nothing of the empty ones; the same pair is one
    assert len(policy.asked) == len({prompt for prompt, *_ in policy.asked})
    assert count(ORDER, made) == 3 * 9 + 2 * 3
    # a judge that takes everything for the same gives the order of the nuggets to any lines
    lenient = await judge_rows(Judge(Scripted(lambda prompt, seed: "CORRECT"), ORDER), made[1:2], nothing)
    assert lenient[0].scores["judge.order"] == 1


async def test_pairs_that_were_judged_are_kept(tmp_path) -> None:
    kept, made = tmp_path / "verdicts.jsonl", [asked(0, "the boat\nthe lake")]
    first = await judge_rows(Judge(Scripted(by_words), ORDER), made, nothing, kept, AT_ONCE)
    silent = Failing(by_words, [make(InvalidInputError, "X", "asked again")])
    assert await judge_rows(Judge(silent, ORDER), made, nothing, kept, AT_ONCE) == first


async def test_rows_without_events_in_order_and_calibrations_are_refused() -> None:
    judge = Judge(Scripted(by_words), ORDER)
    with pytest.raises(InvalidInputError, match=f"of the category {ORDERED}"):
        await judge_rows(judge, [asked(0, "the tent", category="summarization")], nothing)
    with pytest.raises(InvalidInputError, match="asks for nuggets"):
        await judge_known(judge, [], nothing)
