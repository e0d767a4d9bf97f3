"""`demo`: one file's whole way, in this process: what was kept, what was changed, and what answers questions.

A question from the questions file names the turns that hold its answer. It counts as found if a memory that
was shown says what such a turn says, beyond the question's own words: at least half of its longer words and
numbers are the turn's, and it was made from the turn's chunk or is a part of core memory.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from memalpha import app
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.banks import print_counts, print_memories
from memalpha.cli.documents import document, print_document
from memalpha.cli.history import print_change
from memalpha.cli.memorize import prepare, store, until_memorized
from memalpha.cli.patience import Patience
from memalpha.cli.progress import Board
from memalpha.cli.recall import print_hits
from memalpha.cli.shell import Session
from memalpha.cli.style import Screen, one_line, visible
from memalpha.config import Settings
from memalpha.sources import SourceError, Turn, read
from memalpha.sources.files import load
from memalpha.sources.structured import parse_json

BANK = "demo"
SHOWN_HITS = 3
SHOWN_MEMORIES = 12
SHOWN_CHANGES = 12

_LONGER_WORDS = re.compile(r"[^\W\d_]{4,}|\d{2,}")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the turns, counted from 0, that hold its answer; none if nobody says."""

    text: str
    evidence: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was recalled, and whether it holds what the evidence says; `found` is None without evidence."""

    question: Question
    response: agent_pb.RecallResponse
    in_core: str
    """The part of core memory that holds it, if one does."""
    found: bool | None


def demo(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="What to memorize.", show_default=False)],
    questions: Annotated[
        Path | None, typer.Option(help="JSON list of questions, each with its evidence.", show_default=False)
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="A question; may be given again.", show_default=False)
    ] = None,
    conversation: Annotated[str, typer.Option(help="Which conversation of a LoCoMo file.")] = "",
    data: Annotated[
        Path | None, typer.Option(help="Keep the store in this folder; otherwise it is gone afterwards.")
    ] = None,
) -> None:
    """Memorize a file and ask it questions, without services.

    Example: `memalpha demo notes.md --ask "What did I plan for May?"`

    Without --ask and --questions it asks you for questions, on a terminal.

    With --json: bank, memories, changes, answers.
    """
    session: Session = ctx.obj
    settings = session.settings()
    turns = read(file, conversation=conversation)
    wanted = [Question(text) for text in ask or ()] + (
        _read_questions(questions, len(turns)) if questions else []
    )
    asyncio.run(_demo(session, settings, turns, wanted, data))


async def _demo(
    session: Session, settings: Settings, turns: Sequence[Turn], wanted: Sequence[Question], data: Path | None
) -> None:
    async with app.embedded(data, settings) as faces:
        bank = await _memorize(faces, turns, settings, session.screen)
        memories = [memory async for memory in faces.memory.memories(BANK)]
        changes = [change async for change in _changes(faces)]
        answers = [await _answer(faces, question, turns) for question in wanted]
        if session.json:
            print_document(_document(bank, memories, changes, answers))
            return
        _print_kept(session.screen, bank, memories, changes)
        for answer in answers:
            _print_answer(session.screen, answer)
        _print_score(session.screen, answers)
        if not wanted and sys.stdin.isatty():
            await _ask_on_terminal(faces, turns, session.screen)


async def _memorize(
    faces: app.Embedded, turns: Sequence[Turn], settings: Settings, screen: Screen
) -> pb.Bank:
    job = prepare(turns, BANK, settings.chunk_tokens)
    with Board(screen) as board:
        patience = Patience(0, board.note)
        stored = await store(job, faces.memory, settings, patience, board)
        return await until_memorized(stored, faces, settings, patience, board)


async def _changes(faces: app.Faces) -> AsyncIterator[pb.OperationApplied]:
    """Operations that changed or removed a memory that was there."""
    async for event in faces.memory.events(BANK):
        applied = event.operation_applied
        is_edit = applied.operation.WhichOneof("operation") in ("update", "delete")
        if is_edit and applied.before.content and applied.before.type != pb.MEMORY_TYPE_CORE:
            yield applied


async def _answer(faces: app.Faces, question: Question, turns: Sequence[Turn]) -> Answer:
    request = agent_pb.RecallRequest(
        bank_id=BANK, query=question.text, limit=SHOWN_HITS, include_sources=True
    )
    response = await faces.agent.recall(request)
    del response.hits[SHOWN_HITS:]
    evidence = [turns[index] for index in question.evidence]
    in_core = next((part for turn in evidence for part in _core_parts(response, question, turn)), "")
    in_hits = any(_is_in_hits(response, question, turn) for turn in evidence)
    return Answer(question, response, in_core, in_hits or bool(in_core) if evidence else None)


def _is_in_hits(response: agent_pb.RecallResponse, question: Question, turn: Turn) -> bool:
    homes = {chunk.position for chunk in response.sources if turn.text in chunk.text}
    made_from_it = [hit.memory for hit in response.hits if hit.memory.provenance.chunk_position in homes]
    return any(says(memory.content, turn, question.text) for memory in made_from_it)


def _core_parts(response: agent_pb.RecallResponse, question: Question, turn: Turn) -> list[str]:
    parts = re.split(r"[;\n]|(?<=[.!?])\s", response.core.content)
    return [part.strip() for part in parts if says(part, turn, question.text)]


def says(memory: str, turn: Turn, question: str) -> bool:
    """Tells whether a memory says what a turn says, beyond what the question says already."""
    words = _words(memory) - _words(question) - _words(turn.speaker)
    return 2 * len(words & _words(turn.text)) >= max(1, len(words))


def _words(text: str) -> set[str]:
    return set(_LONGER_WORDS.findall(text.lower()))


def _read_questions(path: Path, turns: int) -> list[Question]:
    """Reads `[{"question": "…", "evidence": [3, 17]}]`."""
    entries = parse_json(load(str(path)).text, path.name)
    if not isinstance(entries, list):
        raise SourceError(f"{path.name} must be an array of questions")
    return [_question(entry, f"{path.name}, question {n}", turns) for n, entry in enumerate(entries, start=1)]


def _question(entry: Any, where: str, turns: int) -> Question:
    if not isinstance(entry, dict) or not isinstance(entry.get("question"), str):
        raise SourceError(f'{where} must be an object with "question"')
    evidence = entry.get("evidence", [])
    if not isinstance(evidence, list) or not all(isinstance(n, int) and 0 <= n < turns for n in evidence):
        raise SourceError(f'{where}: "evidence" must be a list of turns, counted from 0 to {turns - 1}')
    return Question(entry["question"], evidence)


async def _ask_on_terminal(faces: app.Faces, turns: Sequence[Turn], screen: Screen) -> None:
    screen.out.print("\nAsk about it; an empty line ends.", style="dim")
    while text := typer.prompt("?", default="", show_default=False, prompt_suffix=" ").strip():
        _print_answer(screen, await _answer(faces, Question(text), turns))


def _print_kept(
    screen: Screen, bank: pb.Bank, memories: Sequence[pb.Memory], changes: Sequence[pb.OperationApplied]
) -> None:
    print_counts(screen, bank)
    for kind in (pb.MEMORY_TYPE_CORE, pb.MEMORY_TYPE_SEMANTIC, pb.MEMORY_TYPE_EPISODIC):
        of_kind = [memory for memory in memories if memory.type == kind]
        if of_kind:
            screen.out.print()
        print_memories(screen, of_kind[:SHOWN_MEMORIES])
        _print_rest(screen, len(of_kind) - SHOWN_MEMORIES)
    if changes:
        screen.out.print("\nchanged on the way", style="bold")
        for change in changes[:SHOWN_CHANGES]:
            print_change(screen.out, change)
        _print_rest(screen, len(changes) - SHOWN_CHANGES)


def _print_rest(screen: Screen, count: int) -> None:
    if count > 0:
        screen.out.print(f"… and {count:,} more", style="dim")


def _print_answer(screen: Screen, answer: Answer) -> None:
    mark, style = {True: ("  found", "green"), False: ("  missed", "red"), None: ("", "")}[answer.found]
    screen.out.print(Text.assemble((f"\n? {visible(answer.question.text)}", "bold"), (mark, style)))
    if answer.in_core:
        screen.out.print(Text.assemble("   ", ("core", "magenta"), f"  {one_line(answer.in_core)}"))
    print_hits(screen, answer.response, answer.question.text, with_core=False)


def _print_score(screen: Screen, answers: Sequence[Answer]) -> None:
    judged = [answer for answer in answers if answer.found is not None]
    if judged:
        found = sum(bool(answer.found) for answer in judged)
        screen.out.print(
            f"\n{found} of {len(judged)} answers found in core memory or the first {SHOWN_HITS} memories",
            style="bold",
        )


def _document(
    bank: pb.Bank,
    memories: Sequence[pb.Memory],
    changes: Sequence[pb.OperationApplied],
    answers: Sequence[Answer],
) -> dict[str, Any]:
    return {
        "bank": document(bank),
        "memories": [document(memory) for memory in memories],
        "changes": [document(change) for change in changes],
        "answers": [
            {
                "question": answer.question.text,
                "found": answer.found,
                "hits": document(answer.response)["hits"],
            }
            for answer in answers
        ],
    }
