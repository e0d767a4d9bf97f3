"""A rubric is graded nugget by nugget, strictly read, and its score says which model gave it."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from made_judges import AT_ONCE, Failing, Scripted
from made_runs import row, write
from typer.testing import CliRunner

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity
from memalpha.errors import InvalidInputError, make
from memalpha_evals import runs
from memalpha_evals.cli import app
from memalpha_evals.commands import judge as commands_judge
from memalpha_evals.compare.comparable import other_judges
from memalpha_evals.compare.sides import all_sides, opened
from memalpha_evals.datasets.base import Question
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.judges import prompts
from memalpha_evals.judges.judge import Case, Judge, grade
from memalpha_evals.judges.judging import judge_known, judge_rows
from memalpha_evals.runs.asking import asked_fields
from memalpha_evals.streams import AskedQuestion

RUBRIC = prompts.load("rubric")


def by_words(prompt: str, seed: int) -> str:
    """1 if the whole requirement stands in the answer, 0.5 if its first word does, else 0."""
    lines = dict(line.split(": ", 1) for line in prompt.splitlines() if ": " in line)
    wanted, answer = lines["Requirement"], lines["Answer to grade"]
    score = 1 if wanted in answer else 0.5 if wanted.split()[0] in answer else 0
    return json.dumps({"reason": "words", "score": score})


def always(prompt: str, seed: int) -> str:
    return '{"reason": "fine", "score": 1}'


def judged_row(number: int, answer: str, *rubric: str, failure: str = ""):
    return replace(row(question=number, answer=answer), rubric=rubric, failure=failure)


def nothing(count: int) -> None:
    pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"reason": "all of it", "score": 1}', 1),
        ('```json\n{"score": 0.5}\n```', 0.5),
        ('<think>{"score": 1}</think>{"score": 0.0}', 0),
        ('{"score": 0.7}', None),
        ('{"score": "1"}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"grade": 1}', None),
        ('{"score": 1} or {"score": 0}', None),
        ("1", None),
        ("", None),
        ('<think>{"score": 1}', None),
    ],
)
def test_a_grade_is_the_score_of_one_object_and_only_one_of_three_numbers(text, said) -> None:
    assert grade(text) == said


async def test_the_middle_grade_counts_and_one_that_cannot_be_read_is_0() -> None:
    said = ['{"score": 1}', "hm", '{"score": 0.5}']
    judge = Judge(Scripted(lambda prompt, seed: said[seed]), RUBRIC, votes=3, temperature=0.7)
    verdict = await judge.verdict(Case("Where?", "Lake Orta", "Orta"))
    # of 1, 0 and 0.5 the middle one is 0.5
    assert (verdict.score, verdict.votes, verdict.unread) == (0.5, (1, None, 0.5), 1)


async def test_a_rubrics_score_is_the_mean_of_its_nuggets_each_asked_by_itself() -> None:
    made = [
        judged_row(0, "Lake Orta in May", "Lake Orta", "with Ann"),
        judged_row(1, "Lake Como", "Lake Orta"),
        judged_row(2, "Lake Orta in May", "Lake Orta", "in May", "with Ann", "by boat"),
        judged_row(4, "Lake Orta", "Lake Orta", failure="down"),
        judged_row(5, "Lake Orta"),
    ]
    policy = Scripted(by_words)
    found = await judge_rows(Judge(policy, RUBRIC), made, nothing)
    # (1 + 0) / 2; first word only; (1 + 1 + 0 + 0) / 4; failed; without a rubric
    assert [one.scores.get("judge.rubric") for one in found] == [0.5, 0.5, 0.5, 0, None]
    assert len(policy.asked) == 2 + 1 + 4
    for before, after in zip(made, found, strict=True):
        assert {**after.scores, **before.scores} == after.scores
    # a judge that always says 1 gives everything that is answered
    lenient = await judge_rows(Judge(Scripted(always), RUBRIC), made, nothing)
    assert [one.scores.get("judge.rubric") for one in lenient] == [1, 1, 1, 0, None]


async def test_nuggets_that_were_graded_are_never_asked_again(tmp_path) -> None:
    kept, done = tmp_path / "verdicts.jsonl", list[int]()
    made = [judged_row(0, "Lake Orta", "Lake Orta", "Lake Como", "by boat")]
    broken = Failing(by_words, [make(InvalidInputError, "X", "no")])
    with pytest.raises(InvalidInputError, match="no"):
        await judge_rows(Judge(broken, RUBRIC), made, done.append, kept, AT_ONCE)
    assert (len(broken.asked), sum(done)) == (2, 2)
    again = Scripted(by_words)
    (found,) = await judge_rows(Judge(again, RUBRIC), made, done.append, kept, AT_ONCE)
    assert (len(again.asked), sum(done)) == (1, 2 + 3)
    # 1, the first word of the second, 0
    assert found.scores["judge.rubric"] == pytest.approx(1.5 / 3)
    (same,) = await judge_rows(Judge(Failing(always, []), RUBRIC), made, done.append, kept, AT_ONCE)
    assert same.scores == found.scores


async def test_rows_without_rubrics_and_calibrations_are_refused() -> None:
    judge = Judge(Scripted(always), RUBRIC)
    with pytest.raises(InvalidInputError, match="needs rows with a rubric"):
        await judge_rows(judge, [row()], nothing)
    with pytest.raises(InvalidInputError, match="asks for nuggets"):
        await judge_known(judge, [], nothing)


def test_a_prompt_grades_if_it_names_a_nugget(tmp_path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Has $answer to $question the $nugget?")
    assert prompts.load(str(own)).graded
    assert not prompts.load("strict").graded
    own.write_text("Is $answer to $question $right, and has it the $nugget?")
    with pytest.raises(InvalidInputError, match=r"\$right or \$nugget"):
        prompts.load(str(own))
    own.write_text("Is $line of $question the $nugget?")
    assert prompts.load(str(own)).ordered


def test_a_row_keeps_the_rubric_of_its_question_and_a_row_of_before_has_none() -> None:
    question = Question("Where?", "x", "Lake Orta", frozenset(), (), rubric=("says Lake Orta",))
    assert asked_fields(AskedQuestion("0", question, 1), "judge")["rubric"] == ("says Lake Orta",)
    old = row().to_dict()
    del old["rubric"]
    assert row().from_dict(old).rubric == ()


@pytest.fixture
def served(monkeypatch):
    """Whatever is named is a policy that grades by words."""

    @asynccontextmanager
    async def endpoint(spec):
        description = GetPolicyResponse(policy=PolicyIdentity(policy_id=spec), engine="stub", model=spec)
        policy: Any = Scripted(by_words)
        yield Endpoint(spec, policy, description)

    monkeypatch.setattr(commands_judge, "endpoint", endpoint)


def test_the_report_says_that_a_model_judges_and_which(tmp_path, served) -> None:
    made = [judged_row(n, "Lake Orta", "Lake Orta", "by boat") for n in (0, 1)] + [row(question=2)]
    first, second = (write(tmp_path / name, made) for name in "ab")
    for folder, model in ((first, "large-1"), (second, "small-2")):
        done = CliRunner().invoke(app, ["judge", "run", str(folder), "--policy", model, "--prompt", "rubric"])
        assert done.exit_code == 0, done.output
        assert "2 rows judged as judge.rubric" in done.output
    assert [one.scores.get("judge.rubric") for one in runs.read(first).rows] == [0.5, 0.5, None]
    text = (first / "report.md").read_text()
    assert "a model judges: large-1 by engine stub, 1 vote" in text
    assert "| judge.rubric | 2 | 50.0 |" in text
    sides = all_sides([opened(first), opened(second)])
    (sentence,) = other_judges(sides, "judge.rubric")
    assert "large-1" in sentence
    assert "small-2" in sentence
    assert other_judges(sides, "strict.contains") == []
