"""Answers that know nothing get no more than their caps, and a scorer that gives more is found."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from memalpha_evals import scorers
from memalpha_evals.cli import app
from memalpha_evals.scorers import canaries, containment, guesses, strict
from memalpha_evals.scorers.canaries import CANARIES, CAPS, DENIALS, LISTS, check, examples
from memalpha_evals.scorers.words import clauses, spans, words


def beaten(score=scorers.score) -> set[tuple[str, str]]:
    return {(each.canary, each.scorer) for each in check(examples(), score) if each.beaten}


def test_no_canary_beats_a_scorer_on_the_examples() -> None:
    assert beaten() == set()


def test_the_examples_have_every_kind_and_their_right_answers_are_right() -> None:
    rows = examples()
    assert {scorers.kind(row) for row in rows} == set(scorers.PRIMARY)
    for row in rows:
        right = canaries.ABSTENTION if row.unanswerable else row.answers[0]
        right = rf"\boxed{{{right}}}" if row.metric == "label" else right
        assert scorers.headline(row, scorers.score(replace(row, answer=right))) == 1, row.question


def test_every_cap_above_the_default_is_needed_by_a_fault_that_the_examples_show(monkeypatch) -> None:
    known = {(canary, scorer) for scorer, canary in CAPS}
    monkeypatch.setattr(canaries, "CAPS", {})
    assert beaten() == known


def both_ways(row):
    said, right = row.answer.lower(), (row.answers or ("",))[0].lower()
    return {"strict.contains": float(said in right or right in said)}


def no_length_cap(row):
    return {"strict.contains": float(any(each.lower() in row.answer.lower() for each in row.answers))}


def any_words(row):
    """As containment was: nothing but a bound on the length."""
    said, right = words(row.answer), words((row.answers or ("",))[0])
    return {"strict.contains": float(len(said) <= 5 * len(right) + 20 and spans(right, said))}


def marks_of_before(row):
    """As containment was: `&`, bullets, the calendar and longer items stand for no list."""
    said, right = row.answer.replace("&", " ").replace("\N{BULLET}", " "), (row.answers or ("",))[0]
    others = [each for each in clauses(said) if len(each) <= 3 and not spans(words(right), each)]
    return any_words(row) if len(others) <= 3 else {"strict.contains": 0.0}


def no_anywhere(row):
    """A `no` counts wherever it stands."""
    return {"strict.contains": float(row.answers == ("no",) and "no" in words(row.answer))}


def abstaining_pays(row):
    return {"strict.contains": float("no answer" in row.answer.lower())}


@pytest.mark.parametrize(
    ("broken", "by"),
    [
        (both_ways, {"empty", "echo"}),
        (no_length_cap, {"echo"}),
        (any_words, {*DENIALS, "list", "numbers", "yes or no"}),
        (marks_of_before, {"ampersands", "bullets", "long items", "calendar"}),
        (no_anywhere, {"nobody knows"}),
        (abstaining_pays, {"abstains"}),
        (lambda row: {"judge.kind": 1.0}, set(CANARIES)),
    ],
)
def test_a_broken_scorer_is_found_by_the_canaries_that_profit(broken, by) -> None:
    assert {canary for canary, _ in beaten(broken)} >= by


def test_a_right_guess_is_no_fault() -> None:
    # `yes` is the right answer of one of the examples, and all it gets is that one
    found = {(each.canary, each.scorer): each for each in check(examples())}["yes", "strict.contains"]
    assert 0 < found.share == found.cap < 0.1


def test_each_form_of_a_list_is_found_by_a_canary_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(guesses, "MOST_OTHERS", 99)
    monkeypatch.setattr(guesses, "_BARE", 99)
    given = {canary for canary, scorer in beaten() if scorer == "strict.contains"}
    assert given >= {*LISTS, "calendar", "counted", "spelled", "ranks", "weekdays"}


def test_each_form_of_a_denial_is_found_by_a_canary_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(containment, "denied", lambda pieces, said, question: False)
    monkeypatch.setattr(strict, "abstains", lambda said: False)
    assert {canary for canary, scorer in beaten() if scorer == "strict.contains"} >= {*DENIALS}


def test_the_command_prints_what_it_found_and_its_exit_code_says_so(monkeypatch, tmp_path) -> None:
    good = CliRunner().invoke(app, ["canary", "--json"])
    assert good.exit_code == 0
    assert not any(each["beaten"] for each in json.loads(good.stdout))
    monkeypatch.setitem(strict._FREE, "contains", lambda said, right, question: 1.0)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row.to_dict()) + "\n" for row in examples()))
    for command in (["canary"], ["canary", str(rows)]):
        bad = CliRunner().invoke(app, command)
        assert bad.exit_code == 1
        assert "BEATEN" in bad.stdout
