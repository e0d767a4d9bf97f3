"""A first look: what `Recall` gives for a few questions of one conversation that the services have memorized.

For the first question of each category, in file order, that names usable evidence: every hit among the
first places, and whether it holds the evidence. A hit *holds* an evidence turn if it was made from that
turn's chunk and at least half of the turn's words are in it; that is a fixed rule, not a judgement of the
answer. The data set's words are shown only if asked for, since its licence keeps them out of our reports.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallHit, RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import MemoryType
from memalpha.client import AgentClient
from memalpha_evals import pages
from memalpha_evals.datasets import Conversation, Question, Turn

PLACES = 10
"""Hits that are looked at."""

_HELD_SHARE = 0.5
_KINDS = {MemoryType.MEMORY_TYPE_SEMANTIC: "semantic", MemoryType.MEMORY_TYPE_EPISODIC: "episodic"}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Place:
    """One hit: its rank from 1, its kind, date, tokens and score, and the evidence turns that it holds."""

    rank: int
    kind: str
    event_time: str
    tokens: int
    score: float
    holds: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """One question, by its number in the file's list from 0, and its hits."""

    number: int
    question: Question
    places: tuple[Place, ...]

    @property
    def first(self) -> int | None:
        """Rank of the first hit that holds evidence."""
        return next((place.rank for place in self.places if place.holds), None)


def firsts(conversation: Conversation) -> Iterator[tuple[int, Question]]:
    """The first question of each category that has evidence, in file order, with its number."""
    seen: set[str] = set()
    for number, question in enumerate(conversation.questions):
        if question.evidence and question.category not in seen:
            seen.add(question.category)
            yield number, question


def look(conversation: Conversation, agent: AgentClient, bank_id: str) -> list[Look]:
    """Asks the questions of a bank into which the conversation was memorized."""
    turns = {turn.id: turn for turn in conversation.turns}
    looks = []
    for number, question in firsts(conversation):
        request = RecallRequest(bank_id=bank_id, query=question.text, limit=PLACES, include_sources=True)
        evidence = [turns[id_] for id_ in sorted(question.evidence)]
        looks.append(Look(number, question, _places(agent.recall(request), evidence)))
    return looks


def _places(answer: RecallResponse, evidence: list[Turn]) -> tuple[Place, ...]:
    chunks = {chunk.position: chunk.text for chunk in answer.sources}
    return tuple(
        _place(rank, hit, chunks, evidence) for rank, hit in enumerate(answer.hits[:PLACES], start=1)
    )


def _place(rank: int, hit: RecallHit, chunks: dict[int, str], evidence: list[Turn]) -> Place:
    if hit.WhichOneof("found") == "pending":
        found, text, source = hit.pending, hit.pending.text, hit.pending.text
        kind = "pending"
    else:
        found, text = hit.memory, hit.memory.content
        source = chunks.get(hit.memory.provenance.chunk_position, "")
        kind = _KINDS[hit.memory.type]
    holds = tuple(turn.id for turn in evidence if _said_in(turn, source) and _held(turn, text))
    return Place(rank, kind, found.event_time, found.token_count, hit.score, holds, text)


def _said_in(turn: Turn, chunk: str) -> bool:
    """A picture's caption is the adapter's, so that only the words before it are looked for."""
    return turn.text.partition(" [shares ")[0] in chunk


def _held(turn: Turn, text: str) -> bool:
    speaker, _, said = turn.text.partition(" [shares ")[0].partition(": ")
    words = set(_WORD.findall(said.lower())) or {speaker.lower()}
    return len(words & set(_WORD.findall(text.lower()))) >= _HELD_SHARE * len(words)


def markdown(conversation: Conversation, looks: list[Look], *, words: bool) -> str:
    """The looks as Markdown: a line for each question, then its hits; `words` adds the data set's texts."""
    found = sum(look.first is not None for look in looks)
    blocks = [
        f"Conversation `{conversation.id}`: evidence held by one of the first {PLACES} hits "
        f"for {found} of {len(looks)} questions."
    ]
    blocks.extend(_block(look, words=words) for look in looks)
    return "\n\n".join(blocks)


def _block(look: Look, *, words: bool) -> str:
    question = look.question
    verdict = f"**hit at {look.first}**" if look.first else "**miss**"
    evidence = ", ".join(sorted(question.evidence))
    head = f"### qa[{look.number}], {question.category}, evidence {evidence}: {verdict}"
    asked = [f"> {question.text}"] if words else []
    columns = ["rank", "type", "date", "tokens", "score", "holds", *(["text"] if words else [])]
    rows = [_cells(place, words=words) for place in look.places] or [["(no hits)"]]
    table = pages.grid([columns, ["---"] * len(columns), *rows])
    return "\n".join([head, "", *asked, *([""] if asked else []), table])


def _cells(place: Place, *, words: bool) -> list[str]:
    cells = [
        str(place.rank),
        place.kind,
        place.event_time or "-",
        str(place.tokens),
        f"{place.score:.2f}",
        ", ".join(place.holds) or "-",
    ]
    if words:
        cells.append(place.text)
    return cells
