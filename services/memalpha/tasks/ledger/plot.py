"""The plot of a stream: which stories it tells, and in which chunk each of their statements stands.

A unit is six chunks of three statements and always tells the same stories, so that longer streams are more of
the same. **Cold** stories are told once and left alone, anywhere in the stream; a stream has three **hot**
ones, an attribute, a pass and an event, of which one is touched in every chunk, however long it gets. Some
names serve two stories, so that a name alone does not tell which is meant.

Statements about keys that have memories by then weigh, and chunks are filled so that two such keys meet in
one at most, wherever there is room: a view of four memories shows what a writer has to see, and strangers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from memalpha.tasks.ledger.grammar import Key
from memalpha.tasks.ledger.words import SORTS, Sort, Split, shuffled_names

UNIT_CHUNKS = 6
STATEMENTS = 3
_MOST_WEIGHT = 2  # of one chunk
_SHARED_NAMES = 1 / 3


class Role(StrEnum):
    """What happens in a story, named by its statements."""

    HOT = "hot"
    HOT_PASS = "hot_pass"
    HOT_EVENT = "hot_event"
    COLD = "cold"
    CHANGED = "changed"
    REVOKED = "revoked"
    CONFIRMED = "confirmed"
    EVENT = "event"
    RUMOUR = "rumour"
    RETRACTED = "retracted"
    CANCELLED = "cancelled"
    # About what other stories told.
    FALSE_RUMOUR = "false_rumour"
    REPEAT = "repeat"
    DISTRACTOR = "distractor"


_HOT = (Role.HOT, Role.HOT_PASS, Role.HOT_EVENT)
# The cold stories of a unit, by the number of their statements; one of each group.
_PAIRS = ((Role.CHANGED,), (Role.REVOKED, Role.CONFIRMED), (Role.RETRACTED, Role.CANCELLED))
_SINGLES = (Role.COLD, Role.EVENT, Role.RUMOUR)
# These need something that was told before, and follow when every hot story has begun.
_LATER = (Role.FALSE_RUMOUR, Role.REPEAT, Role.DISTRACTOR)
_OF_PASSES = (Role.HOT_PASS, Role.REVOKED, Role.CONFIRMED)
_OF_EVENTS = (Role.HOT_EVENT, Role.EVENT, Role.CANCELLED)
# Whose statements are about semantic memories; of pairs, whose second ones are.
_HEAVY = (Role.HOT, Role.HOT_PASS, Role.FALSE_RUMOUR, Role.REPEAT)
_HEAVY_LATER = (Role.CHANGED, Role.REVOKED, Role.CONFIRMED, Role.RETRACTED)


@dataclass(frozen=True, slots=True)
class Story:
    """A story; `key` is None for those about others."""

    role: Role
    key: Key | None


@dataclass(frozen=True, slots=True)
class Beat:
    """One statement of a story: its story and its number in it."""

    story: Story
    number: int


def plot(rng: random.Random, units: int, split: Split) -> list[list[Beat]]:
    """The beats of each chunk, in order.

    Args:
        rng: Every choice is drawn from it.
        units: Length of the stream, in units of `UNIT_CHUNKS` chunks.
        split: Whose names are used.
    """
    cast = _Cast(rng, split)
    chunks: list[list[Beat]] = [[] for _ in range(units * UNIT_CHUNKS)]
    hot = [cast.story(role) for role in _HOT]
    turns = [story for _ in range(0, len(chunks), len(hot)) for story in rng.sample(hot, len(hot))]
    for place, (chunk, story) in enumerate(zip(chunks, turns, strict=True)):
        chunk.append(Beat(story, place // len(hot)))
    _place(rng, chunks[len(hot) :], [Story(role, None) for role in _LATER * units], beats=1)
    pairs = [rng.choice(group) for _ in range(units) for group in _PAIRS]
    _place(rng, chunks, [cast.story(role) for role in pairs], beats=2)
    _place(rng, chunks, [cast.story(role) for role in _SINGLES * units], beats=1)
    for chunk in chunks:
        rng.shuffle(chunk)
    return chunks


def _place(rng: random.Random, chunks: Sequence[list[Beat]], stories: Sequence[Story], beats: int) -> None:
    """Puts each story's statements into different chunks with room, in order."""
    for story in stories:
        heaviest = _weight(Beat(story, beats - 1))
        free = [chunk for chunk in chunks if len(chunk) < STATEMENTS]
        light = [chunk for chunk in free if sum(map(_weight, chunk)) + heaviest <= _MOST_WEIGHT]
        choices = light if len(light) >= beats else free
        for number, place in enumerate(sorted(rng.sample(range(len(choices)), beats))):
            choices[place].append(Beat(story, number))


def _weight(beat: Beat) -> int:
    role = beat.story.role
    return int(role in _HEAVY or (role in _HEAVY_LATER and beat.number > 0))


class _Cast:
    """Gives stories their keys, no key twice."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self._rng = rng
        self._names = shuffled_names(rng, split)
        self._known: list[tuple[str, Sort]] = []
        self._taken: set[Key] = set()

    def story(self, role: Role) -> Story:
        """A story of a known name or of a new one."""
        if role not in _HOT and self._known and self._rng.random() < _SHARED_NAMES:
            # Each name serves two stories at most.
            name, sort = self._known.pop(self._rng.randrange(len(self._known)))
        else:
            name, sort = next(self._names), self._rng.choice(SORTS)
            if role not in _HOT:
                self._known.append((name, sort))
        return Story(role, self._key(name, sort, role))

    def _key(self, name: str, sort: Sort, role: Role) -> Key:
        free = [key for key in _keys(name, sort, role) if key not in self._taken]
        key = self._rng.choice(free)
        self._taken.add(key)
        return key


def _keys(name: str, sort: Sort, role: Role) -> Iterator[Key]:
    words = sort.passes if role in _OF_PASSES else sort.events if role in _OF_EVENTS else sort.attributes
    return ((name, word) for word in words)
