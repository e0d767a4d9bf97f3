"""What counts as held, what writers may store, and that chance, canary and page are what they say."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha.agent.prompts import PromptView
from memalpha.errors import InvalidInputError
from memalpha.tasks.stats import Interval
from memalpha.tasks.writers import ScriptedPolicy, Verbatim
from memalpha_evals import pages
from memalpha_evals.cli import app
from memalpha_evals.construct import measure, report
from memalpha_evals.construct.measure import EXTRACTIVE, SCRIPTED, WRITERS, Result, run
from memalpha_evals.construct.writers import LONGEST, Chosen
from memalpha_evals.coverage import content, held_pairs, held_words
from memalpha_evals.datasets import Conversation, Dataset, DatasetError, Question, Turn, locomo
from memcore import count_tokens

LOCOMO_DEV = Path(__file__).parents[3] / "shared" / "data" / "locomo" / "locomo10.dev.json.gz"
TINY = Path(__file__).parent / "data" / "tiny_locomo.json"
CHATTER = "Haha, that sounds so nice! Wow, thank you so much. I hope you have a great day."


def name(draws: random.Random) -> str:
    return "".join(draws.choice("bdfgklmnprtvz") + draws.choice("aeiou") for _ in range(3))


def conversation(number: int, facts: int = 12) -> Conversation:
    """Facts among chatter; names occur in no other conversation. Each question asks for one fact."""
    draws = random.Random(number)
    turns, questions = [], []
    for place in range(facts):
        kind, dog, town, street = (name(draws) for _ in range(4))
        text = f"I adopted a {kind} dog, {dog.capitalize()}, in {town.capitalize()} {street.capitalize()}."
        turns.append(Turn(f"{place}", f"Ann: {text}", "2024-05-08", "Ann"))
        turns.append(Turn(f"{place} chatter", f"Bo: {CHATTER} {dog}?", "2024-05-08", "Bo"))
        asked = f"Where is {dog.capitalize()} from?"
        questions.append(Question(asked, "pets", town, frozenset([f"{place}"]), ()))
    return Conversation(f"conv-{number}", tuple(turns), tuple(questions))


def dataset(conversations: int) -> Dataset:
    return Dataset("made", "0" * 64, tuple(conversation(number) for number in range(conversations)))


@pytest.fixture(scope="module")
def result() -> Result:
    return run(dataset(6), [0.2, 0.6], 0, lambda chunks: None)


def view(chunk: str) -> PromptView:
    return PromptView("", 512, [], [], chunk, "2024-05-08", "")


def stored(writer: Chosen, chunk: str) -> list[str]:
    return [str(call.arguments["content"]) for call in writer.calls(view(chunk))]


def test_pairs_survive_rewriting_and_lists_of_words_hold_none() -> None:
    # pairs of the turn: (adopt, dog), (dog, shelter)
    turn = content("I have adopted a dog from the shelter!")
    assert held_pairs([turn], content("Caroline adopted the dog.")) == 0.5
    assert held_pairs([turn], content("A shelter dog; adopted.")) == 0
    listed = content("adopted called dog in last shelter town week")
    assert held_words([turn], listed) == 1
    assert held_pairs([turn], content("shelter dog adopted")) == 0


def test_no_pair_goes_over_the_end_of_a_sentence_and_inflections_meet() -> None:
    assert content("She walks. Dogs bark").pairs == {("dog", "bark")}
    assert content("walking dogs").pairs == content("It's that I walked the dog").pairs


def test_evidence_turns_count_alike_however_long_they_are() -> None:
    long, short = content("red boats carry dry salt north"), content("green tea")
    assert held_pairs([long, short], content("green tea")) == 0.5


def test_a_turn_without_a_pair_is_no_evidence() -> None:
    one = conversation(0)
    yes = Turn("yes", "Ann: Yes!", "", "Ann")
    asked = Question("Really?", "pets", "yes", frozenset(["yes"]), ())
    silent = replace(one, turns=(*one.turns, yes), questions=(*one.questions, asked))
    made = Dataset("made", "0" * 64, (silent, conversation(1)))
    assert [len(task.probes) for task in measure._tasks(made)] == [12, 12]


def test_nobody_writes_more_than_the_budget_and_all_store_the_same(result: Result) -> None:
    for budget in result.budgets:
        ours = result.cell(EXTRACTIVE, budget)
        assert 0 < ours.stored_tokens <= budget * ours.stream_tokens
        for writer in SCRIPTED:
            theirs = result.cell(writer, budget).stored_tokens
            # six conversations, each less than one sentence short
            assert ours.stored_tokens - 6 * 20 < theirs <= ours.stored_tokens


def test_shuffled_evidence_scores_at_chance_and_the_right_one_does_not(result: Result) -> None:
    for cell in result.cells:
        for shown in ("found", "stored"):
            canary = cell.canary(shown)
            # where all conversations are alike, there is no interval
            within = canary.interval or Interval(canary.mean, canary.mean)
            assert within.low <= 0 <= within.high
    assert result.cell(EXTRACTIVE, 0.6).score("found").mean > 0.1


def test_all_turns_hold_all_evidence_and_pieces_of_them_less(result: Result) -> None:
    assert all(each.held["stored"] == 1 for each in result.whole.asked)
    for writer in SCRIPTED:
        assert result.cell(writer, 0.2).score("stored").mean < result.whole.score("stored").mean


def test_the_canary_dies_where_a_conversation_knows_the_one_before() -> None:
    one, two, three = (conversation(number) for number in range(3))
    told = tuple(replace(turn, id=f"told {turn.id}") for turn in one.turns)
    leaking = Dataset("made", "0" * 64, (one, replace(two, turns=two.turns + told), three))
    cell = run(leaking, [1], 0, lambda chunks: None).whole
    assert cell.canary("stored").mean > 0.2
    sound = run(dataset(3), [1], 0, lambda chunks: None).whole
    assert abs(sound.canary("stored").mean) < 0.02


def test_choosing_facts_beats_choosing_blindly(result: Result) -> None:
    for writer in SCRIPTED:
        interval = result.difference(writer, 0.2, "stored").interval
        assert interval is not None
        assert interval.low > 0


def test_what_is_too_long_to_show_is_stored_but_not_found() -> None:
    long = Dataset("made", "0" * 64, (conversation(0, facts=40), conversation(1)))
    task = measure._tasks(long)[0]
    assert len(task.chunks) > 1
    # whole chunks of up to 1,024 tokens each, for a reader of 512; the last one is short enough
    written = asyncio.run(measure._write(task, ScriptedPolicy("all", Verbatim())))
    assert all(each.held["stored"] == 1 for each in written.asked)
    first = [each.held["found"] for each in written.asked[:12]]
    assert max(first) < 0.5
    pieces = ScriptedPolicy("turns", Chosen("random turns", 1, random.Random(0)))
    assert min(each.held["found"] for each in asyncio.run(measure._write(task, pieces)).asked[:12]) > 0.8


def test_heads_are_first_sentences_and_leave_room_to_later_turns() -> None:
    chunk = "Ann: I sing in a choir. My brother paints boats.\nBo: We sold our old house. It rained a lot."
    kept = stored(Chosen("heads", 0.7, random.Random(0)), chunk)
    assert kept == ["Ann: I sing in a choir.", "Bo: We sold our old house."]


def test_random_writers_repeat_themselves_and_never_take_more_than_their_share() -> None:
    chunk = "\n".join(f"Ann: I saw {number} boats. The {number}th was red." for number in range(40))
    for choice in SCRIPTED:
        kept, again = (stored(Chosen(choice, 0.3, random.Random(5)), chunk) for _ in range(2))
        assert kept == again
        assert 0.2 * count_tokens(chunk) < sum(map(count_tokens, kept)) <= 0.3 * count_tokens(chunk)
    others = stored(Chosen("random turns", 0.3, random.Random(6)), chunk)
    assert others != stored(Chosen("random turns", 0.3, random.Random(5)), chunk)


def test_people_come_before_assistants() -> None:
    turns = [f"{who}: I saw {number} boats." for number in range(20) for who in ("user", "assistant")]
    kept = stored(Chosen("people first", 0.4, random.Random(0)), "\n".join(turns))
    assert all(text.startswith("user: ") for text in kept)
    blind = stored(Chosen("random turns", 0.4, random.Random(0)), "\n".join(turns))
    assert {text.split(":")[0] for text in blind} == {"user", "assistant"}


def test_blind_writers_store_code_like_anything_else() -> None:
    kept = stored(Chosen("random turns", 1, random.Random(0)), "user: Look.\n```\nx = 1\n```")
    assert kept == ["user: Look. ``` x = 1 ```"]


def test_long_turns_become_several_memories() -> None:
    chunk = "Ann: " + " ".join(f"I saw {number} boats near the old harbour today." for number in range(40))
    kept = stored(Chosen("random turns", 1, random.Random(0)), chunk)
    assert len(kept) > 2
    assert all(count_tokens(text) <= LONGEST for text in kept)


def test_progress_adds_up_to_what_was_announced() -> None:
    done: list[int] = []
    run(dataset(2), [0.5], 0, done.append)
    assert sum(done) == measure.chunks(dataset(2), [0.5])


def test_one_conversation_is_refused_because_chance_cannot_be_measured() -> None:
    with pytest.raises(DatasetError, match="at least 2 conversations, but has it in 1"):
        run(dataset(1), [0.5], 0, lambda chunks: None)


def test_few_conversations_give_no_interval() -> None:
    made = run(dataset(2), [0.5], 0, lambda chunks: None)
    assert all(made.difference(writer, 0.5, "found").interval is None for writer in SCRIPTED)


def test_the_page_says_what_the_document_says(result: Result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    page = tmp_path / "construct.md"
    begin = "<!-- construct made:begin, written by evals construct made --write-docs -->"
    page.write_text(f"before\n{begin}\nof last year\n<!-- construct made:end -->\nafter\n")
    content = report.document(result, "made.json", "2026-01-02")
    path = report.write_docs(content)
    assert json.loads(path.read_text()) == content
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "of last year" not in text
    cells = {(cell["writer"], cell["budget"]): cell for cell in content["cells"]}
    assert len(cells) == 2 * len(WRITERS)
    found = cells[EXTRACTIVE, 0.2]["measures"]["found"]["score"]["mean"]
    assert f"| extractive | {100 * found:.1f} " in text
    assert "[all numbers](construct/2026-01-02-made.json)" in text


def test_a_page_without_its_markers_is_left_alone(result: Result, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    (tmp_path / "construct.md").write_text("no markers\n")
    with pytest.raises(
        InvalidInputError, match=r"construct\.md must hold the line <!-- construct made:begin"
    ):
        report.write_docs(report.document(result, "made.json", "2026-01-02"))
    assert (tmp_path / "construct.md").read_text() == "no markers\n"


def test_the_command_prints_tables_or_json_and_refuses_shares_that_are_none(tmp_path) -> None:
    sample = json.loads(TINY.read_text())[0]
    data = tmp_path / "two.json"
    data.write_text(json.dumps([sample, sample | {"sample_id": "conv-2"}]))
    command, runner = ["construct", "locomo", "--data", str(data), "--budgets", "1"], CliRunner()
    table = runner.invoke(app, command)
    assert table.exit_code == 0
    assert "found, extractive minus" in table.stdout
    printed = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert [cell["writer"] for cell in printed["cells"]] == list(WRITERS)
    for wrong in ("0", "1.5", "half", ""):
        assert runner.invoke(app, [*command[:-1], wrong]).exit_code == 2


@pytest.mark.skipif(not LOCOMO_DEV.exists(), reason="needs the LoCoMo development file")
def test_on_locomo_the_engine_keeps_more_than_random_turns() -> None:
    whole = locomo.read(LOCOMO_DEV)
    found = run(replace(whole, conversations=whole.conversations[:2]), [0.25], 0, lambda chunks: None)
    assert found.difference("random turns", 0.25, "found").mean > 0.05
    for cell in found.cells:
        assert abs(cell.canary("found").mean) < 0.02
