"""What is kept of chats with an assistant: code, requests, advice, and what goes when room is scarce."""

import pytest

import memcore
from memalpha.policy.extractive import ExtractiveEngine
from memalpha.policy.extractive.segment import sentences

from .support import event, fact, parsed, profile, request, written

ASKED = "user: I keep bees in Leeds and sell the honey at the market."
ADVICE = (
    "assistant: Harvest the frames in July 2023 with Dadant extractors from Illinois and Carniolan queens. "
    "The Langstroth hive of 1852 suits Yorkshire. Formic acid treats Varroa mites in August."
)


def limited(chunk: str, max_tokens: int) -> list[str]:
    """The contents that the engine writes within a limit."""
    text = ExtractiveEngine("hermes").complete(request(chunk, max_tokens=max_tokens)).text
    return [str(call.arguments["content"]) for call in parsed(text)]


@pytest.mark.parametrize("before", ["user: I grow tomatoes in Leeds.", "# Garden\nTomatoes grow in Leeds."])
def test_fenced_code_is_not_kept_and_the_prose_around_it_is(before: str) -> None:
    code = "const garden = new Garden('Leeds', 42)\nprint the harvest of 42 tomatoes in Leeds"
    after = "The greenhouse in Harrogate has 12 windows."
    fenced = [call.arguments for call in written(f"{before}\n```js\n{code}\n```\n{after}")]
    assert not any("harvest" in str(each) for each in fenced)
    assert any("Harrogate" in str(each) for each in fenced)
    # The control: the same lines without fences are read as prose.
    assert any("harvest" in str(call.arguments) for call in written(f"{before}\n\n{code}\n\n{after}"))


def test_code_that_goes_on_from_the_chunk_before_ends_at_its_fence() -> None:
    chunk = "user: [continued] the harvest of 42 tomatoes\n```\nI grow tomatoes in Leeds."
    assert [each.text for each in sentences(chunk, "")] == ["…", "I grow tomatoes in Leeds."]
    opened = chunk.replace("```", "```js\nx\n```")
    assert next(each.text for each in sentences(opened, "")) == "the harvest of 42 tomatoes"


def test_code_that_goes_on_in_the_next_chunk_begins_at_its_fence() -> None:
    said = "user: [continued] I grow tomatoes in Leeds.\n```\nthe harvest of 42 tomatoes"
    assert [each.text for each in sentences(said, "")] == ["I grow tomatoes in Leeds."]


def test_a_document_goes_on_from_code_too() -> None:
    chunk = "[continued] the harvest of 42 tomatoes\n```\nI grow tomatoes in Leeds."
    assert [each.text for each in sentences(chunk, "")] == ["I grow tomatoes in Leeds."]
    # The control: a document that does not go on begins in prose.
    begins = sentences(chunk.removeprefix("[continued] "), "")
    assert [each.text for each in begins] == ["the harvest of 42 tomatoes"]


def test_code_within_a_line_opens_nothing() -> None:
    said = sentences("# Garden\n```make harvest``` fills the baskets.\n\nTomatoes grow in Leeds.", "")
    assert [each.text for each in said] == [
        "```make harvest``` fills the baskets.",
        "Tomatoes grow in Leeds.",
    ]


@pytest.mark.parametrize("fence", ["````", "~~~"])
def test_a_fence_ends_at_one_of_its_own_kind_and_length(fence: str) -> None:
    shown = f"Look:\n{fence}md\n```\nx = 1\n```\nthe harvest of 42 tomatoes\n{fence}\nTomatoes grow in Leeds."
    assert [each.text for each in sentences(shown, "")] == ["Look:", "Tomatoes grow in Leeds."]


def test_who_asks_for_code_gets_its_lines() -> None:
    chunk = "user: Look.\n```\nx = 1\n```"
    assert [each.text for each in sentences(chunk, "")] == ["Look."]
    assert [each.text for each in sentences(chunk, "", code=True)] == ["Look.", "```", "x = 1", "```"]


def test_a_turn_ends_the_code_of_the_turn_before() -> None:
    said = sentences("user: Look:\n```\nx = 1\nassistant: It runs in Leeds.", "")
    assert [(each.speaker, each.text) for each in said] == [
        ("user", "Look:"),
        ("assistant", "It runs in Leeds."),
    ]


def test_a_turn_of_nothing_but_code_is_a_turn() -> None:
    said = sentences("user: ```\nx = 1\n```\nassistant: It runs in Leeds.", "")
    assert [(each.speaker, each.turn) for each in said] == [("user", 0), ("assistant", 1)]


def test_in_a_chat_with_an_assistant_nobody_else_speaks() -> None:
    chunk = "{}: I live in Boston.\nmargin: 0 auto\nmargin: 10px\nDeadline: the 5th of May"
    assert {each.speaker for each in sentences(chunk.format("user"), "")} == {"user"}
    assert {each.speaker for each in sentences(chunk.format("Ann"), "")} == {"Ann", "margin", "Deadline"}


def test_what_an_assistant_is_asked_is_kept_and_what_a_person_is_asked_is_not() -> None:
    asked = "Which hive suits bees in the Yorkshire Dales?"
    assert written(f"user: {asked}") == [fact(f"User: {asked}")]
    assert written(f"Ann: {asked}") == []


def test_what_is_told_before_a_question_is_kept_without_it() -> None:
    calls = written("Ann: I adopted a dog in Leeds, have you ever been there?")
    assert calls == [event("Ann adopted a dog in Leeds.")]
    # What only sets the scene of a question tells nothing.
    assert written("Ann: When I was in Leeds, where were you?") == []


def test_an_attribute_told_to_an_assistant_before_a_question_is_a_fact() -> None:
    calls = written("user: I live in Boston, can you recommend a gym?")
    assert calls[:2] == [profile("User: lives in Boston"), fact("User lives in Boston.")]


def test_where_room_is_scarce_advice_leaves_it_to_people() -> None:
    chunk = f"{ASKED}\n{ADVICE}"
    contents = limited(chunk, 2048)
    assert any("assistant" in each.lower() for each in contents)
    scarce = limited(chunk, 120)
    assert scarce == [each for each in contents if "assistant" not in each.lower()]
    # The control: there was room for the advice.
    assert memcore.count_tokens("\n".join(contents)) < 120


def test_what_says_most_for_its_length_is_the_last_to_be_given_up() -> None:
    long = (
        "I sat around with somebody and it went on and on and then we had another of those until it was over."
    )
    short = "I met Emma in Oslo on 5 May 2023."
    chunk = f"Ann: {long}\nBen: Yes.\nAnn: {short}"
    assert len(limited(chunk, 2048)) == 2
    assert limited(chunk, 70) == ["Ann met Emma in Oslo on 5 May 2023."]


def told(chunk: str) -> list[str]:
    """All texts that are written about a chunk."""
    return [str(value) for call in written(chunk) for value in call.arguments.values()]


def test_a_role_that_opens_a_chat_of_people_is_one_of_them() -> None:
    lines = [
        "Ann: I moved to Rome in May 2023.",
        "Bob: I live in Oslo.",
        "Ann: I have a dog.",
        "Bob: I am a nurse.",
    ]
    said = told("\n".join(["System: Ann joined the chat.", *lines]))
    assert any("Bob" in each and "Oslo" in each for each in said)
    assert not any("System moved" in each or "System's" in each for each in said)
    # Where an assistant and whom it helps speak, labels of lists do not.
    helped = told("user: I live in Oslo.\nassistant: Plans:\nRome: May 2023\nRome: June 2023")
    assert not any(each.startswith("Rome:") for each in helped)


@pytest.mark.parametrize("key", ["user", "system", "Assistant"])
def test_code_whose_lines_look_like_turns_stays_code(key: str) -> None:
    chunk = f"user: My settings:\n```yaml\n{key}: 42 tomatoes\n```\nThey run in Leeds.\nassistant: Good."
    assert [(each.speaker, each.text) for each in sentences(chunk, "")] == [
        ("user", "My settings:"),
        ("user", "They run in Leeds."),
        ("assistant", "Good."),
    ]
    # The control: without a fence it is a turn.
    assert key in {each.speaker for each in sentences(chunk.replace("```yaml\n", ""), "")}


def test_code_that_is_never_closed_ends_at_a_turn_though_there_is_more_code() -> None:
    chunk = "user: Look:\n```\nx = 1\nassistant: It runs.\nuser: And this:\n```\ny = 2\n```\nIn Leeds."
    assert [(each.speaker, each.text) for each in sentences(chunk, "")] == [
        ("user", "Look:"),
        ("assistant", "It runs."),
        ("user", "And this:"),
        ("user", "In Leeds."),
    ]


def test_a_fence_behind_a_speakers_name_opens_code() -> None:
    chunk = "user: ```yaml\nuser: bob\nsystem: 42\n```\nassistant: ```\nx = 1\n```\nIt runs in Leeds."
    assert [(each.speaker, each.text) for each in sentences(chunk, "") if each.text != "…"] == [
        ("assistant", "It runs in Leeds.")
    ]


def test_keys_of_code_are_no_nicknames_of_people() -> None:
    code = "margin: 0 auto\npadding: 1px\nmargin: 10px\npadding: 2px"
    chunk = f"Ann: I write styles:\n```css\n{code}\n```\nBen: I live in Leeds.\nAnn: margin: 5px is too much."
    assert {each.speaker for each in sentences(chunk, "")} == {"Ann", "Ben"}
    bare = chunk.replace("```css\n", "").replace("```\n", "")
    assert {each.speaker for each in sentences(bare, "")} == {"Ann", "Ben", "margin", "padding"}


@pytest.mark.parametrize("before", ["- ", "1. ", "> ", "> - "])
def test_code_in_a_list_or_a_quotation_is_code(before: str) -> None:
    close = "> ```" if ">" in before else "  ```"
    chunk = f"user: Steps:\n{before}```sh\nharvest 42 tomatoes\n{close}\nTomatoes grow in Leeds."
    assert [each.text for each in sentences(chunk, "")] == ["Steps:", "Tomatoes grow in Leeds."]
