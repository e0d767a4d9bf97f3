"""Comparisons: what is taken from what, what is claimed, and what is refused."""

import csv
import json
from dataclasses import replace

import pytest
from made_runs import often, row, rows, write
from typer.testing import CliRunner

from memalpha.errors import InvalidInputError, NotFoundError
from memalpha_evals.cli import app
from memalpha_evals.compare.comparable import require_comparable, unlike
from memalpha_evals.compare.measured import measured, spending
from memalpha_evals.compare.paired import compare
from memalpha_evals.compare.sides import all_sides, by_group, matched, opened, sides
from memalpha_evals.compare.tables import NO_CLAIM, sentences
from memalpha_evals.protocols import NO_USAGE, Usage


@pytest.fixture
def run(tmp_path):
    """Writes runs and opens them."""

    def made(name, systems, **described):
        given = {key: described.pop(key) for key in ("conversations", "questions") if key in described}
        return opened(write(tmp_path / name, rows(systems, **given), **described))

    return made


def evals(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_difference_is_paired_and_the_answerable_questions_come_first(run) -> None:
    # right is better on questions 0 and 1 of each of six conversations, worse on none
    found = run("a", {"left": lambda c, q: q > 1, "right": lambda c, q: True})
    left, right = all_sides([found])
    (one,) = compare([(right, left)])
    lines = {line.name: line for line in one.lines}
    assert list(lines) == ["answerable", "overall", "multi-hop", "temporal", "single-hop", "adversarial"]
    overall = lines["overall"]
    assert (overall.ours, overall.baseline) == (1, pytest.approx(10 / 12))
    assert (overall.difference.better, overall.difference.worse) == (12, 0)
    assert overall.p == 2 / 2**12
    assert overall.clear
    # question 0 of three multi-hop questions, in every conversation: no cluster differs from the others
    assert lines["multi-hop"].difference.mean == pytest.approx(1 / 3)
    assert lines["multi-hop"].error == pytest.approx(0, abs=1e-12)
    assert not lines["single-hop"].clear


def test_the_correction_is_over_all_comparisons_and_on_the_first_line_only(run) -> None:
    systems = {"none": often(0), "some": often(0.1), "few": often(0.05, seed=1)}
    comparisons = compare(matched(all_sides([run("a", systems)])))
    overall = [each.lines[0] for each in comparisons]
    smaller, larger = sorted(line.p for line in overall if line.p is not None)
    assert sorted(line.adjusted for line in overall if line.adjusted is not None) == pytest.approx(
        [2 * smaller, max(larger, 2 * smaller)]
    )
    assert all(line.adjusted is None for each in comparisons for line in each.lines[1:])


def test_four_conversations_claim_nothing_however_large_the_difference(run) -> None:
    found = run("a", {"left": often(0), "right": often(1)}, conversations=4)
    comparisons = compare(matched(all_sides([found])))
    assert comparisons[0].lines[0].difference.interval is None
    assert not comparisons[0].lines[0].clear
    assert any(NO_CLAIM in sentence for sentence in sentences(comparisons))


def test_a_failed_row_counts_as_0_and_is_counted() -> None:
    made = [row(question=0), row(question=1, failure="reader: down", answer="")]
    found = measured(made)
    assert found is not None
    assert (found.score.value, found.failed) == (0.5, 1)


def test_who_always_abstains_leads_overall_at_most_and_the_first_line_says_nothing_of_it(run) -> None:
    # right on the questions without an answer, wrong on all others; the other is right on one in twelve
    found = run("a", {"abstains": lambda c, q: q % 4 == 3, "tries": lambda c, q: q == 0})
    (one,) = compare(matched(all_sides([found])))
    first, overall = one.lines[:2]
    assert (first.baseline, first.ours) == (0, pytest.approx(1 / 9))
    assert first.clear
    assert overall.baseline > overall.ours


def test_what_reading_took_counts_once_for_a_stream_and_once_for_each_question_of_who_knows_it() -> None:
    made = [
        row(question=0, built=Usage(5, 400, 0, 100)),
        row(question=1, built=Usage(10, 1000, 0, 200)),
        row(conversation=1, question=0, built=NO_USAGE),
    ]
    # the stream was read to its end once: 1200 tokens for three questions
    assert spending(made).built == 400
    assert spending(made, query_aware=True).built == (500 + 1200) / 3


def test_systems_of_one_run_are_compared_with_its_first_and_those_of_two_with_themselves(run) -> None:
    systems = {"left": often(0.2), "right": often(0.8)}
    first, second = run("a", systems), run("b", systems)
    assert [(a.name, b.name) for a, b in matched(all_sides([first]))] == [("right", "left")]
    both = matched(all_sides([first, second]))
    assert [(a.name, b.name) for a, b in both] == [
        ("a/right", "a/left"),
        ("b/left", "a/left"),
        ("b/right", "a/right"),
    ]
    named = matched(all_sides([first]), "right")
    assert [(a.name, b.name) for a, b in named] == [("left", "right")]


def test_who_knows_the_question_stands_in_a_group_of_its_own(run) -> None:
    found = run("a", {"knows": often(1), "left": often(0), "right": often(1)}, query_aware=("knows",))
    groups = by_group(all_sides([found]))
    assert [[side.name for side in members] for members in groups.values()] == [["knows"], ["left", "right"]]
    assert len({group.title for group in groups}) == 2


def test_a_rule_and_a_model_as_reader_never_share_a_table_even_when_told_to(run) -> None:
    rule, model = run("a", {"one": often(0)}), run("b", {"one": often(1)}, model_free=False)
    assert len(by_group(sides([rule, model]))) == 2


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ({"budget": 1024}, "budget of tokens"),
        ({"chunk_tokens": 512}, "tokens of a chunk"),
        ({"reader": {"name": "other"}}, "reader"),
        ({"streams": {"sha256": "cd" * 32}}, "sha256 of chunks and questions"),
        ({"data": {"name": "locomo-dev", "sha256": "00"}}, "sha256 of the data"),
    ],
)
def test_runs_that_differ_in_anything_but_the_system_are_refused_by_name(run, what, named) -> None:
    first, second = run("a", {"one": often(0.5)}), run("b", {"one": often(0.5)}, **what)
    with pytest.raises(InvalidInputError, match=named):
        require_comparable(sides([first, second]))
    # the control: the same settings are comparable
    require_comparable(sides([first, run("c", {"one": often(0.6)})]))


def test_missing_and_reworded_questions_are_seen(run) -> None:
    whole = run("a", {"one": often(0.5)})
    part = run("b", {"one": often(0.5)}, questions=11)
    assert unlike(sides([whole, part])) == ["questions: 6 are only in a/one, 0 only in b/one"]
    changed = [replace(each, answers=("Lake Como",)) for each in whole.rows]
    (sentence,) = unlike(sides([whole, whole._replace(name="c", rows=changed)]))
    assert "72 have another wording or other right answers" in sentence


def test_one_side_is_no_comparison_and_unknown_systems_are_named(run) -> None:
    found = run("a", {"one": often(0.5)})
    with pytest.raises(InvalidInputError, match="at least two sides"):
        sides([found])
    with pytest.raises(NotFoundError, match="no run has a system other; there are one"):
        sides([found, found], ["other"])


def test_the_command_prints_tables_and_writes_the_pairs_that_differ(tmp_path) -> None:
    made = rows({"left": lambda c, q: q != 0, "right": lambda c, q: True})
    folder, pairs = write(tmp_path / "a", made), tmp_path / "pairs.csv"
    done = evals("compare", folder, "--pairs", pairs)
    assert done.exit_code == 0
    assert "right − left: +11.1 points over 54 questions in 6 clusters" in done.stdout
    assert "To quote: on locomo-dev (sha256 79fa87e9)" in done.stdout
    found = list(csv.DictReader(pairs.read_text().splitlines()))
    assert len(found) == 6
    assert {(each["side_answer"], each["baseline_answer"]) for each in found} == {
        ("in Lake Orta", "Lake Como")
    }
    assert all(each["verdict"] == "" for each in found)


def test_the_command_refuses_unlike_runs_unless_told_and_then_says_so(tmp_path, capsys) -> None:
    made = rows({"one": often(0.5)})
    folders = write(tmp_path / "a", made), write(tmp_path / "b", made, budget=64)
    refused = evals("compare", *folders)
    assert isinstance(refused.exception, InvalidInputError)
    told = evals("compare", *folders, "--anyway", "--json")
    content = json.loads(told.stdout)
    assert content["not_alike"] == ["budget of tokens: a has 4096, b has 64"]
    assert content["comparisons"][0]["lines"]["overall"]["difference"] == 0


def test_an_unknown_score_is_refused_with_those_that_there_are(tmp_path) -> None:
    folder = write(tmp_path / "a", rows({"left": often(0), "right": often(1)}))
    done = evals("compare", folder, "--score", "strict.nothing")
    assert isinstance(done.exception, NotFoundError)
    assert "strict.contains" in str(done.exception)
    content = json.loads(evals("compare", folder, "--score", "strict.contains", "--json").stdout)
    # nine of twelve questions have an answer that could be contained
    assert content["comparisons"][0]["lines"]["overall"]["questions"] == 54


def test_seeds_are_averaged_question_by_question_and_their_deviation_stands_apart(tmp_path) -> None:
    folders = [
        write(
            tmp_path / f"s{seed}", rows({"left": often(0), "right": lambda c, q, s=seed: q % 3 == s or q > 8})
        )
        for seed in range(3)
    ]
    done = evals("compare", *folders, "--seeds", "--json")
    line = json.loads(done.stdout)["comparisons"][0]["lines"]["overall"]
    # nine questions are right in one of three seeds, three in all: (9 / 3 + 3) / 12
    assert line["side"] == pytest.approx(0.5)
    assert line["p"] is None
    assert "deviation" in evals("compare", *folders, "--seeds").stdout
