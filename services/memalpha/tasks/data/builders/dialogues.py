"""Dated dialogue: BEAM's long chats and sessions in LongMemEval's form, told turn by turn.

A header names the day wherever it changes, and at the head of each chunk. A chat that is too long for one
instance becomes several, and a question belongs to the one that holds all its evidence; what is nowhere whole
is left out. So is a question that cites nothing, but for those that the chat cannot answer: they go to
its first part. Of a history that is too long, the sessions that hold the answer stay, and others at random.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from memalpha.tasks.data.draft import Draft, Job
from memalpha.tasks.data.packing import Packing, draw_targets, holding
from memalpha.tasks.data.readers.beam import Chat, Probe
from memalpha.tasks.data.readers.longmemeval import History, Session
from memalpha.tasks.instance import Chunk, Instance, Question
from memcore import count_tokens

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)
"""How much of an instance's room the sessions may take; less is tried if turns leave chunks half empty."""

UNANSWERABLE = "abstention"
"""BEAM's kind of question that the chat cannot answer."""


@dataclass(slots=True)
class _Telling:
    """Turns on their way into chunks; `pieces` says which part of a turn or session is in which chunk."""

    packing: Packing
    times: dict[int, str] = field(default_factory=dict)
    pieces: dict[str, dict[int, str]] = field(default_factory=dict)
    _day: str = ""

    def add(self, key: str, role: str, text: str, time: str) -> bool:
        """Takes a turn; False if there is no room for it."""
        line = f"{role.capitalize() or 'User'}: {text.strip()}"
        is_new_day = time[:10] != self._day and bool(self.times)
        found = self.packing.add(f"{_header(time)}{line}" if is_new_day else line)
        if found is None:
            return False
        self._day = time[:10]
        for place, piece in found.items():
            self.times.setdefault(place, time)
            self.pieces.setdefault(key, {})[place] = self.pieces.get(key, {}).get(place, "") + piece
        return True

    def chunks(self) -> list[Chunk]:
        """The chunks, each with its header."""
        return [_chunk(body, self.times[place]) for place, body in enumerate(self.packing.bodies())]


def chats(rows: Iterable[Chat], job: Job) -> Iterator[Instance]:
    """Instances of one chat after the other, each a part of it."""
    number = 1
    for chat in rows:
        messages = deque(message for message in chat.messages if message.text.strip())
        probes = [probe for probe in chat.probes if _is_asked(probe)]
        while messages:
            draft = job.draft(number)
            telling = _Telling(draft.packing("\n"))
            while messages and telling.add(
                messages[0].id, messages[0].role, messages[0].text, messages[0].time
            ):
                messages.popleft()
            if not telling.pieces:
                messages.popleft()  # longer than a whole instance
                continue
            asked = [probe for probe in probes if telling.pieces.keys() >= set(probe.cited)]
            probes = [probe for probe in probes if probe not in asked]
            draft.questions += [_probe(probe, telling.pieces) for probe in asked]
            if instance := draft.finish(telling.chunks()):
                yield instance
                number += 1


def _is_asked(probe: Probe) -> bool:
    return bool(probe.answer.strip()) and bool(probe.cited or probe.kind == UNANSWERABLE)


def histories(rows: Iterable[History], job: Job) -> Iterator[Instance]:
    """One instance for each history whose evidence is there and fits."""
    number = 1
    for history in rows:
        if instance := _history(history, job.draft(number)):
            yield instance
            number += 1


def _history(history: History, draft: Draft) -> Instance | None:
    targets = draw_targets(draft.limits, draft.rng)
    order = draft.rng.sample(history.sessions, len(history.sessions))
    for share in SHARES:
        telling = _Telling(Packing(targets, draft.limits.chunk_tokens[1], "\n"))
        chosen = _chosen(history, order, int(share * sum(targets)))
        if all(_tell(session, telling) for session in history.sessions if session.id in chosen):
            break
    else:
        return None
    if not history.evidence <= telling.pieces.keys():
        return None
    evidence = _places((history.answer,), telling.pieces, history.evidence)
    draft.questions.append(
        Question(history.question, (history.answer,), "judge", evidence, history.kind, history.time)
    )
    return draft.finish(telling.chunks())


def _tell(session: Session, telling: _Telling) -> bool:
    turns = ((role, text) for role, text in session.turns if text.strip())
    return all(telling.add(session.id, role, text, session.time) for role, text in turns)


def _chosen(history: History, order: Iterable[Session], room: int) -> set[str]:
    """The evidence, and other sessions in the given order as long as there is room, in tokens."""
    chosen = set(history.evidence)
    sizes = {session.id: _tokens(session) for session in history.sessions}
    room -= sum(sizes.get(id_, 0) for id_ in chosen)
    for session in order:
        if session.id not in chosen and sizes[session.id] <= room:
            chosen.add(session.id)
            room -= sizes[session.id]
    return chosen


def _tokens(session: Session) -> int:
    return sum(
        map(count_tokens, [_header(session.time), *(f"{role}: {text}" for role, text in session.turns)])
    )


def _probe(probe: Probe, pieces: Mapping[str, dict[int, str]]) -> Question:
    return Question(
        probe.text, (probe.answer,), "judge", _places((probe.answer,), pieces, probe.cited), probe.kind
    )


def _places(
    answers: tuple[str, ...], pieces: Mapping[str, dict[int, str]], keys: Iterable[str]
) -> tuple[int, ...]:
    return tuple(sorted({place for key in keys for place in holding(pieces[key], answers)}))


def _chunk(body: str, time: str) -> Chunk:
    return Chunk(_header(time) + body, time)


def _header(time: str) -> str:
    return f"[Conversation on {time.replace('T', ' ')}]\n" if time else ""
