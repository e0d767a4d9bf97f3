"""Comparisons: what is taken from what, what is claimed, and what is refused."""

import csv
import json
import re
from dataclasses import replace

import pytest
from made_runs import often, row, rows, write
from typer.testing import CliRunner

from memalpha.errors import InvalidInputError, NotFoundError
from memalpha_evals.cli import app
from memalpha_evals.compare import seeds, tables
from memalpha_evals.compare.comparable import require_comparable, unlike
from memalpha_evals.compare.measured import measured, spending
from memalpha_evals.compare.paired import compare
from memalpha_evals.compare.sides import all_opened, all_sides, by_group, matched, opened, sides
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
    # the same in every cluster: six of six on one side
    assert overall.p == 2 / 2**6
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
    first = comparisons[0].lines[0]
    assert (first.difference.interval, first.p, first.detectable) == (None, None, None)
    assert not first.clear
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
    assert (
        "To quote: on locomo-dev (sha256 79fa87e9), 54 answerable questions without adversarial of 72 in 6 "
        "clusters, each question by the score of its kind, reader extract (a rule, no model), 4,096 tokens "
        "of context: right 100.0, left 88.9, difference +11.1 (the same in every cluster, p 0.031, sign test "
        "of clusters); 0 of 72 rows of right failed, 0 of 72 rows of left failed; failed rows count as 0."
    ) in done.stdout
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
    assert "deviation" in evals("compare", *folders, "--seeds").stdout


def test_tokens_of_seeds_are_means_and_abstaining_is_left_out(tmp_path) -> None:
    folders = [
        write(tmp_path / f"s{n}", rows({"one": often(1), "two": often(0)}, context_tokens=10 * n))
        for n in range(3)
    ]
    together = seeds.together(sides(all_opened(folders)))
    assert {each.context_tokens for side in together for each in side.rows.values()} == {10}
    ((group, members),) = by_group(together).items()
    _, header, lines = tables.sides_table(group, members)
    cells = dict(zip(header, lines[0], strict=True))
    assert (cells["context"], cells["abstention precision"], cells["abstention recall"]) == ("10", "–", "–")
    (single,) = by_group(all_sides([opened(folders[0])])).items()
    assert tables.sides_table(*single)[2][0][header.index("abstention precision")] == "100.0"


def test_the_same_seed_again_and_another_policy_are_no_seeds(tmp_path) -> None:
    folders = [write(tmp_path / name, rows({"one": often(0.5)})) for name in "abc"]
    for folder, seed in zip(folders, (1, 2, 2), strict=True):
        edit(folder, lambda content, seed=seed: content["plan"].update(seed=seed))
    assert seeds.unlike(sides(all_opened(folders))) == ["seed: b, c all have 2"]
    assert seeds.unlike(sides(all_opened(folders[:2]))) == []
    edit(folders[1], lambda content: content["what"]["systems"][0]["identity"].update(policy="other"))
    refused = evals("compare", *folders[:2], "--seeds")
    assert isinstance(refused.exception, InvalidInputError)
    assert "system: one is not the same in all runs" in str(refused.exception)


def test_runs_of_one_name_are_told_apart_by_where_they_lie_and_none_is_taken_twice(tmp_path) -> None:
    made = {"x": often(0.2), "y": often(0.8)}
    folders = []
    for place, right in made.items():
        (tmp_path / place).mkdir()
        folders.append(write(tmp_path / place / "run", rows({"one": right})))
    found = sides(all_opened([*folders, write(tmp_path / "other", rows({"one": often(0.5)}))]))
    assert [side.name for side in found] == ["x/run/one", "y/run/one", "other/one"]
    pairs = [(side.name, against.name) for side, against in matched(found)]
    assert pairs == [("y/run/one", "x/run/one"), ("other/one", "x/run/one")]
    assert compare(matched(found))[0].lines[0].difference.mean > 0.3
    with pytest.raises(InvalidInputError, match="is named 2 times"):
        all_opened([folders[0], folders[0].parent / ".." / "x" / "run"])


def test_a_baseline_that_there_is_not_is_refused(tmp_path) -> None:
    folder = write(tmp_path / "a", rows({"left": often(0), "right": often(1)}))
    done = evals("compare", folder, "--baseline", "middle")
    assert isinstance(done.exception, NotFoundError)
    assert "baseline must be a side or a system, of left, right" in str(done.exception)
    assert evals("compare", folder, "--baseline", "right").exit_code == 0


def test_a_run_that_is_not_finished_is_compared_only_if_told_and_never_quoted(tmp_path) -> None:
    made = rows({"left": often(0.5), "right": often(0.5)})
    stopped = write(tmp_path / "stopped", made, state="stopped")
    short = write(tmp_path / "short", made[:-1], streams={"sha256": "ab" * 32, "questions": 72})
    for folder in (stopped, short):
        refused = evals("compare", folder)
        assert isinstance(refused.exception, InvalidInputError)
        assert f"finished: {folder.name} is not; rows are missing" in str(refused.exception)
        told = evals("compare", folder, "--anyway")
        assert f"NOT ALIKE: finished: {folder.name} is not" in told.stdout
        assert "Nothing to quote of right − left" in told.stdout
        assert "To quote" not in told.stdout
    whole = write(tmp_path / "whole", made, streams={"sha256": "ab" * 32, "questions": 72})
    assert "To quote" in evals("compare", whole).stdout


def test_a_category_that_the_paper_leaves_out_is_not_in_the_first_line_even_where_it_has_answers(run) -> None:
    made = rows({"left": often(0), "right": often(1)})
    answered = [replace(each, unanswerable=False) if each.question_id == "3" else each for each in made]
    sided = all_sides([run("a", {"left": often(0)})._replace(rows=answered)])
    (one,) = compare(matched(sided))
    assert one.lines[0].name == "answerable"
    assert one.lines[0].difference.questions == 54
    assert "without adversarial" not in [line.name for line in one.lines]


def test_a_quote_names_the_score_the_model_and_the_failures_of_both(tmp_path) -> None:
    policy = {"model": "model-x", "version": 3}
    reader = {"name": "policy", "model_free": False, "identity": {"policy": policy}}
    made = rows({"left": often(0), "right": often(1)})
    made[0] = row(system="left", failure="reader: down", answer="")
    folder = write(tmp_path / "a", made, reader=reader)
    (quote,) = (
        line
        for line in evals("compare", folder, "--score", "strict.f1").stdout.splitlines()
        if "To quote" in line
    )
    assert "score strict.f1, reader policy (model-x, version 3)" in quote
    assert re.search(
        r"difference \+\d\d\.\d \(95 % \+\d\d\.\d to \+\d\d\.\d, p < \.001, t over clusters\)", quote
    )
    assert "0 of 72 rows of right failed, 1 of 72 rows of left failed" in quote


def test_pairs_that_cannot_be_written_are_an_error_that_says_where(tmp_path) -> None:
    folder = write(tmp_path / "a", rows({"left": often(0), "right": often(1)}))
    for path in (tmp_path / "none" / "pairs.csv", tmp_path):
        done = evals("compare", folder, "--pairs", path)
        assert isinstance(done.exception, InvalidInputError)
        assert f"pairs cannot be written to {path}" in str(done.exception)


def edit(folder, change) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def test_one_comparison_has_nothing_to_correct_for_and_two_have(tmp_path) -> None:
    right = {"a": often(0.2), "b": often(0.8), "c": often(0.5)}
    two = write(tmp_path / "two", rows({name: right[name] for name in "ab"}))
    three = write(tmp_path / "three", rows(right))
    one, several = (evals("compare", folder).stdout for folder in (two, three))
    assert "p (Holm)" not in one
    assert "p (Holm)" in several
    lines = json.loads(evals("compare", two, "--json").stdout)["comparisons"][0]["lines"]
    assert lines["answerable"]["p_holm"] is None
    assert lines["answerable"]["freedom"] == pytest.approx(5)


def test_systems_are_named_as_a_run_names_them(tmp_path) -> None:
    folder = write(tmp_path / "a", rows({name: often(0.5) for name in ("one", "two", "three")}))
    for named in (["--systems", "one,three"], ["--system", "one", "--systems", "three"]):
        done = json.loads(evals("compare", folder, *named, "--json").stdout)
        assert [(each["side"], each["baseline"]) for each in done["comparisons"]] == [("three", "one")]


def test_what_is_clear_alone_and_not_among_several_is_neither_marked_nor_called_clear(run) -> None:
    # mean 5/6 and error 0.307 of a question, t(5) = 2.71: by itself p is .042, and .084 among two
    def some(conversation, question):
        return question < (0, 0, 1, 1, 1, 2)[conversation]

    systems = {"none": often(0), "some": some, "also": often(0.03, seed=3)}
    first, *_ = compare(matched(all_sides([run("a", systems)])))
    alone, *_ = compare(matched(all_sides([run("b", {name: systems[name] for name in ("none", "some")})])))
    assert alone.lines[0].clear  # the control
    assert first.lines[0].p == alone.lines[0].p
    assert not first.lines[0].clear
    ((_, header, lines), *_) = tables.difference_tables([first])
    assert "*" not in lines[0][header.index("difference")]
    verdict, quote, *_ = sentences([first])
    assert "not clear among 2 comparisons;" in verdict
    assert f"p {first.lines[0].adjusted:.3f} (Holm, 2 comparisons), t over clusters" in quote
    assert "Holm" not in next(iter(tables.quotes([alone])))


def test_a_report_says_over_how_many_rows_each_column_is(run) -> None:
    found = compare(matched(all_sides([run("a", {"left": often(0), "right": often(1)})])))
    said = " ".join(sentences(found))
    ((group, members),) = by_group(all_sides([run("c", {"left": often(0)})])).items()
    _, header, _ = tables.sides_table(group, members)
    for column in ("failed", "cut", "evidence in context", "abstention precision", "abstention recall"):
        assert column in header
        told = said.partition("A score is over as many rows as")[2].partition("Failed rows")[0]
        assert f"`{column}`" in told


def test_a_comparison_prints_what_has_to_be_said_of_its_data_and_reader_once(tmp_path) -> None:
    folders = [
        write(tmp_path / name, rows({"one": often(share)})) for name, share in (("a", 0.2), ("b", 0.8))
    ]
    said = evals("compare", *folders).stdout
    assert said.count("note: Some right answers are wrong.") == 1
    assert said.count("note: The reader is a rule, not a model") == 1
    content = json.loads(evals("compare", *folders, "--json").stdout)
    assert content["caveats"][0] == "Some right answers are wrong."


def test_no_score_of_0_and_no_equal_difference_is_given_the_interval_of_a_point(run) -> None:
    found = run("a", {"never": often(0), "always": often(1)})
    ((group, members),) = by_group(all_sides([found])).items()
    _, header, lines = tables.sides_table(group, members)
    # 54 questions in six conversations: 53 (1.95996 / 2.57058)² = 30.81 trials, 3.8415 / (30.81 + 3.8415)
    assert [line[header.index("interval")] for line in lines] == ["at most 11.1", "at least 88.9"]
    (one,) = compare(matched(members))
    ((_, header, lines),) = tables.difference_tables([one])
    assert lines[0][header.index("interval")] == "–"
    assert any("in 6 clusters, the same in each: clear of zero." in each for each in sentences([one]))
    assert any("no interval, and p is the sign test's" in each for each in sentences([one]))
