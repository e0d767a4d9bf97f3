"""Scripted writers: what they do about a prompt, and what their memories are worth."""

import pytest

from memalpha.agent import wire
from memalpha.agent.prompts import PromptView
from memalpha.agent.tools import ToolCall
from memalpha.tasks import Chunk, Instance
from memalpha.tasks.ledger import GRAMMAR, LITERAL, ledger
from memalpha.tasks.ledger.writers import (
    GOOD_TEACHER,
    TEACHER,
    AllValues,
    CoreTable,
    Rates,
    Teacher,
    WithoutDeletes,
    WithoutUpdates,
)
from memalpha.tasks.writers import Empty, Verbatim, Writer
from memcore import count_tokens

from .support import accuracy, answered, contexts, view

ORACLE = Teacher()
WRONG = Teacher(Rates(rumour=1, revoke=1, change=1))


def lines(writer: Writer, chunk: str, **shown) -> str:
    return wire.get("lines").render(writer.calls(view(chunk, **shown)))


@pytest.mark.parametrize(
    ("chunk", "semantic", "right", "wrong"),
    [
        ("Tavo's home is Oslo.", [], "S+ Tavo's home is Oslo\n", "S+ Tavo's home is Oslo\n"),
        ("Tavo's home is still Oslo.", ["Tavo's home is Oslo"], "", ""),
        (
            "Tavo's home is now Rome.",
            ["Kelu's pet is cat", "Tavo's home is Oslo"],
            "S=b Tavo's home is Rome, earlier Oslo\n",
            "S+ Tavo's home is Rome\n",
        ),
        (
            "Tavo's home is now Kyiv.",
            ["Tavo's home is Rome, earlier Oslo"],
            "S=a Tavo's home is Kyiv, earlier Rome\n",
            "S+ Tavo's home is Kyiv\n",
        ),
        ("Perhaps Tavo's home is Rome.", ["Tavo's home is Oslo"], "", "S+ Tavo's home is Rome\n"),
        ("Tavo's home is not Oslo after all.", ["Tavo's home is Oslo"], "S-a\n", ""),
        ("The badge of Tavo was withdrawn.", ["Tavo's badge is valid"], "S=a Tavo's badge is revoked\n", ""),
        ("Kelu waved to Tavo.", ["Tavo's home is Oslo"], "", ""),
    ],
)
def test_the_oracle_does_right_and_the_teacher_wrong(
    chunk: str, semantic: list[str], right: str, wrong: str
) -> None:
    assert lines(ORACLE, chunk, semantic=semantic) == right
    assert lines(WRONG, chunk, semantic=semantic) == wrong


def test_events_move_and_are_cancelled_by_their_aliases() -> None:
    shown = [("2024-05-01", "Tavo's exam")]
    assert lines(ORACLE, "Tavo's exam is on 2024-05-01.") == "E+ 2024-05-01 Tavo's exam\n"
    assert lines(ORACLE, "Tavo's exam moved to 2024-05-09.", episodic=shown) == "E=a 2024-05-09 Tavo's exam\n"
    assert lines(ORACLE, "Tavo's exam is cancelled.", episodic=shown) == "E-a\n"


def test_ablations_add_instead_of_updating_and_never_delete() -> None:
    chunk = "Tavo's home is now Rome. Kelu's pet is not cat after all."
    shown = ["Tavo's home is Oslo", "Kelu's pet is cat"]
    update, delete = "S=a Tavo's home is Rome, earlier Oslo\n", "S-b\n"
    assert lines(ORACLE, chunk, semantic=shown) == update + delete
    assert lines(WithoutUpdates(ORACLE), chunk, semantic=shown) == update.replace("S=a", "S+") + delete
    assert lines(WithoutDeletes(ORACLE), chunk, semantic=shown) == update


def test_a_teacher_is_wrong_as_often_as_it_says_and_the_same_about_the_same_prompt() -> None:
    chunks = [f"Perhaps Tavo's home is Rome. Kelu waved to boat {number}." for number in range(400)]
    stored = [bool(lines(Teacher(TEACHER), chunk)) for chunk in chunks]
    # 400 draws at 0.7: standard deviation 0.023
    assert sum(stored) / 400 == pytest.approx(0.7, abs=0.08)
    assert stored == [bool(lines(Teacher(TEACHER), chunk)) for chunk in chunks]
    assert stored != [bool(lines(Teacher(TEACHER, seed=1), chunk)) for chunk in chunks]


def test_greedy_decoding_of_the_teacher_is_always_wrong_where_it_mostly_is() -> None:
    assert TEACHER.greedy() == Rates(rumour=1, revoke=1, change=1, other=0)
    assert GOOD_TEACHER.greedy() == Rates()


def test_a_share_of_verbatim_is_whole_sentences_and_never_more_than_its_share() -> None:
    writer, kept, told = Verbatim(0.4), 0, 0
    for number in range(30):
        chunk = f"Tavo's home is Oslo {number}. Kelu's pet is cat. The boat is red."
        told += count_tokens(chunk)
        for call in writer.calls(view(chunk)):
            content = str(call.arguments["content"])
            assert content.endswith(".")
            kept += count_tokens(content)
        assert kept <= 0.4 * told
    assert kept > 0.35 * told


async def test_the_oracles_memory_answers_everything() -> None:
    for units, seeds in ((1, 10), (4, 3), (13, 1)):
        for seed in range(seeds):
            one = ledger(seed, units, split="eval")
            texts = [each.text for each in await contexts(ORACLE, one)]
            assert accuracy(LITERAL, one, texts) == accuracy(GRAMMAR, one, texts) == 1


async def test_another_streams_memory_is_worth_as_much_as_none() -> None:
    for seed in range(5):
        one, other = ledger(seed, split="eval"), ledger(seed + 50, split="train")
        floor = accuracy(LITERAL, one, [each.text for each in await contexts(Empty(), one)])
        texts = [each.text for each in await contexts(ORACLE, other, asked=one)]
        assert accuracy(LITERAL, one, texts) == floor == 0.2


async def test_without_the_memory_that_was_cited_the_answer_is_another() -> None:
    one = ledger(2, split="eval")
    found = await contexts(ORACLE, one)
    cited = 0
    for question, context, answer in zip(
        one.questions, found, answered(LITERAL, one, [each.text for each in found]), strict=True
    ):
        for alias in answer.used:
            rest = [line for line in context.text.split("\n") if not line.startswith(f"[{alias}]")]
            assert LITERAL.answer(question.question, "\n".join(rest)).text != answer.text
            others = "\n".join(line for line in context.text.split("\n") if line not in rest)
            assert LITERAL.answer(question.question, others).text == answer.text
            cited += 1
    # all but the two that were never told
    assert cited == 8


async def test_cheats_and_shortcuts_are_worth_less_than_a_good_teacher() -> None:
    async def worth(make) -> float:
        total = 0.0
        for seed in range(8):
            one = ledger(seed, split="eval")
            total += accuracy(LITERAL, one, [each.text for each in await contexts(make(), one)])
        return total / 8

    oracle, teacher = await worth(Teacher), await worth(lambda: Teacher(GOOD_TEACHER))
    assert oracle > teacher
    for cheat in (Empty, AllValues, CoreTable, lambda: Verbatim(0.26), lambda: Teacher(TEACHER.greedy())):
        assert await worth(cheat) < teacher - 0.2


class Spy:
    """Stores every chunk, and keeps what it was shown last."""

    def __init__(self) -> None:
        self._writer = Verbatim()
        self.shown: list[str] = []

    def calls(self, view: PromptView) -> list[ToolCall]:
        self.shown = [item.content for item in view.semantic]
        return self._writer.calls(view)


async def test_a_writer_sees_what_matches_the_chunk_or_what_is_newest() -> None:
    rain = [Chunk(f"It rained {number} times.") for number in range(5)]
    chunks = (Chunk("Tavo's home is Oslo."), *rain, Chunk("Tavo's home is now Rome."))
    one = Instance("one", "ledger", chunks, ledger(0).questions)
    relevant, recent = Spy(), Spy()
    await contexts(relevant, one, shown="relevant")
    await contexts(recent, one, shown="recent")
    assert relevant.shown == ["Tavo's home is Oslo."]
    assert sorted(recent.shown) == [chunk.text for chunk in rain[1:]]
