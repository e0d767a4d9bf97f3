"""The ledger's table: what each row must show, that it repeats, and that page and document agree."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.errors import InvalidInputError
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha_evals import pages
from memalpha_evals.cli import app
from memalpha_evals.ledger import measure, report
from memalpha_evals.ledger.kept import kept, stale
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


def test_writers_that_never_update_or_delete_keep_more_stale_values_than_the_oracle(result: Result) -> None:
    for units in (1, 4):
        oracle = result.cell("oracle", units).stale()
        assert oracle.value == 0
        for name in ("no updates", "no deletes"):
            found = result.cell(name, units).stale()
            assert found.interval is not None
            assert found.interval.low > oracle.value
            assert found.questions == oracle.questions
        # a log keeps all of them, and who stores nothing none
        assert result.cell("verbatim", units).stale().value == 1
        assert result.cell("empty", units).stale().value == 0


def test_repeats_are_repeated_by_a_log_and_not_by_the_oracle(result: Result) -> None:
    for units in (1, 4):
        assert result.cell("oracle", units).repeated == 0
        assert result.cell("verbatim", units).repeated > 0
        assert result.cell("verbatim", units).compression == 1
        assert result.cell("oracle", units).compression < 0.5
        assert result.cell("empty", units).repeated == result.cell("empty", units).compression == 0


CHUNKS = (
    "The home of Tavo is Oslo. The badge of Tavo was granted. Tavo's exam is on 2024-05-09.",
    "Tavo's home is now Rome. Kelu's cargo is salt. Some say that Kelu's cargo is tea.",
    "The badge of Tavo was withdrawn. Tavo's exam moved to 2024-05-12. Kelu's cargo is not salt after all.",
)


def memory(content: str, time: str = "") -> Memory:
    return Memory(content=content, event_time=time)


def test_stale_is_what_held_once_and_holds_no_more() -> None:
    assert stale(CHUNKS) == [
        (("Tavo", "home"), "Oslo"),
        (("Tavo", "badge"), "valid"),
        (("Tavo", "exam"), "2024-05-09"),
        (("Kelu", "cargo"), "salt"),  # the rumour never held
    ]
    # what comes back is not stale
    assert stale([*CHUNKS, "Tavo's home is now Oslo."])[0] == (("Tavo", "home"), "Rome")


def test_stale_values_are_kept_if_any_memory_states_them_as_if_they_held() -> None:
    instance = Instance("made", "ledger", tuple(map(Chunk, CHUNKS)), (Question("-", ("-",), "strict"),))
    old = [
        memory("Tavo's home is Oslo"),
        memory("Tavo's badge is valid"),
        memory("Tavo's exam", "2024-05-09"),
        memory("Kelu's cargo is salt"),
    ]
    assert kept(instance, old).stale == (True,) * 4
    new = [
        memory("Tavo's home is Rome, earlier Oslo"),
        memory("Tavo's badge is revoked"),
        memory("Tavo's exam", "2024-05-12"),
        memory("Kelu's cargo is not salt after all"),
    ]
    assert kept(instance, new).stale == (False,) * 4
    twice = kept(instance, [*new, memory("The home of Tavo is Rome. Tavo's home is Rome.")])
    # home, badge and exam, and the home again
    assert (twice.statements, twice.repeated) == (4, 1)


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
    assert f"{teacher['stale']['share']:.4f} (" in text.partition("### Stale values")[2]
    assert f"of {teacher['stream_tokens']:.0f} ({teacher['compression']:.0%})" in text
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
