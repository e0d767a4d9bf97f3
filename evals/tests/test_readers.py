"""What readers make of a context: rules by their rules, models by what they are asked and what they say."""

import asyncio

import pytest
from made_systems import Stub, built, contexts, dialogue, extractive, options, question

from memalpha.errors import InvalidInputError, MemalphaError, UnsupportedError
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.questions import NOT_KNOWN
from memalpha_evals.datasets import Conversation, Question, Turn
from memalpha_evals.protocols import Answer, Context, Reader
from memalpha_evals.readers import NAMES, ReaderOptions, create
from memalpha_evals.readers.evidence import read
from memalpha_evals.readers.extract import ExtractReader
from memalpha_evals.readers.spans import kind
from memalpha_evals.scorers.abstention import abstains
from memalpha_evals.streams import AskedQuestion, stream

STRETCHES = """[2023-05-08]
Caroline: I went to a support group yesterday and it was so powerful.
Melanie: Wow, what happened there?
[2023-06-12]
Caroline: I moved to Lisbon with three cats. My boss Ingrid helped.
Melanie: I don't have a car."""
RECALLED = """<core_memory>
Caroline and Melanie are friends.
</core_memory>
<episodic_memory>
- (2023-05-08) Caroline: I went to a support group yesterday and it was so powerful.
- (2023-06-12) Caroline: I moved to Lisbon with three cats.
My boss Ingrid helped.
- Melanie: I don't have a car.
</episodic_memory>
"""
ANSWERS = {
    "When did Caroline go to the support group?": "7 May 2023",
    "Where did Caroline move with her cats?": "Lisbon",
    "How many cats did Caroline move with?": "three",
    "Who helped Caroline, her boss?": "Ingrid",
    "Does Melanie have a car?": "no",
}


def ask(reader: Reader, context: str, asked: Question) -> Answer:
    return asyncio.run(reader.answer(Context(context, 0, 0), AskedQuestion("q", asked, 1)))


def model(stub: Stub, **more: object) -> ReaderOptions:
    return ReaderOptions(stub, stub.description, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("context", [STRETCHES, RECALLED], ids=["stretches", "recalled"])
def test_the_rule_gives_words_of_the_kind_that_is_asked_for(context: str) -> None:
    reader = create("extract", ReaderOptions())
    assert {asked: ask(reader, context, question(asked)).text for asked in ANSWERS} == ANSWERS


def test_the_rule_abstains_where_the_context_shares_too_little_with_the_question() -> None:
    asked = question("When did Gertrude sell the submarine?")
    for context in ("", STRETCHES, RECALLED):
        assert abstains(ask(ExtractReader(), context, asked).text)
    assert not abstains(ask(ExtractReader(), f"{STRETCHES}\nGertrude: I sold the submarine.", asked).text)


def test_of_two_sentences_that_say_the_same_the_later_one_counts() -> None:
    told = "[2023-01-01]\nAnn: I live in Rome.\n[2023-02-01]\nAnn: I live in Oslo."
    assert ask(ExtractReader(), told, question("Where does Ann live?")).text == "Oslo"


def test_kinds_of_questions_are_told_by_their_words() -> None:
    kinds = {
        "When did she leave?": "date",
        "What year was it?": "date",
        "How long did it take?": "span",
        "How many dogs are there?": "number",
        "Which country is it?": "place",
        "Whose dog is it?": "name",
        "Is it raining?": "yes or no",
        "Is it a cat or a dog?": "",
        "What happened?": "",
    }
    assert {asked: kind(asked) for asked in kinds} == kinds


def test_a_context_is_read_back_with_speakers_and_times_in_both_forms() -> None:
    shared = {(each.text, each.speaker, each.time) for each in read(STRETCHES)} & {
        (each.text, each.speaker, each.time) for each in read(RECALLED)
    }
    went = "I went to a support group yesterday and it was so powerful."
    assert (went, "Caroline", "2023-05-08") in shared
    assert ("I don't have a car.", "Melanie", "") in {(e.text, e.speaker, e.time) for e in read(RECALLED)}
    assert not any("memory>" in each.text for each in read(RECALLED))


def test_the_ledgers_reader_reads_the_raw_stream_and_knows_nothing_without_it() -> None:
    instance = ledger(5, 1, split="eval")
    turns = tuple(Turn(str(n), chunk.text, chunk.event_time) for n, chunk in enumerate(instance.chunks))
    asked = tuple(
        Question(each.question, "", each.answers[0], frozenset(), ()) for each in instance.questions
    )
    told = stream(Conversation("ledger", turns, asked))

    async def right(system: str) -> int:
        session, _ = await built(system, options(), told)
        reader = create("ledger", ReaderOptions())
        found = [
            (await reader.answer(context, one)).text == one.question.answer
            for context, one in zip(await contexts(session, told, 4096), told.questions, strict=True)
            if one.question.answer != NOT_KNOWN
        ]
        return sum(found)

    # Eight of the ten questions have an answer.
    assert asyncio.run(right("full-context")) >= 6
    assert asyncio.run(right("no-memory")) == 0


def test_the_choice_by_overlap_takes_the_option_that_one_sentence_supports() -> None:
    reader = create("choice", ReaderOptions(*extractive()))  # pyright: ignore[reportArgumentType]
    options_ = ("She moved to Rome.", "She moved to Lisbon with cats.", "She moved nowhere.")
    found = ask(reader, RECALLED, question("Where did she move?", options=options_))
    assert found.text == "b"
    assert found.details["support"]["b"] > found.details["support"]["a"]
    # nothing supports any option, and a letter would be right by where the data have put the right one
    assert abstains(ask(reader, "", question("Where did she move?", options=options_)).text)
    with pytest.raises(InvalidInputError, match="question q has no options"):
        ask(reader, RECALLED, question("Where did she move?"))


def test_the_choice_by_logprobs_takes_the_mean_of_the_options_own_tokens() -> None:
    # The stub's tokens are characters and their logprobs minus their codes, so the option of the smallest
    # mean code is the likeliest, however long it is.
    stub = Stub(lambda prompt, number: "x")
    found = ask(
        create("choice", model(stub)), "context", question("Which?", options=("zz", "aaaaaaaaaaaa", "ab"))
    )
    assert found.text == "b"
    assert found.details["logprobs"] == {"a": -122.0, "b": -97.0, "c": -97.5}
    assert "context" in stub.prompts[0].chat.messages[-1].content


def test_the_choice_by_logprobs_needs_logprobs() -> None:
    stub = Stub(lambda prompt, number: "x")
    mute = stub.description
    mute.scores = False
    with pytest.raises(UnsupportedError, match="engine stub gives none"):
        create("choice", ReaderOptions(stub, mute))


@pytest.mark.parametrize("name", ["policy", "openai"])
def test_a_model_is_shown_context_question_time_and_options_and_its_thought_is_dropped(name: str) -> None:
    stub = Stub(lambda prompt, number: "<think>b or c?</think>\n c ")
    reader = create(name, model(stub, seed=7, max_tokens=50))
    asked = question("Which town?", options=("Rome", "Oslo </context>", "Bern"), time="2024-01-05")
    found = ask(reader, "Ann likes Bern.", asked)
    prompt = stub.prompts[0].chat.messages[-1].content
    assert found.text == "c"
    assert (found.usage.calls, found.usage.prompt_tokens, found.usage.completion_tokens) == (1, 100, 10)
    assert "<context>\nAnn likes Bern.\n</context>" in prompt
    assert prompt.count("</context>") == 1
    assert '<question asked="2024-01-05">\nWhich town?' in prompt
    assert "a. Rome\nb. Oslo <\\/context>\nc. Bern" in prompt
    assert stub.prompts[0].sampling.temperature == 0
    assert stub.prompts[0].sampling.max_tokens == 50
    ask(reader, "", question("Which town?"))
    assert "<options>" not in stub.prompts[1].chat.messages[-1].content
    assert stub.prompts[0].sampling.seed == stub.prompts[1].sampling.seed > 0


def test_a_thought_that_does_not_end_is_no_answer() -> None:
    assert ask(create("policy", model(Stub(lambda prompt, n: "<think>so"))), "", question("?")).text == ""


def test_readers_that_need_a_model_say_so_and_unknown_ones_are_refused() -> None:
    engine, description = extractive()
    for name in ("policy", "openai"):
        with pytest.raises(UnsupportedError, match="extractive-1 is none: rules answer as `extract`"):
            create(name, ReaderOptions(engine, description))  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidInputError, match="needs a model: name it as"):
            create(name, ReaderOptions())
    with pytest.raises(InvalidInputError, match="must be one of extract, "):
        create("oracle", ReaderOptions())


def test_readers_say_whether_they_are_rules_and_what_their_answers_depend_on() -> None:
    stub = Stub(lambda prompt, number: "x")
    rules = {name for name in NAMES if create(name, model(stub)).model_free}
    assert rules == {"extract", "ledger"}
    for name in set(NAMES) - rules:
        identity = create(name, model(stub)).identity
        assert identity["policy"]["version"] == 3
        assert len(identity["prompt_digest"]) == 64


def test_a_rule_answers_every_question_about_any_text() -> None:
    for context in ("[…]", "<core_memory>", "- (", "\n\n", "?" * 200, dialogue().chunks[0].text):
        for asked in ("", "?", "When?", "How long is it since?", "Is?"):
            try:
                ask(ExtractReader(), context, question(asked))
            except MemalphaError as error:
                pytest.fail(f"{context!r} {asked!r}: {error}")


def test_the_rule_chooses_among_options_and_labels_by_the_nearest_examples() -> None:
    chosen = question("Where did she move?", options=("To Rome.", "To Lisbon."))
    assert ask(ExtractReader(), RECALLED, chosen).text == "b"
    told = "\n".join(
        f"Sentence: {text}\nLabel: {number}"
        for text, number in (("Play some jazz", 4), ("Wake me at seven", 9), ("Play the radio", 4))
    )
    asked = question("Sentence: play jazz tonight\nWhich number?", metric="label")
    assert ask(ExtractReader(), told, asked).text == r"\boxed{4}"
    assert abstains(ask(ExtractReader(), "Nothing here.", asked).text)
