from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memalpha.agent.chunking import BLANK, CONTINUED, Turn, batches, pack, split_item, split_text
from memalpha.api.agent.v1alpha1.agent_service_pb2 import MemorizeItem
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memcore import count_tokens

STORY = "Ann met Bob. They talked for hours!\n\nThe next day it rained. Nobody came, so she read a book. "


def packed(*turns: Turn, max_tokens: int = 1024) -> list[Chunk]:
    return list(pack(turns, max_tokens=max_tokens))


def test_turns_become_lines_behind_their_speakers() -> None:
    (chunk,) = packed(
        Turn("I adopted a dog!", "Caroline", "2023-05-08T13:56", "chat.json"),
        Turn("Wow,\nreally?", "Melanie", "2023-05-08T13:56", "chat.json"),
        Turn("A note.", "", "", "chat.json"),
    )
    assert chunk.text == "Caroline: I adopted a dog!\nMelanie: Wow,\nreally?\nA note."
    assert (chunk.event_time, chunk.source) == ("2023-05-08T13:56", "chat.json")


def test_a_turn_at_another_time_of_the_day_is_preceded_by_its_time() -> None:
    (chunk,) = packed(
        Turn("Hi", "Ann", "2023-05-08T13:56"),
        Turn("Ho", "Bob", "2023-05-08T14:10"),
    )
    assert chunk.text == "Ann: Hi\n[2023-05-08T14:10]\nBob: Ho"


def test_a_chunk_never_spans_two_days_or_two_sources() -> None:
    chunks = packed(
        Turn("one", event_time="2023-05-08T23:59", source="a"),
        Turn("two", event_time="2023-05-09T00:01", source="a"),
        Turn("three", event_time="2023-05-09T00:01", source="b"),
    )
    assert [chunk.text for chunk in chunks] == ["one", "two", "three"]


def test_blank_turns_say_nothing() -> None:
    assert packed(Turn(" \n", "Ann"), Turn("")) == []


def test_an_id_is_the_digest_of_everything_up_to_the_chunks_end() -> None:
    digest = sha256()
    # Each field is its length in 8 bytes, big-endian, and its UTF-8: time, speaker, text.
    for field in (b"2023-05-08", b"Ann", b"Hi"):
        digest.update(len(field).to_bytes(8, "big") + field)
    (chunk,) = packed(Turn("Hi", "Ann", "2023-05-08"))
    assert chunk.chunk_id == digest.hexdigest()[:32]


def test_a_stream_that_grew_at_its_end_repeats_only_its_last_chunk() -> None:
    turns = [Turn(f"sentence number {n} about nothing", "Ann") for n in range(40)]
    before = packed(*turns[:30], max_tokens=64)
    after = packed(*turns, max_tokens=64)
    assert [chunk.chunk_id for chunk in after][: len(before) - 1] == [chunk.chunk_id for chunk in before][:-1]
    assert before[-1].chunk_id not in [chunk.chunk_id for chunk in after]


def test_chunks_are_filled_but_not_beyond_their_tokens() -> None:
    chunks = packed(*(Turn("word " * 9, "Ann") for _ in range(50)), max_tokens=64)
    assert all(chunk.text.count("Ann: ") >= 3 for chunk in chunks[:-1])
    assert all(count_tokens(chunk.text) <= 64 for chunk in chunks)


def test_an_oversized_turn_goes_on_in_marked_chunks_with_its_speaker() -> None:
    chunks = packed(Turn("Hi", "Bob"), Turn(STORY * 10, "Ann"), Turn("Bye", "Bob"), max_tokens=64)
    # The short turn before stands alone; the short one after joins the last piece.
    assert chunks[0].text == "Bob: Hi"
    pieces = [chunks[1].text.removeprefix("Ann: ")]
    for chunk in chunks[2:]:
        assert chunk.text.startswith(f"Ann: {CONTINUED}")
        pieces.append(chunk.text.removeprefix(f"Ann: {CONTINUED}"))
    assert "".join(pieces) == STORY * 10 + "\nBob: Bye"
    assert all(count_tokens(chunk.text) <= 64 for chunk in chunks)


@pytest.mark.parametrize("max_tokens", [16, 48, 1024])
@given(
    text=st.text(max_size=400)
    | st.lists(
        st.sampled_from(["Ann ", ". ", "\n\n", "\n", " ", "漢字", "。", "x" * 90, "👩‍👩‍👧", "!?) "])
    ).map("".join)
)
def test_pieces_add_up_to_the_text_and_keep_to_their_tokens(max_tokens: int, text: str) -> None:
    pieces = split_text(text, max_tokens)
    assert "".join(pieces) == text
    assert all(0 < count_tokens(piece) <= max_tokens for piece in pieces)


def test_text_is_cut_between_paragraphs_then_sentences_then_words() -> None:
    # Each paragraph has some 20 tokens: one fits into 24, two do not.
    paragraph = "Ann went to the old market by the river with her two brothers and a very large dog."
    assert split_text(f"{paragraph}\n\n{paragraph}", 24) == [f"{paragraph}\n\n", paragraph]
    assert split_text(f"{paragraph} {paragraph}", 24) == [f"{paragraph} ", paragraph]
    words = "alpha beta gamma delta " * 20
    assert [word for piece in split_text(words, 16) for word in piece.split()] == words.split()


def test_an_item_that_fits_keeps_its_id_and_carries_everything_along() -> None:
    item = MemorizeItem(
        item_id="m1", text="Hi", speaker="Ann", event_time="2023-05-08", source="s", metadata={"k": "v"}
    )
    (chunk,) = split_item(item, 1024)
    assert chunk == Chunk(
        chunk_id="m1", text="Ann: Hi", event_time="2023-05-08", source="s", metadata={"k": "v"}
    )


def test_a_long_item_becomes_numbered_chunks() -> None:
    chunks = split_item(MemorizeItem(item_id="m1", text=STORY * 10), 64)
    assert [chunk.chunk_id for chunk in chunks] == [f"m1#{n}" for n in range(1, len(chunks) + 1)]
    assert "".join(chunk.text.removeprefix(CONTINUED) for chunk in chunks) == STORY * 10


def test_a_first_piece_of_white_space_is_marked_because_a_chunk_must_not_be_blank() -> None:
    first, *_ = split_item(MemorizeItem(item_id="m1", text="\n \t" * 40_000 + "end"), 16)
    assert first.text.startswith(BLANK)


@pytest.mark.parametrize("unit", ["Hello there, my friend. ", "a", "漢字", "\n", "word "])
@pytest.mark.timeout(60)  # no clock of its own: work that grows with the square would not end by then
def test_five_megabytes_in_one_turn_are_split(unit: str) -> None:
    text = unit * (5_000_000 // len(unit))
    chunks = packed(Turn(f"begin {text}", "Ann"))
    assert sum(len(chunk.text) for chunk in chunks) >= len(text)
    assert all(len(chunk.text.encode()) <= 1 << 20 for chunk in chunks)


def test_batches_keep_order_and_both_limits() -> None:
    small = [Chunk(chunk_id=str(n), text="x") for n in range(5)]
    assert [len(batch) for batch in batches(small, most=2, most_bytes=1000)] == [2, 2, 1]
    # two of these, ids and lengths included, stay below 1000 bytes; three do not
    half = [Chunk(chunk_id=str(n), text="x" * 400) for n in range(3)]
    cut = [[chunk.chunk_id for chunk in batch] for batch in batches(half, most=9, most_bytes=1000)]
    assert cut == [["0", "1"], ["2"]]
    assert [len(batch) for batch in batches(half, most=9, most_bytes=1)] == [1, 1, 1]
