"""Judges are read strictly, vote by majority, and are only worth what their calibration says."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_judges import AT_ONCE, Failing, Scripted
from made_runs import often, row, rows, write
from typer.testing import CliRunner

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity
from memalpha.errors import (
    BusyError,
    CorruptionError,
    InternalError,
    InvalidInputError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memalpha_evals import runs
from memalpha_evals.cli import app
from memalpha_evals.commands import judge as commands_judge
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.judges import audit, prompts
from memalpha_evals.judges.calibration import Judged, calibration
from memalpha_evals.judges.judge import Case, Judge, vote
from memalpha_evals.judges.judging import judge_known, judge_rows
from memalpha_evals.judges.verdicts import Verdicts
from memalpha_evals.scheduler import Outage

ERRORS = Path(__file__).parents[3] / "shared" / "data" / "locomo" / "locomo_audit_errors.dev.json"
CASE = Case("Where does Bo swim?", "Lake Orta", "in Lake Orta")


def judge(says, **given) -> Judge:
    return Judge(Scripted(says), prompts.load("strict"), **given)


def same_words(prompt: str, seed: int) -> str:
    """Correct if the right answer stands in the graded one."""
    lines = dict(line.split(": ", 1) for line in prompt.splitlines() if ": " in line)
    return "CORRECT" if lines["Right answer"] in lines["Answer to grade"] else "WRONG"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CORRECT", True),
        ("It says the same.\n**Correct.**\n", True),
        ("<think>WRONG</think>CORRECT", True),
        ("wrong", False),
        ("The answer is CORRECT", None),
        ("CORRECT\nor WRONG", None),
        ("CORRECT or WRONG", None),
        ("INCORRECT", None),
        ("", None),
        ("<think>CORRECT", None),
    ],
)
def test_a_vote_is_its_last_line_and_only_one_of_two_words(text, said) -> None:
    assert vote(text) == said


async def test_most_votes_decide_what_cannot_be_read_is_against_and_seeds_differ() -> None:
    said = {0: "CORRECT", 1: "perhaps", 2: "CORRECT"}
    for_it = judge(lambda prompt, seed: said[seed], votes=3, temperature=0.7)
    verdict = await for_it.verdict(CASE)
    assert (verdict.score, verdict.votes, verdict.unread) == (1, (1, None, 1), 1)
    assert (verdict.usage.calls, verdict.usage.prompt_tokens) == (3, 300)
    against = await judge(
        lambda prompt, seed: "CORRECT" if seed == 0 else "hm", votes=3, temperature=1
    ).verdict(CASE)
    assert against.score == 0


async def test_an_empty_answer_is_wrong_without_a_vote() -> None:
    policy = Scripted(lambda prompt, seed: "CORRECT")
    generous = Judge(policy, prompts.load("generous"))
    assert (await generous.verdict(CASE._replace(answer=" "))).score == 0
    assert policy.asked == []


async def test_what_an_answer_says_is_not_filled_in_again() -> None:
    policy = Scripted(lambda prompt, seed: "WRONG")
    await Judge(policy, prompts.load("strict")).verdict(CASE._replace(answer="$right and $nothing"))
    assert "Answer to grade: $right and $nothing" in policy.asked[0][0]


@pytest.mark.parametrize("given", [{"votes": 2}, {"votes": 0}, {"votes": 3}])
def test_votes_that_could_be_tied_or_cannot_differ_are_refused(given) -> None:
    with pytest.raises(InvalidInputError, match="votes"):
        judge(same_words, **given)


def test_prompts_are_known_by_their_digest_and_must_use_their_fields(tmp_path) -> None:
    assert {"strict", "generous", "abstention"} <= set(prompts.BUILT_IN)
    assert len({prompts.load(name).sha256 for name in prompts.BUILT_IN}) == len(prompts.BUILT_IN)
    own = tmp_path / "own.txt"
    own.write_text("Is $answer to $question the same as $right?")
    assert prompts.load(str(own)).name == "own"
    own.write_text("Is $answer right?")
    for name in (str(own), "nothing"):
        with pytest.raises(InvalidInputError):
            prompts.load(name)


def width(interval) -> float:
    return interval.high - interval.low


def judged(right, accepted, count, clusters=0, source="v1.json") -> list[Judged]:
    """Each answer in a cluster of its own, unless their number is given."""
    return [
        Judged(source, f"{accepted} {place % (clusters or count)}", right, accepted, 0)
        for place in range(count)
    ]


def test_a_corrected_accuracy_takes_out_what_a_judge_gives_away() -> None:
    # 90 of 100 right answers accepted, 60 of 100 wrong ones: (0.75 - 0.6) / (0.9 - 0.6) = 0.5
    generous = calibration(
        [
            *judged(True, True, 90),
            *judged(True, False, 10),
            *judged(False, True, 60),
            *judged(False, False, 40),
        ]
    )
    assert (generous.right.share, generous.wrong.share) == (0.9, 0.6)
    found = generous.corrected(0.75, 0.01)
    assert found.value == pytest.approx(0.5)
    strict = calibration(
        [
            *judged(True, True, 90),
            *judged(True, False, 10),
            *judged(False, True, 2),
            *judged(False, False, 98),
        ]
    )
    narrow = strict.corrected(0.46, 0.01)
    assert narrow.value == pytest.approx(0.5)
    # the closer both rates are, the less a score says
    assert width(found.interval) > 2 * width(narrow.interval)
    assert generous.corrected(0.99, 0.01).value == 1


def test_a_rate_of_few_conversations_is_less_sure_than_one_of_as_many_independent_answers() -> None:
    # answers of a cluster are all accepted or all refused: 10 clusters tell as much as about 10 answers
    alone = calibration([*judged(True, True, 60), *judged(True, False, 40), *judged(False, False, 100)])
    together = calibration(
        [*judged(True, True, 60, 6), *judged(True, False, 40, 4), *judged(False, False, 100)]
    )
    assert (alone.right.clusters, together.right.clusters) == (100, 10)
    assert together.right.share == alone.right.share
    # variance of a mean of G equal clusters: p (1 - p) / (G - 1)
    assert together.right.effective == pytest.approx(9)
    assert alone.right.effective == pytest.approx(99)
    few = calibration([*judged(True, True, 60, 2), *judged(True, False, 40, 2), *judged(False, False, 100)])
    assert few.right.interval is None
    assert few.corrected(0.5, 0.01).interval is None
    assert alone.corrected(0.5, None).interval is None


def test_a_judge_that_cannot_tell_right_from_wrong_gives_no_accuracy() -> None:
    useless = calibration([*judged(True, True, 5), *judged(False, True, 5)])
    with pytest.raises(UnsupportedError, match="no accuracy follows"):
        useless.corrected(0.9, 0.01)
    with pytest.raises(UnsupportedError, match="right and wrong"):
        calibration(judged(True, True, 5))


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    """Made-up wrong answers in the audit's form, and the audit; one right answer of the data is wrong."""
    entries = [
        {
            "question_id": "q1",
            "question": "Where?",
            "golden_answer": "Lake Orta",
            "generated_answer": "a lake",
        },
        {"question_id": "q2", "question": "When?", "golden_answer": 2022, "generated_answer": "in 2021"},
        {"question_id": "q3", "question": "Who?", "golden_answer": "Ann", "generated_answer": "Bo"},
        {"question_id": "q4", "question": "What?", "golden_answer": "tea", "generated_answer": "tea"},
    ]
    errors = [
        {"question_id": "q3", "error_type": "HALLUCINATION"},
        {"question_id": "q2", "error_type": "WRONG_CITATION"},
    ]
    answers, found = tmp_path / "v1.json", tmp_path / "errors.json"
    answers.write_text(json.dumps({"detailed_results": {"conv": entries}}))
    found.write_text(json.dumps(errors))
    return answers, found


def test_an_audit_gives_right_and_wrong_answers_without_the_questions_whose_key_is_wrong(files) -> None:
    answers, errors = files
    known = audit.known([answers, answers], errors)
    rights = [each.case for each in known if each.correct]
    assert [(case.question, case.answer) for case in rights] == [
        ("Where?", "Lake Orta"),
        ("When?", "2022"),
        ("What?", "tea"),
    ]
    wrong = {(each.case.answer, each.source) for each in known if not each.correct}
    # `tea` was made up to be wrong, but is right
    assert wrong == {("a lake", "v1.json"), ("in 2021", "v1.json")}
    assert len(audit.known([answers])) == 4 + 3


def test_lines_of_ones_own_are_read_and_other_forms_are_refused(tmp_path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"question": "Where?", "right": "Orta", "answer": "Como", "correct": false}\n')
    assert audit.known([own]) == [(("Where?", "Orta", "Como"), False, "own.jsonl", "Where?")]
    for name, content in (
        ("a.jsonl", "{}"),
        ("f.jsonl", "[1]"),
        ("g.jsonl", '{"question": {}, "right": "Orta", "answer": "Como", "correct": false}'),
        ("h.json", '{"detailed_results": {"conv": 1}}'),
        ("i.json", '{"detailed_results": {"conv": ["q1"]}}'),
        ("j.json", '{"detailed_results": {"conv": [{"question": "Where?", "golden_answer": "Orta"}]}}'),
        # As words it would be taken for right.
        ("e.jsonl", '{"question": "Where?", "right": "Orta", "answer": "Como", "correct": "false"}'),
        ("b.json", "[]"),
        ("c.json", "{"),
        ("d.json", '{"detailed_results": 1}'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InvalidInputError, match=name):
            audit.known([tmp_path / name])


def test_an_error_names_the_line_or_the_entry_and_the_field(tmp_path) -> None:
    own, made, errors = (tmp_path / name for name in ("own.jsonl", "v1.json", "errors.json"))
    good = '{"question": "Where?", "right": "Orta", "answer": "Como", "correct": false}\n'
    own.write_text(good + "\n" + '{"question": "Where?", "right": "Orta", "correct": true}\n')
    with pytest.raises(InvalidInputError, match=r"own.jsonl .* in line 3: answer: Field required"):
        audit.known([own])
    entry = {"question": "Where?", "golden_answer": "Orta", "generated_answer": ["Como"]}
    made.write_text(json.dumps({"detailed_results": {"conv": [entry]}}))
    with pytest.raises(InvalidInputError, match=r"v1.json .*: detailed_results.conv.0.generated_answer: "):
        audit.known([made])
    errors.write_text('[{"question_id": ["q1"], "error_type": "HALLUCINATION"}]')
    with pytest.raises(InvalidInputError, match=r"errors.json .*: 0.question_id: "):
        audit.known([made], errors)


@pytest.mark.skipif(not ERRORS.exists(), reason="the audit of LoCoMo is not at hand")
def test_the_audits_real_list_of_errors_is_read(tmp_path) -> None:
    listed = json.loads(ERRORS.read_text())
    wrong = next(each["question_id"] for each in listed if each["error_type"] != "WRONG_CITATION")
    entry = {"question": "Where?", "golden_answer": "Orta", "generated_answer": "Como"}
    made = tmp_path / "v1.json"
    entries = [{"question_id": wrong, **entry}, {"question_id": "other", **entry, "question": "When?"}]
    made.write_text(json.dumps({"detailed_results": {"conv": entries}}))
    assert {each.case.question for each in audit.known([made], ERRORS)} == {"When?"}


async def test_a_calibration_runs_from_files_to_rates(files) -> None:
    answers, errors = files
    done: list[int] = []
    found = calibration(await judge_known(judge(same_words), audit.known([answers], errors), done.append))
    assert (found.right.share, found.wrong.share) == (1, 0)
    assert sum(done) == found.right.judged + found.wrong.judged
    lenient = calibration(
        await judge_known(judge(lambda prompt, seed: "CORRECT"), audit.known([answers], errors), done.append)
    )
    assert lenient.by_source["v1.json"].share == 1


async def test_a_judges_score_stands_beside_the_others_and_changes_no_headline(tmp_path) -> None:
    made = [*rows({"one": often(0.5)}, conversations=1), row(question=50, failure="down", answer="Lake Orta")]
    found = await judge_rows(judge(lambda prompt, seed: "CORRECT"), made, lambda count: None)
    for before, after in zip(made, found, strict=True):
        assert after.scores["judge.strict"] == (0 if before.failure else 1)
        assert {**before.scores, "judge.strict": after.scores["judge.strict"]} == after.scores


def answers(count: int) -> list:
    return [row(question=number, answer=f"Lake {number}") for number in range(count)]


async def test_a_call_that_fails_is_made_again_and_a_busy_judge_is_waited_for() -> None:
    errors = [make(BusyError, "BUSY", "later"), make(InternalError, "X", "no")]
    policy = Failing(lambda prompt, seed: "CORRECT", errors)
    found = await judge_rows(
        Judge(policy, prompts.load("strict")), answers(3), lambda count: None, None, AT_ONCE
    )
    assert [one.scores["judge.strict"] for one in found] == [1.0] * 3


async def test_what_was_judged_is_kept_and_only_the_rest_is_asked_when_it_goes_on(tmp_path) -> None:
    kept, done = tmp_path / "verdicts.jsonl", list[int]()
    broken = Failing(lambda prompt, seed: "CORRECT", [make(InvalidInputError, "X", "no")])
    strict = prompts.load("strict")
    with pytest.raises(InvalidInputError):
        await judge_rows(Judge(broken, strict), answers(4), done.append, kept, AT_ONCE)
    assert (len(broken.asked), sum(done)) == (3, 3)
    with kept.open("a") as file:
        file.write('{"key": "torn')
    again = Scripted(lambda prompt, seed: "WRONG")
    found = await judge_rows(Judge(again, strict), answers(4), done.append, kept, AT_ONCE)
    assert sorted(one.scores["judge.strict"] for one in found) == [0.0, 1.0, 1.0, 1.0]
    assert (len(again.asked), sum(done)) == (1, 3 + 4)
    # another model, prompt or number of votes is another judge
    for other in (
        Judge(again, strict, model={"id": "other"}),
        Judge(again, prompts.load("generous")),
        Judge(again, strict, votes=3, temperature=1.0),
    ):
        before = len(again.asked)
        await judge_rows(other, answers(4), done.append, kept, AT_ONCE)
        assert len(again.asked) - before == 4 * other.votes


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"usage": None}, "usage: "),
        ({"votes": "CORRECT"}, "votes: "),
        ({"score": None}, "score: Field required"),
        ({"usage": {"calls": "many"}}, "usage.calls: "),
    ],
)
async def test_a_line_that_is_no_verdict_is_named_with_file_line_and_field(change, fault, tmp_path) -> None:
    kept, strict = tmp_path / "verdicts.jsonl", prompts.load("strict")
    says = Judge(Scripted(lambda prompt, seed: "CORRECT"), strict)
    await judge_rows(says, answers(2), lambda count: None, kept, AT_ONCE)
    first, second = kept.read_text().splitlines()
    kept.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(CorruptionError, match=rf"verdicts.jsonl, line 2 is no verdict: {fault}"):
        await judge_rows(says, answers(2), lambda count: None, kept, AT_ONCE)


async def test_a_verdict_of_before_there_were_grades_is_still_one(tmp_path) -> None:
    kept = tmp_path / "verdicts.jsonl"
    says = Judge(Scripted(lambda prompt, seed: "CORRECT"), prompts.load("strict"))
    await judge_rows(says, answers(1), lambda count: None, kept, AT_ONCE)
    old = json.loads(kept.read_text())
    del old["score"], old["case"]
    kept.write_text(json.dumps(old | {"correct": True}) + "\n")
    silent = Judge(Failing(lambda prompt, seed: "", [make(InvalidInputError, "X", "no")]), says.prompt)
    (found,) = await judge_rows(silent, answers(1), lambda count: None, kept, AT_ONCE)
    assert found.scores["judge.strict"] == 1


async def test_a_choice_is_judged_by_the_texts_of_its_options() -> None:
    policy = Scripted(same_words)
    options = ("Running", "Wood carving")
    chosen = [
        replace(row(question=n, answer=said), answers=("b",), options=options)
        for n, said in enumerate(("(b)", "a", "hm"))
    ]
    found = await judge_rows(Judge(policy, prompts.load("strict")), chosen, lambda count: None)
    # `b` stands in the answer `hm, b...` of nobody: only the text tells that both are the same
    assert [one.scores["judge.strict"] for one in found] == [1, 0, 0]
    asked = "".join(prompt for prompt, *_ in policy.asked)
    assert asked.count("Right answer: (b) Wood carving") == 3
    assert "Answer to grade: (b) Wood carving" in asked
    assert "Answer to grade: (a) Running" in asked
    assert "Answer to grade: hm" in asked


async def test_a_judge_that_is_away_stops_everything() -> None:
    away = Failing(lambda prompt, seed: "", [make(UnavailableError, "UNAVAILABLE", "nobody")] * 99)
    with pytest.raises(Outage, match="nobody"):
        await judge_rows(Judge(away, prompts.load("strict")), answers(4), lambda count: None, None, AT_ONCE)


@pytest.fixture
def served(monkeypatch):
    """Whatever is named is a policy that knows right answers by their words."""

    @asynccontextmanager
    async def endpoint(spec):
        description = GetPolicyResponse(policy=PolicyIdentity(policy_id="judge"), model=spec)
        policy: Any = Scripted(same_words)
        yield Endpoint(spec, policy, description, base_url=where["url"])

    where = {"url": "https://one.example/v1"}
    monkeypatch.setattr(commands_judge, "endpoint", endpoint)
    return where


def test_the_command_prints_a_calibration_and_what_a_score_is_worth(files, served, monkeypatch) -> None:
    answers, errors = map(str, files)
    command = [
        "judge",
        "calibrate",
        "--policy",
        "m",
        "--answers",
        answers,
        "--audit",
        errors,
        "--score",
        "0.6",
        "--error",
        "0.01",
    ]
    content = json.loads(CliRunner().invoke(app, command).stdout)
    assert content["true_positive_rate"]["rate"] == 1
    assert content["true_positive_rate"]["clusters"] == 1
    assert content["false_positive_rate_by_source"]["v1.json"]["rate"] == 0
    assert content["prompt_sha256"] == prompts.load("strict").sha256
    assert content["accuracy"] == pytest.approx(0.6)
    # what was asked is kept with its verdicts, and a second call asks for none of them
    kept = Path(content["verdicts"])
    assert kept == Path(answers).with_name("v1.verdicts.jsonl")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    accepted = [each["case"] for each in lines if each["score"] == 1]
    assert all(case["right"] in case["answer"] for case in accepted)
    silent = Failing(same_words, [make(InvalidInputError, "X", "asked again")] * 9)
    monkeypatch.setattr(Scripted, "generate", silent.generate)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == content
    elsewhere = CliRunner().invoke(app, [*command, "--verdicts", str(kept.with_name("new.jsonl"))])
    assert "asked again" in str(elsewhere.exception)
    # all answers are about one conversation, and one conversation gives no interval
    assert content["interval"] is content["false_positive_rate"]["interval"] is None


def test_the_same_name_at_another_address_is_another_judge(files, served, monkeypatch) -> None:
    command = ["judge", "calibrate", "--policy", "openai:m", "--answers", str(files[0])]
    assert CliRunner().invoke(app, command).exit_code == 0
    silent = Failing(same_words, [make(InvalidInputError, "X", "asked again")] * 9)
    monkeypatch.setattr(Scripted, "generate", silent.generate)
    assert CliRunner().invoke(app, command).exit_code == 0
    served["url"] = "https://two.example/v1"
    assert "asked again" in str(CliRunner().invoke(app, command).exception)


async def test_nothing_is_asked_whose_verdict_cannot_be_kept(tmp_path) -> None:
    policy = Scripted(same_words)
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere" / "verdicts.jsonl", tmp_path / "file" / "verdicts.jsonl"):
        with pytest.raises(InvalidInputError, match="can be written"):
            await judge_rows(Judge(policy, prompts.load("strict")), answers(2), lambda count: None, path)
    assert policy.asked == []


async def test_two_do_not_pay_for_the_same_verdicts_at_once(tmp_path) -> None:
    kept, policy = tmp_path / "verdicts.jsonl", Scripted(same_words)
    says = Judge(policy, prompts.load("strict"))
    with Verdicts(says, kept):
        with pytest.raises(BusyError, match="in use by another process"):
            await judge_rows(says, answers(2), lambda count: None, kept)
        assert policy.asked == []
    await judge_rows(says, answers(2), lambda count: None, kept)
    kept.write_text("{}\n")
    for _ in range(2):  # the lock is not kept by the one that failed
        with pytest.raises(CorruptionError):
            Verdicts(says, kept)


def test_a_calibration_counts_the_rows_of_a_run_and_their_clusters(tmp_path, served) -> None:
    folder = write(tmp_path / "run", rows({"one": often(0.5)}))
    known = tmp_path / "own.jsonl"
    cases = [
        {"question": f"Q{n}?", "right": "Orta", "answer": answer, "correct": answer == "Orta"}
        for n in range(30)
        for answer in ("Orta", "Como")
    ]
    known.write_text("".join(json.dumps(each) + "\n" for each in cases))
    command = ["judge", "calibrate", "--policy", "m", "--answers", str(known), "--run", str(folder)]
    assert "evals judge run" in str(CliRunner().invoke(app, command).exception)
    assert CliRunner().invoke(app, ["judge", "run", str(folder), "--policy", "m"]).exit_code == 0
    found = json.loads(CliRunner().invoke(app, command).stdout)["systems"]["one"]
    judged = [one.scores["judge.strict"] for one in runs.read(folder).rows]
    assert found["rows"] == len(judged)
    assert found["clusters"] == len({one.cluster for one in runs.read(folder).rows})
    assert found["score"] == found["accuracy"] == pytest.approx(sum(judged) / len(judged))
    assert found["interval"][0] < found["score"] < found["interval"][1]
    other = CliRunner().invoke(app, [*command, "--votes", "3", "--temperature", "0.7"])
    assert "of another judge" in str(other.exception)


def test_the_command_judges_a_run_and_writes_its_reports(tmp_path, served) -> None:
    folder = write(tmp_path / "run", rows({"one": often(0.5)}))
    done = CliRunner().invoke(app, ["judge", "run", str(folder), "--policy", "m"])
    assert done.exit_code == 0, done.output
    for one in runs.read(folder).rows:
        assert one.scores["judge.strict"] == float("Lake Orta" in one.answer)
    assert "| judge.strict | 72 |" in (folder / "report.md").read_text()
