"""Which questions have two sides, what above means, and that a ranking can be told from chance."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha.errors import InvalidInputError
from memalpha_evals import pages
from memalpha_evals.cli import app
from memalpha_evals.datasets import DatasetError
from memalpha_evals.retrieval import current_report
from memalpha_evals.retrieval.current import FIRST, Pair, Result, evaluate, questions, score

BEAM = Path(__file__).parents[3] / "shared" / "data" / "beam100k"
CHATS = 6


class InTime:
    """Ranks by time, the newest or the oldest first."""

    about = "by time alone"

    def __init__(self, name: str, newest: bool) -> None:
        self.name = name
        self._newest = newest

    def rank(self, turns, questions):
        ids = [turn.id for turn in turns]
        return [ids[::-1] if self._newest else ids for _ in questions]


NEWEST, OLDEST = InTime("newest", newest=True), InTime("oldest", newest=False)


def probe(text: str, first: list[int], second: list[int]) -> dict:
    return {
        "question": text,
        "answer": "-",
        "source_chat_ids": {"original_info": first, "updated_info": second},
    }


@pytest.fixture
def folder(tmp_path):
    """Chats of eight messages; four updates each, of which two have sides."""
    for number in range(1, CHATS + 1):
        place = tmp_path / str(number)
        (place / "probing_questions").mkdir(parents=True)
        turns = [{"role": "user", "id": id_, "content": f"I paid {id_} coins for tea."} for id_ in range(8)]
        (place / "chat.json").write_text(json.dumps([{"batch_number": 1, "turns": [turns]}]))
        updates = [
            probe("How many coins?", [1], [5]),
            probe("How many coins for tea?", [6], [2, 3]),  # the second side is the earlier one
            probe("Coins?", [4], [4]),  # the same message
            probe("Tea?", [1, 6], [3]),  # mixed in time
        ]
        named = {"knowledge_update": updates, "summarization": [probe("All?", [1], [2])]}
        (place / "probing_questions" / "probing_questions.json").write_text(json.dumps(named))
    return tmp_path


def found(folder) -> Result:
    return evaluate(folder, None, [NEWEST, OLDEST], lambda count: None)


def test_only_questions_whose_sides_follow_one_another_are_asked(folder) -> None:
    result = found(folder)
    assert [(pair.earlier, pair.later) for pair in result.pairs[:2]] == [({"1"}, {"5"}), ({"2", "3"}, {"6"})]
    assert len(result.pairs) == questions(folder, None) == 2 * CHATS
    assert (result.chats, result.left_out) == (CHATS, 2 * CHATS)
    # one of two messages is the later one, and one of three
    assert result.chance == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_newest_first_is_all_above_and_the_oldest_first_none(folder) -> None:
    result = found(folder)
    assert result.above("newest").value == 1
    assert result.above("oldest").value == 0
    assert result.beyond_chance("newest").mean > 0 > result.beyond_chance("oldest").mean
    # all eight messages are among the first ten
    assert result.both("newest").value == result.both("oldest").value == 1


def test_a_side_that_is_not_ranked_is_below_everything_and_neither_is_a_half() -> None:
    pair = Pair("1", "knowledge_update", "?", frozenset({"a"}), frozenset({"z", "y"}))
    assert (score(["b", "y"], pair).above, score(["b", "a"], pair).above) == (1, 0)
    assert score(["b", "c"], pair).above == 0.5
    assert score(["a", "y", "z"], pair).both == 1
    assert score(["a", "b"], pair).both == 0
    assert score([*(str(n) for n in range(FIRST - 1)), "y", "a"], pair).both == 0


def test_progress_counts_the_questions_of_each_system_and_a_folder_without_sides_is_refused(folder) -> None:
    done: list[int] = []
    evaluate(folder, [1, 2], [NEWEST, OLDEST], done.append)
    assert done == [2] * 4
    place = folder / "1" / "probing_questions" / "probing_questions.json"
    place.write_text(json.dumps({"knowledge_update": [probe("Coins?", [4], [4])]}))
    with pytest.raises(DatasetError, match="no question of knowledge_update or contradiction_resolution"):
        evaluate(folder, [1], [NEWEST], done.append)


def test_the_page_says_what_the_document_says(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    page = tmp_path / "current.md"
    begin = "<!-- current:begin, written by evals store current --write-docs -->"
    page.write_text(f"before\n{begin}\nof last year\n<!-- current:end -->\n")
    content = current_report.document(found(folder), [NEWEST, OLDEST], "made", "2026-01-02")
    assert json.loads(current_report.write_docs(content).read_text()) == content
    text = page.read_text()
    assert "of last year" not in text
    assert "2026-01-02, made, 6 chats, 12 questions; 12 without an earlier and a later side" in text
    # all of 12 questions in 6 chats: 11 * (1.95996 / 2.57058)² = 6.395 trials, 6.395 / (6.395 + 3.8415)
    assert "| newest | 100.0 (at least 62.5) | 100.0 (at least 62.5) |" in text
    assert "| by lot | 41.7 | 41.7 |" in text
    page.write_text("no markers\n")
    with pytest.raises(InvalidInputError, match=r"current\.md must hold the line <!-- current:begin"):
        current_report.write_docs(content)


def test_the_command_prints_tables_or_json_and_refuses_what_it_does_not_know(folder) -> None:
    runner, command = CliRunner(), ["store", "current", "--data", str(folder), "--systems", "words"]
    assert "later side above the earlier, %" in runner.invoke(app, command).stdout
    printed = json.loads(runner.invoke(app, [*command, "--chats", "1,3", "--json"]).stdout)
    assert (printed["chats"], list(printed["systems"])) == (2, ["words"])
    assert runner.invoke(app, [*command, "--systems", "guesses"]).exit_code == 2


@pytest.mark.skipif(not BEAM.exists(), reason=f"there is no BEAM at {BEAM}")
def test_nearly_all_of_beams_updates_and_contradictions_have_sides() -> None:
    result = evaluate(BEAM, [13, 14], [NEWEST, OLDEST], lambda count: None)
    assert len(result.pairs) == 8
    assert (result.above("newest").value, result.above("oldest").value) == (1, 0)
