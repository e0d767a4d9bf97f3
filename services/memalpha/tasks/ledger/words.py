"""The ledger's vocabulary: made-up names for people and boats, and what can be told of them.

Names are two of sixty syllables, so that a reader of unseen names meets new combinations of known parts.
Every name, and every combination of wordings in a chunk, belongs to one `Split` by its hash alone; no list
has to be kept for training and evaluation to stay apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal
from zlib import crc32

Split = Literal["train", "eval"]

_CONSONANTS = "bdfgjklmnprtvwz"
_VOWELS = "aiou"  # without e, whose words of two syllables are often English ones
SYLLABLES = tuple(consonant + vowel for consonant, vowel in product(_CONSONANTS, _VOWELS))
# One in four is kept for evaluation.
_EVAL_SHARE = 4


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


VALUES: dict[str, tuple[str, ...]] = {
    "home": _words(
        "Oslo Madrid Kyiv Rome Cairo Delhi Quito Paris Seoul Tunis",
        "Accra Lagos Hanoi Perth Miami Turin Zurich Havana Dallas Osaka",
    ),
    "job": _words(
        "baker pilot nurse clerk judge miner painter tailor farmer guard",
        "actor barber brewer cook dentist driver plumber singer teacher weaver",
    ),
    "pet": _words(
        "cat dog parrot horse rabbit turtle goat ferret canary hen",
        "donkey duck fish frog goose hamster lizard mouse pony snake",
    ),
    "drink": _words(
        "tea coffee milk cider water juice cocoa soda beer broth",
        "ale brandy cola gin lemonade mead rum sherry whisky wine",
    ),
    "colour": _words(
        "red green blue white black yellow brown grey orange purple",
        "amber beige crimson gold indigo ivory pink scarlet silver violet",
    ),
    "harbour": _words(
        "Bergen Porto Malta Haifa Dover Cork Genoa Split Naples Kiel",
        "Athens Bremen Cadiz Calais Gdansk Lisbon Odessa Gothenburg Tallinn Venice",
    ),
    "cargo": _words(
        "salt wool coal rice timber steel grain cement copper paper",
        "bricks cotton flour glass iron marble pepper sugar tin tobacco",
    ),
    "engine": _words(
        "diesel steam petrol solar gas turbine hybrid nuclear electric oil",
        "alcohol atomic battery hydrogen kerosene methane naphtha pedal propane rotary",
    ),
}
"""What can be told of a thing or a person, with the values it can have."""


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort of named beings: the attributes with values, what can be revoked, and what has a day."""

    attributes: tuple[str, ...]
    passes: tuple[str, ...]
    events: tuple[str, ...]


PERSON = Sort(("home", "job", "pet", "drink"), ("badge", "permit"), ("exam", "wedding", "trip"))
BOAT = Sort(("colour", "harbour", "cargo", "engine"), ("licence", "insurance"), ("launch", "repair", "race"))
SORTS = (PERSON, BOAT)
ATTRIBUTES = tuple(VALUES)
PASSES = PERSON.passes + BOAT.passes
EVENTS = PERSON.events + BOAT.events


def split_of(text: str) -> Split:
    """The side on which a name or a combination is."""
    return "train" if crc32(text.encode()) % _EVAL_SHARE else "eval"


@cache
def names(split: Split) -> tuple[str, ...]:
    """All names of a split."""
    every = (first + second for first, second in product(SYLLABLES, repeat=2) if first != second)
    return tuple(name.capitalize() for name in every if split_of(name) == split)


def shuffled_names(rng: random.Random, split: Split) -> Iterator[str]:
    """The names of a split in an order of chance, each once."""
    order = list(names(split))
    rng.shuffle(order)
    return iter(order)


def other_than(rng: random.Random, choices: Sequence[str], *taken: str | None) -> str:
    """One of the choices that is not taken."""
    return rng.choice([choice for choice in choices if choice not in taken])
