"""Which answers can be looked for, that contexts hold them in the right order, and that controls can fail."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha.errors import InvalidInputError
from memalpha.tasks.instance import Instance
from memalpha_evals import pages, suites
from memalpha_evals.cli import app
from memalpha_evals.commands import packed as command
from memalpha_evals.datasets import Conversation, Dataset, DatasetError, Question, Turn
from memalpha_evals.packed import contexts, measure, report
from memalpha_evals.packed.contexts import ROWS
from memalpha_evals.packed.measure import Result, run
from memalpha_evals.packed.questions import Asked, asking

LOCOMO = Path(__file__).parents[3] / "shared" / "data" / "locomo"
BUDGETS = (96, 512)


def name(draws: random.Random) -> str:
    return "".join(draws.choice("bdfgklmnprtvz") + draws.choice("aeiou") for _ in range(3)).capitalize()


def conversation(number: int, facts: int = 12) -> Conversation:
    """Every dog is met often, its town is told once; names occur in no other conversation."""
    draws = random.Random(number)
    turns, questions = [], []
    for place in range(facts):
        dog, town = name(draws), name(draws)
        told = f"I adopted my dog {dog} in the town of {town}. {name(draws)} liked it."
        turns.append(Turn(f"{place}", f"Ann: {told}", "2024-05-08", "Ann"))
        for walk in range(3):
            text = (
                f"I walked my dog {dog} {walk + 2} hours to {name(draws)} where {dog} was adopted by friends."
            )
            turns.append(Turn(f"{place} walk {walk}", f"Bo: {text}", "2024-05-09", "Bo"))
        asked = f"Where was the dog {dog} adopted?"
        questions.append(Question(asked, "pets", town, frozenset([f"{place}"]), ()))
    return Conversation(f"conv-{number}", tuple(turns), tuple(questions))


def dataset(conversations: int) -> Dataset:
    return Dataset("made", "0" * 64, tuple(map(conversation, range(conversations))))


def exchanged(result: Result, first: str, second: str) -> Result:
    """The same run with two rows in place of one another."""
    names = {first: second, second: first}
    return replace(
        result, cells=tuple(replace(cell, row=names.get(cell.row, cell.row)) for cell in result.cells)
    )


def holding(*texts: str) -> str:
    return "\n".join(
        ["<episodic_memory>", *(f"- (2024-05-08) {text}" for text in texts), "</episodic_memory>\n"]
    )


def asked(answer: str) -> Asked:
    return Asked("?", "pets", "one", (tuple(answer.split()),), ())


@pytest.fixture(scope="module")
def result() -> Result:
    return run(dataset(5), lambda count: None, BUDGETS)


def test_only_answers_that_stand_in_the_evidence_and_not_in_the_question_are_asked_for() -> None:
    turns = (
        Turn("1", "Ann: On May 7th, 2023 I moved to Oslo, yes.", "2024-05-08", "Ann"),
        Turn("2", "Bo: Rome is far.", "2024-05-08", "Bo"),
    )

    def question(text: str, answer: str, **fields) -> Question:
        return Question(text, fields.pop("category", "c"), answer, frozenset(["1"]), (), **fields)

    questions = (
        question("When did she move?", "7 May 2023"),
        question("Where to?", "the Norwegian capital", aliases=("Oslo",)),
        question("Did she move?", "yes"),  # stands anywhere
        question("What is far?", "Rome"),  # in the conversation, not in the evidence
        question("Did she move to Oslo or Rome?", "Oslo"),  # says it itself
        question("Who moved?", "Ann"),  # only the label says so
        question("Why?", "a job"),  # nowhere
        question("Where from?", "", unanswerable=True),
        question("Where to?", "Oslo", category="apart"),
    )
    made = Dataset("made", "", (Conversation("one", turns, questions),), apart=frozenset({"apart"}))
    found = asking(made, made.conversations[0])
    assert [each.text for each in found.asked] == ["When did she move?", "Where to?"]
    assert (found.answered, found.anywhere, found.verbatim) == (7, 4, 3)


def test_an_answer_is_held_whole_by_one_memory() -> None:
    paris = asked("paris texas")
    assert paris.held(holding("She lives in Paris, Texas."))
    assert not paris.held(holding("She lives in Paris.", "Texas is hot."))
    assert not asked("rome").held(holding("The roman."))
    assert not asked("rome").held("")


def test_oracle_is_above_extractive_and_that_above_shuffled_and_none(result: Result) -> None:
    assert result.ordered()
    for budget in BUDGETS:
        shares = {row: result.cell(row, budget).share for row in ROWS}
        assert shares["oracle"] == 1
        assert shares["extractive"] > 0.1
        # names are made up anew for each conversation
        assert shares["shuffled"] == shares["none"] == 0
        lift = result.difference("extractive", "shuffled", budget).interval
        assert lift is not None
        assert lift.low > 0


def test_more_room_holds_more_and_no_context_is_longer_than_its_room(result: Result) -> None:
    small, large = (result.cell("extractive", budget).share for budget in BUDGETS)
    assert small < large
    assert all(
        0 < result.cell(row, budget).context_tokens <= budget for row in [*ROWS][:4] for budget in BUDGETS
    )


@pytest.mark.parametrize(
    "rows", [("oracle", "shuffled"), ("extractive", "shuffled"), ("oracle", "extractive")]
)
def test_rows_in_place_of_one_another_are_found(result: Result, rows: tuple[str, str]) -> None:
    assert not exchanged(result, *rows).ordered()


def test_a_measure_that_sees_the_answer_anywhere_is_found(result: Result) -> None:
    blind = replace(result, cells=tuple(replace(cell, held=(1.0,) * 60) for cell in result.cells))
    assert not blind.ordered()


def of(result: Result, **held: list[float]) -> Result:
    """The same run with other answers held by these rows, at every budget."""
    cells = (replace(cell, held=tuple(held.get(cell.row, cell.held))) for cell in result.cells)
    return replace(result, cells=tuple(cells))


def test_equal_rows_and_a_little_more_by_chance_are_in_order_and_clearly_more_is_not(result: Result) -> None:
    # 60 questions of five conversations, 12 each
    first = [float(place % 12 < 6) for place in range(60)]
    assert of(result, oracle=first, extractive=first, shuffled=first).ordered()
    lucky = [*first[:-6], 1.0, *first[-5:]]
    assert of(result, oracle=first, extractive=first, shuffled=lucky).ordered()
    much = [float(place % 12 < 11 - place // 24) for place in range(60)]
    assert not of(result, oracle=first, extractive=first, shuffled=much).ordered()
    assert not of(result, oracle=first, extractive=lucky).ordered()
    assert not of(result, none=[1.0, *[0.0] * 59]).ordered()


def test_what_can_be_had_at_most_and_at_least_has_no_interval(result: Result) -> None:
    content = report.document(result, "nq", "2026-01-02")
    (_, _, rows), *_ = report.tables(content)
    shown = {name: cells for name, *cells in rows}
    assert shown["oracle"] == ["100.0 (–)", "100.0 (–)"]
    assert shown["none"] == ["0.0 (–)", "0.0 (–)"]
    # the control: what is drawn has one, a bound of 59 (1.95996 / 2.77645)² = 29.40 trials by five clusters
    assert shown["shuffled"] == ["0.0 (at most 11.6)", "0.0 (at most 11.6)"]


def test_what_is_known_to_be_wrong_with_the_data_stands_above_its_tables(result: Result) -> None:
    marred = replace(result, dataset=replace(result.dataset, caveats=("Some right answers are wrong.",)))
    assert report.head(report.document(marred, "nq", "2026-01-02")).endswith(". Some right answers are wrong")
    assert report.head(report.document(result, "nq", "2026-01-02")).endswith(" are asked")


def test_shuffled_asks_the_memory_of_a_conversation_half_the_set_away() -> None:
    # of three that is the next: the second says the same as the first, and so answers its questions
    same = replace(conversation(0), id="conv-same")
    made = replace(dataset(2), conversations=(conversation(0), same, conversation(1)))
    found = run(made, lambda count: None, [512])
    ours, shuffled = (found.cell(row, 512).held for row in ("extractive", "shuffled"))
    assert shuffled[:12] == ours[12:24] == ours[:12]
    assert sum(shuffled[12:]) == 0


def test_progress_counts_conversations_that_have_a_question_and_one_alone_is_refused() -> None:
    done: list[int] = []
    silent = replace(conversation(2), questions=())
    run(replace(dataset(2), conversations=(*dataset(2).conversations, silent)), done.append, [96])
    assert done == [1, 1]
    with pytest.raises(DatasetError, match="at least 2 conversations"):
        run(replace(dataset(1), conversations=(conversation(0), silent)), done.append)


def test_a_stream_that_cannot_be_memorized_is_an_error(monkeypatch) -> None:
    def shorter(id_, source, chunks, questions) -> Instance:
        return Instance(id_, source, chunks[:1], questions)

    monkeypatch.setattr(contexts, "Instance", shorter)
    with pytest.raises(DatasetError, match="conv-0: a chunk was not memorized"):
        run(dataset(2), lambda count: None, [96])


def test_a_passage_that_cannot_be_stored_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(contexts, "cut", lambda chunk, tokens: [replace(chunk, text=" ")])
    with pytest.raises(DatasetError, match="conv-0: a passage was not stored"):
        run(dataset(2), lambda count: None, [96])


def test_the_page_says_what_the_document_says(result: Result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    page = tmp_path / "packed.md"
    begin = "<!-- packed nq:begin, written by evals packed nq --write-docs -->"
    page.write_text(f"before\n{begin}\nof last year\n<!-- packed nq:end -->\nafter\n")
    content = report.document(result, "nq", "2026-01-02")
    assert json.loads(report.write_docs(content).read_text()) == content
    text = page.read_text()
    assert "of last year" not in text
    assert "Of 60 questions with an answer" in text
    assert "[all numbers](packed/2026-01-02-nq.json)" in text
    share = 100 * result.cell("extractive", 96).share
    assert f"| extractive | {share:.1f} (" in text
    page.write_text("no markers\n")
    with pytest.raises(InvalidInputError, match=r"packed\.md must hold the line <!-- packed nq:begin"):
        report.write_docs(content)


def test_the_command_prints_each_set_and_its_exit_code_tells(result: Result, monkeypatch) -> None:
    monkeypatch.setattr(suites, "load", lambda suite, data, draw: replace(dataset(2), name=suite))
    monkeypatch.setattr(measure, "run", lambda dataset, progress: result)
    runner = CliRunner()
    printed = runner.invoke(app, ["packed", "locomo", "nq", "--json"])
    assert printed.exit_code == 0
    assert [each["set"] for each in json.loads(printed.stdout)] == ["locomo", "nq"]
    shown = runner.invoke(app, ["packed", "musique"])
    assert "answer in the context, %, by tokens of the context" in shown.stdout
    monkeypatch.setattr(measure, "run", lambda dataset, progress: exchanged(result, "oracle", "shuffled"))
    wrong = runner.invoke(app, ["packed", "nq"])
    assert wrong.exit_code == command.NOT_ORDERED
    assert "NOT IN ORDER" in wrong.stdout


def test_the_command_refuses_unknown_sets_and_one_file_for_several(tmp_path) -> None:
    runner = CliRunner()
    for words in (["squad"], ["nq", "locomo", "--data", str(tmp_path)]):
        assert runner.invoke(app, ["packed", *words]).exit_code == 2


@pytest.mark.skipif(not LOCOMO.exists(), reason="needs the LoCoMo development file")
def test_as_many_of_locomos_answers_are_verbatim_as_the_reference_counts() -> None:
    made = suites.load("locomo-dev", LOCOMO)
    found = [asking(made, each) for each in made.conversations]
    answered, anywhere, verbatim = (
        sum(getattr(each, name) for each in found) for name in ("answered", "anywhere", "verbatim")
    )
    # 39.5 % of the ten conversations' answers are spans of their conversation
    assert abs(anywhere / answered - 0.395) < 0.02
    assert verbatim < anywhere
