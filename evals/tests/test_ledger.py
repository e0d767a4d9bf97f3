"""The ledger's table: what each row must show, that it repeats, and that page and document agree."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from memalpha.errors import InvalidInputError
from memalpha_evals import pages
from memalpha_evals.cli import app
from memalpha_evals.ledger import measure, report
from memalpha_evals.ledger.measure import Result, run

STREAMS = 6


@pytest.fixture(scope="module")
def result() -> Result:
    return run([1, 4], STREAMS, 0, lambda chunks: None)


def normalised(result: Result, name: str, units: int) -> float:
    return result.normalised(name, units, "literal").mean


def test_nothing_is_the_floor_and_the_oracle_answers_all(result: Result) -> None:
    for units in (1, 4):
        empty, oracle = (result.cell(name, units).asked["literal"] for name in ("empty", "oracle"))
        # only what was never told
        assert sum(each.score for each in empty) == 2 * STREAMS
        assert sum(each.score for each in oracle) == 10 * STREAMS
        assert normalised(result, "empty", units) == 0
        assert normalised(result, "oracle", units) == 1


def test_updates_and_deletes_matter(result: Result) -> None:
    for units in (1, 4):
        for name in ("no updates", "no deletes"):
            interval = result.difference("oracle", name, units, "literal").interval
            assert interval is not None
            assert interval.low > 0


def test_verbatim_falls_with_length_and_the_newest_memories_are_the_wrong_view(result: Result) -> None:
    for name in ("verbatim", "oracle, recent"):
        assert normalised(result, name, 4) < normalised(result, name, 1) - 0.2
    assert normalised(result, "verbatim, equal", 4) < 0.4


def test_the_teachers_likelier_choices_do_not_solve_it(result: Result) -> None:
    assert normalised(result, "teacher, greedy", 4) < 0.3
    assert normalised(result, "teacher, greedy", 1) < normalised(result, "teacher", 1)


def test_the_rules_made_for_conversations_know_little_of_the_ledger(result: Result) -> None:
    for units in (1, 4):
        # better than nothing, for what was said is there; worse than all of it, for rumours lose their hedge
        assert 0 < normalised(result, "extractive", units) < normalised(result, "verbatim", units)
        cell = result.cell("extractive", units)
        assert cell.memory_tokens > 0.8 * cell.stream_tokens


def test_equal_tokens_are_equal(result: Result) -> None:
    for units in (1, 4):
        ours, oracle = (result.cell(name, units).memory_tokens for name in ("verbatim, equal", "oracle"))
        assert 0.75 * oracle < ours <= oracle


def test_a_run_repeats_itself_and_another_seed_has_other_streams(result: Result) -> None:
    again, other = (run([1], STREAMS, seed, lambda chunks: None) for seed in (0, 1))
    assert again.cell("teacher", 1) == result.cell("teacher", 1)
    streams = [{each.stream for each in one.cell("empty", 1).asked["literal"]} for one in (again, other)]
    assert streams[0].isdisjoint(streams[1])


def test_progress_adds_up_to_what_was_announced() -> None:
    done: list[int] = []
    run([1], 1, 0, done.append)
    assert sum(done) == measure.chunks([1], 1) == 6 * len(measure.ROWS)


def test_the_page_says_what_the_document_says(result: Result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    page = tmp_path / "ledger.md"
    page.write_text(f"before\n{report._BEGIN}\nof last year\n{report._END}\nafter\n")
    content = report.document(result, "2026-01-02")
    path = report.write_docs(content)
    assert json.loads(path.read_text()) == content
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "of last year" not in text
    teacher = next(each for each in content["cells"] if (each["row"], each["units"]) == ("teacher", 4))
    assert f"{teacher['readers']['literal']['normalised']:.2f} (" in text
    assert "[all numbers](ledger/2026-01-02.json)" in text


def test_a_page_without_its_markers_is_left_alone(result: Result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    (tmp_path / "ledger.md").write_text("no markers\n")
    with pytest.raises(InvalidInputError, match=r"ledger\.md must hold the line <!-- ledger:begin"):
        report.write_docs(report.document(result, "2026-01-02"))
    assert (tmp_path / "ledger.md").read_text() == "no markers\n"


def test_a_fall_is_the_difference_and_its_interval_is_wider_than_either() -> None:
    cells = [
        {"row": row.name, "units": units, "readers": {"literal": {"normalised": mean, "interval": bounds}}}
        for row in measure.ROWS
        for units, mean, bounds in ((1, 0.5, [0.2, 0.8]), (4, 0.25, [-0.15, 0.65]))
    ]
    fall = next(report.falls(cells, [1, 4]))
    # halves of 0.3 and 0.4 make one of 0.5
    assert fall["mean"] == 0.25
    assert fall["interval"] == pytest.approx([-0.25, 0.75])


def test_few_streams_give_no_interval() -> None:
    content = report.document(run([1], 2, 0, lambda chunks: None), "2026-01-02")
    assert all(read["interval"] is None for cell in content["cells"] for read in cell["readers"].values())


def test_distances_hold_every_question_once(result: Result) -> None:
    content = report.document(replace(result, lengths=(1, 4)), "2026-01-02")
    for cell in content["cells"]:
        groups = cell["readers"]["literal"]["distances"]
        assert sum(group["questions"] for group in groups.values()) == 10 * STREAMS


def test_the_command_prints_tables_or_json_and_refuses_what_is_too_long() -> None:
    runner = CliRunner()
    table = runner.invoke(app, ["ledger", "--lengths", "1", "--streams", "1"])
    assert table.exit_code == 0
    assert "Normalised accuracy, literal reader" in table.stdout
    printed = runner.invoke(app, ["ledger", "--lengths", "1", "--streams", "1", "--json"])
    assert json.loads(printed.stdout)["lengths"] == [1]
    refused = runner.invoke(app, ["ledger", "--lengths", "61"])
    assert refused.exit_code == 2
