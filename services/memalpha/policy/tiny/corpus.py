"""Text that a tiny tokenizer learns its words from: what a writer of memories reads and writes. Seeded, pure.

Names are put together from syllables, so that the tokenizer learns the syllables and not a list of names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from memalpha.agent import packs, wire
from memalpha.agent.tools import ToolCall

_SYLLABLES = tuple(
    map(
        "".join,
        product("bdfgjklmnprstvwz", ("a", "el", "i", "or", "un")),
    )
)
_THINGS = ("car", "cat", "city", "dog", "flat", "garden", "job", "phone", "pet", "school", "sister", "violin")
_CLAUSES = (
    "{name} lives in {place}.",
    "{name}'s {thing} is {value}.",
    "{name} changed the {thing} from {other} to {value}.",
    "{name} does not have a {thing} any more.",
    "{name} moved to {place} on {date}.",
    "People say that {name}'s {thing} may be {value}, but nobody knows.",
    "As I said, {name}'s {thing} is still {value}.",
    "On {date} {name} bought a {thing} in {place}.",
    "What is {name}'s {thing}? When did {name} move?",
    "[{date}] {name}: I was in {place} yesterday with my {thing}. {other} was there too!",
)


def texts(seed: int, count: int = 6000) -> Iterator[str]:
    """Statements, calls in all wire formats, and the prompts of all packs."""
    chance = random.Random(seed)
    for name in packs.BUILT_IN:
        pack = packs.load(name)
        for template in (pack.writer_system, pack.writer_user, pack.reader_system, pack.reader_user):
            yield template.template
    for format_name in wire.NAMES:
        yield wire.get(format_name).instructions()
    for number in range(count):
        statement = _statement(chance)
        yield statement
        if number % 3 == 0:
            yield wire.get(wire.NAMES[number % len(wire.NAMES)]).render([_call(chance, statement)])


def _statement(chance: random.Random) -> str:
    return chance.choice(_CLAUSES).format(
        name=_name(chance),
        place=_name(chance),
        value=_name(chance).lower(),
        other=_name(chance).lower(),
        thing=chance.choice(_THINGS),
        date=f"{chance.randint(2019, 2029)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    )


def _name(chance: random.Random) -> str:
    return "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 3))).capitalize()


def _call(chance: random.Random, statement: str) -> ToolCall:
    kind = chance.choice(["semantic_memory", "episodic_memory"])
    letter = chance.choice("abcdefgh")
    if chance.random() < 0.6:
        return ToolCall("new_memory_insert", {"memory_type": kind, "content": statement})
    if chance.random() < 0.6:
        arguments: dict[str, object] = {"memory_type": kind, "memory_id": letter, "new_content": statement}
        return ToolCall("memory_update", arguments)
    return ToolCall("memory_delete", {"memory_type": kind, "memory_id": letter})
