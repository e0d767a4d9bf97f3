"""The command line's parts that no store is needed for."""

import asyncio

import pytest

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.demo import says
from memalpha.cli.documents import document
from memalpha.cli.embedder import vectors
from memalpha.cli.patience import Patience
from memalpha.cli.shell import options_first
from memalpha.cli.style import difference, excerpt, one_line, visible
from memalpha.errors import BusyError, MemalphaError, UnavailableError, make
from memalpha.sources import Turn


def test_global_options_come_first_and_the_rest_keeps_its_order() -> None:
    args = ["recall", "q", "--json", "--bank", "b", "--embedded", "d", "--config=c"]
    assert options_first(args) == ["--json", "--embedded", "d", "--config=c", "recall", "q", "--bank", "b"]


def test_what_follows_two_dashes_is_no_option() -> None:
    assert options_first(["recall", "--bank", "b", "--", "--json"]) == [
        "recall",
        "--bank",
        "b",
        "--",
        "--json",
    ]


def test_an_option_without_its_value_stays_for_the_parser_to_refuse() -> None:
    assert options_first(["banks", "--embedded"]) == ["--embedded", "banks"]


class Failing:
    """A call that raises these errors, one each time, and then returns."""

    def __init__(self, *errors: MemalphaError) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def away() -> UnavailableError:
    return make(UnavailableError, "UNAVAILABLE", "nobody answers")


def test_a_call_is_repeated_while_its_service_is_away_and_both_ends_are_told() -> None:
    notes: list[str] = []
    call = Failing(away(), make(BusyError, "OVERLOADED", "too much"))
    assert asyncio.run(Patience(5, notes.append)(call)) == "done"
    assert call.calls == 3
    assert notes == ["waiting up to 5 s for the service: nobody answers", "the service is back"]


def test_patience_ends_and_the_error_counts() -> None:
    call = Failing(*(away() for _ in range(100)))
    with pytest.raises(UnavailableError):
        asyncio.run(Patience(0.3, lambda _: None)(call))
    assert 2 <= call.calls < 10


def test_a_full_disk_is_not_waited_for() -> None:
    call = Failing(make(BusyError, "DISK_FULL", "no space left"))
    with pytest.raises(BusyError):
        asyncio.run(Patience(60, lambda _: None)(call))
    assert call.calls == 1


def test_a_message_is_printed_with_numbers_as_numbers_and_enums_as_words() -> None:
    memory = pb.Memory(id=2**60, type=pb.MEMORY_TYPE_SEMANTIC, content="x", metadata={"k": "v"})
    memory.create_time.FromJsonString("2024-05-01T10:00:00Z")
    memory.provenance.chunk_position = 0
    printed = document(memory)
    assert (printed["id"], printed["type"], printed["metadata"]) == (2**60, "semantic", {"k": "v"})
    assert (printed["create_time"], printed["event_time"]) == ("2024-05-01T10:00:00Z", "")
    assert printed["provenance"]["chunk_position"] == 0
    assert "update_time" not in printed


def test_a_vector_is_not_printed() -> None:
    insert = pb.InsertOperation(type=pb.MEMORY_TYPE_SEMANTIC, content="x", embedding_f32_le=b"1234")
    assert document(insert) == {"type": "semantic", "content": "x", "event_time": "", "metadata": {}}


@pytest.mark.parametrize(
    ("embedder", "line"),
    [
        (pb.Embedder(), "builtin embedder, 3 of 1,003 memories have a vector"),
        (pb.Embedder(kind=pb.EMBEDDER_KIND_NONE), "no embedder, searched by words"),
        (
            pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id="minilm", dimensions=384),
            "external embedder minilm (384 numbers), 3 of 1,003 memories have a vector",
        ),
    ],
)
def test_a_bank_says_what_makes_its_vectors_and_how_many_there_are(embedder, line) -> None:
    stats = pb.BankStats(embedded_count=3, unembedded_count=1000)
    assert vectors(pb.Bank(settings=pb.BankSettings(embedder=embedder), stats=stats)) == line


def test_control_characters_and_text_direction_marks_are_made_visible() -> None:
    assert visible("a\tb\nc\x1b[0m\x9b\u202e") == "a\tb\nc\\x1b[0m\\x9b\\u202e"


def test_one_line_cuts_where_its_width_ends() -> None:
    assert one_line("a\n b   c", 5) == "a b c"
    assert one_line("abcdef", 5) == "abcd…"


def test_an_excerpt_is_the_line_that_shares_the_most_words() -> None:
    text = "Ada: Hello there.\nBo: Biscuit is a dog. Rex is a brown dog from Oslo.\nAda: Bye."
    assert excerpt(text, "the dog Biscuit") == "Bo: Biscuit is a dog. Rex is a brown dog from Oslo."
    assert excerpt(text, "brown Oslo", width=40) == "… Rex is a brown dog from Oslo."
    assert excerpt(text, "nothing of it") == "Ada: Hello there."


def test_a_difference_marks_the_words_that_went_and_came() -> None:
    before, after = difference("Ada has one dog", "Ada has two dogs")
    assert (before.plain, after.plain) == ("Ada has one dog", "Ada has two dogs")
    marked = [
        text.plain[span.start : span.end] for text in (before, after) for span in text.spans if span.style
    ]
    assert marked == [" one dog", " two dogs"]


# "allergic" and "ada" stand in question and speaker; what is left of the memory is "walnuts"
@pytest.mark.parametrize(
    ("memory", "expected"), [("Ada is allergic to walnuts", True), ("Ada is allergic to peanuts", False)]
)
def test_a_memory_says_what_a_turn_says_only_beyond_the_question(memory, expected) -> None:
    turn = Turn("I am allergic to walnuts, sadly", speaker="Ada")
    assert says(memory, turn, "What is Ada allergic to?") is expected
