"""The readers: what a context answers, by hand."""

import pytest

from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.tasks.ledger import GRAMMAR, LITERAL, NOT_KNOWN, Answer
from memalpha.tasks.ledger.context import render_context
from memalpha.tasks.ledger.reader import CONFLICT
from memcore import count_tokens

NOW, BEFORE, REVOKED, WHEN = (
    "What is Tavo's home now?",
    "What was Tavo's home before?",
    "Is Tavo's badge revoked?",
    "When is Tavo's exam?",
)


@pytest.mark.parametrize(
    ("question", "lines", "answer", "used"),
    [
        (NOW, ["Tavo's home is Oslo"], "Oslo", "a"),
        (NOW, ["The home of Tavo is Oslo."], "Oslo", "a"),
        (NOW, ["Kelu's home is Oslo", "Tavo's job is baker"], NOT_KNOWN, ""),
        (NOW, ["Tavo's home is Oslo, earlier Rome"], "Oslo", "a"),
        (BEFORE, ["Tavo's home is Oslo, earlier Rome"], "Rome", "a"),
        (BEFORE, ["Tavo's home is Oslo"], NOT_KNOWN, ""),
        (BEFORE, ["Tavo's home is Oslo", "Tavo's home was Rome"], "Rome", "b"),
        (NOW, ["Tavo's home is not Oslo after all"], NOT_KNOWN, "a"),
        (NOW, ["It is not true that Tavo's home is Oslo"], NOT_KNOWN, "a"),
        (REVOKED, ["Tavo's badge is valid"], "no", "a"),
        (REVOKED, ["Tavo's badge is no longer valid"], "yes", "a"),
        (REVOKED, [], NOT_KNOWN, ""),
        (WHEN, ["(2024-05-01) Tavo's exam"], "2024-05-01", "a"),
        (WHEN, ["(2024-04-01) Tavo's exam is on 2024-05-01"], "2024-05-01", "a"),
        (WHEN, ["(2024-04-01) Tavo's exam is cancelled"], NOT_KNOWN, "a"),
        # the value that was stated last
        (NOW, ["(2024-05-02) Tavo's home is Oslo", "(2024-05-01) Tavo's home is Rome"], "Oslo", "a"),
        (BEFORE, ["(2024-05-02) Tavo's home is Oslo", "(2024-05-01) Tavo's home is Rome"], "Rome", "b"),
        # two values in one memory, at one date, or with one of them undated
        (NOW, ["Tavo's home is Oslo. Tavo's home is Rome"], CONFLICT, "a"),
        (NOW, ["Tavo's home is Oslo", "Tavo's home is Rome"], CONFLICT, "ab"),
        (NOW, ["(2024-05-01) Tavo's home is Oslo", "(2024-05-01) Tavo's home is Rome"], CONFLICT, "ab"),
        (NOW, ["(2024-05-01) Tavo's home is Oslo", "Tavo's home is Rome"], CONFLICT, "ab"),
        (WHEN, ["(2024-05-01) Tavo's exam", "(2024-05-02) Tavo's exam"], CONFLICT, "ab"),
        # the same twice is no conflict
        (NOW, ["Tavo's home is Oslo", "The home of Tavo is Oslo"], "Oslo", "a"),
        ("Where does Tavo live?", ["Tavo's home is Oslo"], NOT_KNOWN, ""),
    ],
)
def test_both_readers_read(question: str, lines: list[str], answer: str, used: str) -> None:
    context = "\n".join(f"[{alias}] {line}" for alias, line in zip("abcd", lines, strict=False))
    for reader in (LITERAL, GRAMMAR):
        assert reader.answer(question, context) == Answer(answer, tuple(used)), reader.name


@pytest.mark.parametrize(
    "line",
    [
        "Some say that Tavo's home is Oslo",
        "Tavo's home is Oslo, or so people say",
        "Word has it that the home of Tavo is Oslo",
        "In our opinion Tavo's home is Oslo",
    ],
)
def test_only_the_grammar_reader_sees_a_hedge(line: str) -> None:
    assert LITERAL.answer(NOW, f"[a] {line}") == Answer("Oslo", ("a",))
    assert GRAMMAR.answer(NOW, f"[a] {line}") == Answer(NOT_KNOWN)


def test_whoever_lists_every_value_has_said_nothing() -> None:
    listed = "[a] Tavo's home is Oslo, Rome, Kyiv"
    assert LITERAL.answer(NOW, listed).text == CONFLICT
    assert GRAMMAR.answer(NOW, listed).text == NOT_KNOWN
    dates = "[a] Tavo's exam is on 2024-05-01, 2024-05-02"
    assert LITERAL.answer(WHEN, dates).text == CONFLICT


def test_core_memory_is_read_and_cited_without_an_alias() -> None:
    assert LITERAL.answer(NOW, "Tavo's home is Oslo\n[a] Kelu's home is Rome") == Answer("Oslo", ("",))


def memory(id: int, content: str, event_time: str = "") -> Memory:
    return Memory(id=id, content=content, event_time=event_time)


def test_a_context_shows_four_memories_and_ninety_six_tokens() -> None:
    short = render_context("", [memory(n, f"Tavo's home is Oslo {n}") for n in range(1, 9)])
    assert short.ids == {"a": 1, "b": 2, "c": 3, "d": 4}
    long = render_context(
        "", [memory(1, "salt " * 60), memory(2, "wool " * 60), memory(3, "Kelu's pet is cat")]
    )
    assert long.ids == {"a": 1, "c": 3}
    assert count_tokens(long.text) <= 96


def test_no_content_can_pass_for_an_alias_a_time_or_another_line() -> None:
    tricky = [
        "(2024-05-01) Tavo's exam",
        "[b] Tavo's home is Oslo",
        "nurse\n[d] Tavo's home is Rome",
    ]
    context = render_context("[a] Tavo's home is Kyiv", [memory(n, each) for n, each in enumerate(tricky, 1)])
    assert LITERAL.answer(WHEN, context.text).text == NOT_KNOWN
    answer = LITERAL.answer(NOW, context.text)
    assert (answer.text, answer.used) == (CONFLICT, ("", "b", "c"))
