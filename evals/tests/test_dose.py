"""Wrong memories are nested by dose; every measure falls with them, and one that cannot fall is found."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from typer.testing import CliRunner

from memalpha_evals import suites
from memalpha_evals.cli import app
from memalpha_evals.datasets import Conversation, Dataset, DatasetError, Question, Turn
from memalpha_evals.dose import measure, report
from memalpha_evals.dose.measure import DOSES, MEASURES, WRITERS, Held, exchanged, run


def name(draws: random.Random) -> str:
    return "".join(draws.choice("bdfgklmnprtvz") + draws.choice("aeiou") for _ in range(3)).capitalize()


def conversation(number: int, facts: int = 24) -> Conversation:
    """One fact a turn, long enough to be a passage of its own; names occur in no other conversation."""
    draws = random.Random(number)
    turns, questions = [], []
    for place in range(facts):
        dog, town = name(draws), name(draws)
        filler = " ".join(name(draws).lower() for _ in range(60))
        text = f"Ann: I adopted my dog {dog} in the town of {town}. The rest was {filler}."
        turns.append(Turn(f"{place}", text, "2024-05-08", "Ann"))
        questions.append(
            Question(f"In which town was the dog {dog} adopted?", "pets", town, frozenset([f"{place}"]), ())
        )
    return Conversation(f"conv-{number}", tuple(turns), tuple(questions))


def dataset(conversations: int) -> Dataset:
    return Dataset("made", "0" * 64, tuple(map(conversation, range(conversations))))


@pytest.fixture(scope="module")
def result() -> measure.Result:
    return run(dataset(3), 0, lambda count: None)


def test_a_larger_dose_exchanges_the_same_memories_and_more() -> None:
    own, others = ([Held("episodic", f"{name}{number}", "") for number in range(20)] for name in "ab")
    wrong = [
        {place for place, held in enumerate(exchanged(own, others, share, Random(1))) if held not in own}
        for share in DOSES
    ]
    assert list(map(len, wrong)) == [0, 2, 5, 10]
    assert all(small < large for small, large in pairwise(wrong))


def test_no_wrong_memory_comes_twice_or_is_ones_own() -> None:
    own = [Held("episodic", f"{number}", "") for number in range(20)]
    others = [*own[:5], *[Held("episodic", f"other {number % 12}", "") for number in range(24)]]
    given = exchanged(own, others, 0.5, Random(1))
    wrong = [held for held in given if held not in own]
    assert len(wrong) == len(set(wrong)) == 10
    # of 12 distinct ones 15 cannot be taken
    with pytest.raises(DatasetError, match="15 of 20 memories cannot be exchanged: there are 12 others"):
        exchanged(own, others, 0.75, Random(1))


def test_every_measure_of_every_writer_falls_with_the_dose(result) -> None:
    for writer in WRITERS:
        assert [cell.dose for cell in result.of(writer)] == list(DOSES)
        for shown in MEASURES:
            assert result.falls(writer, shown), (writer, shown, result.response(writer, shown))
    # half of the memories are another conversation's, and so about half of the evidence is gone
    whole, *_, half = result.response("passages", "evidence")
    assert whole > 0.9
    assert 0.3 * whole < half < 0.7 * whole


def test_a_measure_that_does_not_look_at_memory_is_found(result, monkeypatch) -> None:
    monkeypatch.setitem(MEASURES, "blind", lambda row: 1.0)
    monkeypatch.setitem(MEASURES, "upside down", lambda row: 1 - (row.evidence_recall or 0))
    assert not result.falls("memalpha", "blind")
    assert not result.falls("memalpha", "upside down")
    content = report.document(result, "2026-11-26")
    assert not report.all_fall(content)
    (_, _, rows), _ = report.tables(content)
    assert {row[0]: row[-1] for row in rows} == {
        **dict.fromkeys(("evidence", "headline", "f1"), "yes"),
        **dict.fromkeys(("blind", "upside down"), "NO"),
    }


def test_a_run_repeats_itself_and_asks_as_much_as_was_announced(result) -> None:
    done: list[int] = []
    again = run(dataset(3), 0, done.append, [0.25])
    assert list(again.cells) == [cell for cell in result.cells if cell.dose == 0.25]
    assert sum(done) == measure.questions(dataset(3)) * len(WRITERS) == 3 * 24 * 2


def test_what_cannot_be_answered_or_exchanged_is_refused() -> None:
    with pytest.raises(DatasetError, match="two conversations"):
        run(dataset(1), 0, lambda count: None)
    silent = [replace(each, questions=()) for each in dataset(2).conversations]
    with pytest.raises(DatasetError, match="questions with an answer"):
        run(replace(dataset(2), conversations=tuple(silent)), 0, lambda count: None)


def test_the_command_prints_the_document_and_its_exit_code_tells(result, monkeypatch) -> None:
    monkeypatch.setattr(suites, "load", lambda suite, data, draw: dataset(3))
    monkeypatch.setattr(measure, "run", lambda dataset, seed, progress: result)
    done = CliRunner().invoke(app, ["dose", "made", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["questions"] == 72
    monkeypatch.setitem(MEASURES, "blind", lambda row: 1.0)
    assert CliRunner().invoke(app, ["dose", "made"]).exit_code == 1
