"""The generator: a seed becomes a stream of dated statements and ten questions about it.

Pure: the same arguments give the same instance, byte for byte. The mix of questions is the same at every
length, two of each kind. Answers and evidence come from reading the rendered text with the published
grammar, not from the plot, so that a stream cannot ask for what it did not say.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

from memalpha.errors import InvalidInputError, make
from memalpha.tasks.instance import Chunk, Instance
from memalpha.tasks.ledger import grammar
from memalpha.tasks.ledger.grammar import Clause, Key
from memalpha.tasks.ledger.plot import Beat, Role, Story, plot
from memalpha.tasks.ledger.questions import questions
from memalpha.tasks.ledger.truth import REVOKED, VALID, State, Truth
from memalpha.tasks.ledger.wording import DISTRACTORS, HEDGES, UNSEEN_HEDGES, Act, sentence, wordings
from memalpha.tasks.ledger.words import VALUES, Split, other_than, split_of

SOURCE = "ledger"
MOST_UNITS = 60
"""The names of the smaller split suffice for so many."""

_FIRST_DAY = date(2024, 1, 1)
_LONGEST_WAIT = 60
_MOST_TRIES = 64

_STRANGER = "a neighbour"
_TRUE = frozenset(Role) - {Role.RUMOUR, Role.FALSE_RUMOUR, Role.REPEAT, Role.DISTRACTOR}
_ACTS: dict[Role, tuple[Act, Act]] = {
    Role.HOT: (Act.SET, Act.CHANGE),
    Role.HOT_EVENT: (Act.EVENT, Act.MOVE),
    Role.COLD: (Act.SET, Act.SET),
    Role.CHANGED: (Act.SET, Act.CHANGE),
    Role.REVOKED: (Act.VALID, Act.REVOKE),
    Role.CONFIRMED: (Act.VALID, Act.VALID),
    Role.EVENT: (Act.EVENT, Act.EVENT),
    Role.RUMOUR: (Act.SET, Act.SET),
    Role.RETRACTED: (Act.SET, Act.RETRACT),
    Role.CANCELLED: (Act.EVENT, Act.CANCEL),
}
"""What a story's first statement does, and what each later one."""


def ledger(seed: int, units: int = 1, *, split: Split = "train", unseen_wording: bool = False) -> Instance:
    """One stream with its questions.

    Args:
        seed: Another seed is another stream.
        units: Length in units of six chunks, from 1; 40 is 240 chunks.
        split: Whose names and combinations of wordings.
        unseen_wording: Words everything as no training does.

    Raises:
        InvalidInputError: `INVALID_UNITS`.
    """
    if not 1 <= units <= MOST_UNITS:
        message = f"units must be from 1 to {MOST_UNITS}, not {units}"
        raise make(InvalidInputError, "INVALID_UNITS", message, units=units)
    rng = random.Random(f"{seed} {units} {split}")
    beats = plot(rng, units, split)
    telling = _Telling(rng, split, unseen_wording)
    chunks = tuple(telling.chunk(number, each) for number, each in enumerate(beats))
    truth = Truth()
    for number, chunk in enumerate(chunks):
        truth.tell(grammar.strict(chunk.text), number)
    stories = [beat.story for each in beats for beat in each if beat.number == 0]
    asked = questions(rng, stories, truth, _day_after(chunks[-1]))
    wording = "-unseen" if unseen_wording else ""
    return Instance(f"ledger-{split}{wording}-{units}x-{seed}", SOURCE, chunks, tuple(asked))


def _day_after(chunk: Chunk) -> str:
    return (date.fromisoformat(chunk.event_time) + timedelta(days=1)).isoformat()


@dataclass(frozen=True, slots=True)
class _Said:
    """A statement before it is worded; without a clause, a distractor between two names."""

    clause: Clause | None
    names: tuple[str, str] = ("", "")


class _Telling:
    """Words a plot, keeping the truth that makes changes, repeats and rumours possible."""

    def __init__(self, rng: random.Random, split: Split, unseen: bool) -> None:
        self._rng = rng
        self._split = split
        self._unseen = unseen
        self._truth = Truth()
        self._told: list[Story] = []
        self._today = _FIRST_DAY + timedelta(days=rng.randrange(365))

    def chunk(self, number: int, beats: list[Beat]) -> Chunk:
        """The next day's chunk."""
        said: list[_Said] = []
        for beat in beats:
            said.append(self._said(beat))
            self._truth.tell([each for each in [said[-1].clause] if each], number)
        self._told += [beat.story for beat in beats if beat.number == 0 and beat.story.role in _TRUE]
        chunk = Chunk(self._worded(said), self._today.isoformat())
        self._today += timedelta(days=1)
        return chunk

    def _said(self, beat: Beat) -> _Said:
        role, key = beat.story.role, beat.story.key
        if key is None:
            return self._about_others(role)
        act = self._turn(key) if role is Role.HOT_PASS else _ACTS[role][min(beat.number, 1)]
        return _Said(Clause(act, key, self._values(key, act), hedged=role is Role.RUMOUR))

    def _turn(self, key: Key) -> Act:
        """A hot pass is granted and revoked in turns, and may begin with either."""
        state = self._truth[key].value
        first = self._rng.choice((VALID, REVOKED))
        return Act.VALID if (state or first) == REVOKED else Act.REVOKE

    def _about_others(self, role: Role) -> _Said:
        if role is Role.DISTRACTOR:
            names = sorted({story.key[0] for story in self._told if story.key})
            first = self._rng.choice(names)
            return _Said(None, (first, other_than(self._rng, [*names, _STRANGER], first)))
        if role is Role.REPEAT:
            key = self._rng.choice(self._keys(Role.HOT, Role.CHANGED))
            return _Said(Clause(Act.REPEAT, key, (self._truth[key].value or "",)))
        key = self._rng.choice(self._keys(Role.HOT, Role.CHANGED, Role.COLD))
        return _Said(Clause(Act.SET, key, self._values(key, Act.SET), hedged=True))

    def _keys(self, *roles: Role) -> list[Key]:
        return [story.key for story in self._told if story.role in roles and story.key]

    def _values(self, key: Key, act: Act) -> tuple[str, ...]:
        state = self._truth[key]
        if act is Act.RETRACT:
            return (state.value or "",)
        if act in (Act.EVENT, Act.MOVE):
            return (self._day(state),)
        if key[1] not in VALUES:
            return ()
        return (self._value(key[1], state),)

    def _value(self, attribute: str, state: State) -> str:
        """One that few others have: by words, a stranger's same value would be found before the name."""
        uses = self._truth.uses(attribute)
        free = [each for each in VALUES[attribute] if each not in (state.value, state.former)]
        fewest = min(uses[each] for each in free)
        return self._rng.choice([each for each in free if uses[each] == fewest])

    def _day(self, state: State) -> str:
        later = [self._today + timedelta(days=wait) for wait in range(1, _LONGEST_WAIT)]
        return other_than(self._rng, [each.isoformat() for each in later], state.value)

    def _worded(self, said: list[_Said]) -> str:
        """The chunk's text, in a combination of wordings that belongs to the split."""
        templates = [self._template(each) for each in said]
        for _ in range(_MOST_TRIES):
            if split_of("|".join(sorted(templates))) == self._split:
                break
            templates = [self._template(each) for each in said]
        filled = [template.format(**_slots(each)) for template, each in zip(templates, said, strict=True)]
        return " ".join(map(sentence, filled))

    def _template(self, said: _Said) -> str:
        if said.clause is None:
            return self._rng.choice(DISTRACTORS)
        choices = wordings(said.clause.act, unseen=self._unseen) or wordings(said.clause.act, unseen=False)
        template = self._rng.choice(choices).template
        hedge = self._rng.choice(UNSEEN_HEDGES if self._unseen else HEDGES)
        return hedge.replace("{c}", template) if said.clause.hedged else template


def _slots(said: _Said) -> dict[str, str]:
    if said.clause is None:
        return dict(zip("nm", said.names, strict=True))
    name, word = said.clause.key
    value = said.clause.values[0] if said.clause.values else ""
    return {"n": name, "a": word, "b": word, "e": word, "v": value, "d": value}
