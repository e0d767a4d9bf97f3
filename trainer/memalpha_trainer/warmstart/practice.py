"""Practice texts: what can be learned without a teacher, which is to copy and to keep to the format.

`lists` are names, words and days to be written again, for each kind of word has to be copied before it is
copied from a sentence; `notes` are chunks of plain statements, and the calls that store them. Each is about a
name of its own that no memory shows, and nothing is hedged, repeated, changed or taken back. In both, chance
leaves some out: the rest of a name cannot be told by counting, only by looking for what was just written, and
when to write is learned from the teacher alone. Names are of the training split. Pure: a seed is a list.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TypeVar

from memalpha.agent import wire
from memalpha.agent.packs import PromptPack
from memalpha.agent.prompts import PromptView, read_prompt, render_prompt
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, BankStats, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.tasks.ledger.context import MOST_CORE_TOKENS
from memalpha.tasks.ledger.wording import Act, sentence, wordings
from memalpha.tasks.ledger.words import ATTRIBUTES, EVENTS, PASSES, SORTS, VALUES, names
from memalpha.tasks.ledger.writers import Teacher
from memalpha_trainer.warmstart.example import Example

T = TypeVar("T")

_FORM = wire.get("lines")
_ACTS = (Act.SET, Act.SET, Act.VALID, Act.EVENT, Act.EVENT)
_FIRST_DAY = date(2024, 1, 1)
_DAYS = 800
_MOST_SHOWN = 3
_DAY_SHARE = 0.1
_WORD_SHARE = 0.35
_KEPT = 0.6
"""Share of items and of statements that are written."""
_VOCABULARY = (*ATTRIBUTES, *PASSES, *EVENTS, *(word for words in VALUES.values() for word in words))


def lists(count: int, longest: int, seed: int) -> Iterator[Example]:
    """Lists of up to so many names, words and days, of which some are to be repeated in order."""
    rng = random.Random(f"lists {seed}")
    for _ in range(count):
        chosen = rng.sample(names("train"), rng.randint(max(1, longest // 2), longest))
        items = [f" {_item(rng, name)}" for name in chosen]
        yield Example("", f"\n{''.join(items)}", "".join(_some(rng, items)))


def _some(rng: random.Random, items: Sequence[T]) -> list[T]:
    """Those that chance keeps, in order."""
    return [item for item in items if rng.random() < _KEPT]


def _item(rng: random.Random, name: str) -> str:
    luck = rng.random()
    if luck < _DAY_SHARE:
        return _day(rng)
    return rng.choice(_VOCABULARY) if luck < _DAY_SHARE + _WORD_SHARE else name


def notes(pack: PromptPack | None, count: int, statements: int, seed: int) -> Iterator[Example]:
    """Chunks of so many statements, and the calls that store some of them in order.

    Args:
        pack: Of the prompts, with unrelated memories; None shows the chunk alone.
        count: Of examples.
        statements: Of each chunk.
        seed: Another seed is another list.
    """
    rng = random.Random(f"notes {seed} {statements} {pack is None}")
    for _ in range(count):
        chosen = rng.sample(names("train"), statements + 2 * _MOST_SHOWN)
        text = " ".join(sentence(_told(rng, name)) for name in chosen[:statements])
        if pack is None:
            system, user, view = "", text, PromptView("", MOST_CORE_TOKENS, [], [], text, "", "")
        else:
            system, user = _prompt(pack, _view(rng, text, chosen[statements:]))
            view = read_prompt(user)
        yield Example(system, user, _FORM.render(_some(rng, Teacher().calls(view))))


def _prompt(pack: PromptPack, view: GetWriterViewResponse) -> list[str]:
    return [each.content for each in render_prompt(view, _FORM, pack).messages]


def _view(rng: random.Random, text: str, strangers: list[str]) -> GetWriterViewResponse:
    facts = strangers[: rng.randint(0, _MOST_SHOWN)]
    events = strangers[_MOST_SHOWN:][: rng.randint(0, _MOST_SHOWN)]
    stats = BankStats(
        semantic_count=len(facts) + rng.randint(0, 40), episodic_count=len(events) + rng.randint(0, 20)
    )
    return GetWriterViewResponse(
        bank=Bank(settings=BankSettings(core_token_limit=MOST_CORE_TOKENS), stats=stats),
        semantic=[
            Memory(type=MemoryType.MEMORY_TYPE_SEMANTIC, id=number, content=_fact(rng, name))
            for number, name in enumerate(facts, start=1)
        ],
        episodic=[
            Memory(
                type=MemoryType.MEMORY_TYPE_EPISODIC,
                id=number,
                content=_event(rng, name),
                event_time=_day(rng),
            )
            for number, name in enumerate(events, start=1)
        ],
        next_chunk=Chunk(text=text, event_time=_day(rng)),
    )


def _told(rng: random.Random, name: str) -> str:
    sort = rng.choice(SORTS)
    attribute = rng.choice(sort.attributes)
    slots = {"a": attribute, "v": rng.choice(VALUES[attribute]), "b": rng.choice(sort.passes)}
    slots |= {"n": name, "e": rng.choice(sort.events), "d": _day(rng)}
    return rng.choice(wordings(rng.choice(_ACTS), unseen=False)).template.format(**slots)


def _fact(rng: random.Random, name: str) -> str:
    attribute = rng.choice(rng.choice(SORTS).attributes)
    return f"{name}'s {attribute} is {rng.choice(VALUES[attribute])}"


def _event(rng: random.Random, name: str) -> str:
    return f"{name}'s {rng.choice(rng.choice(SORTS).events)}"


def _day(rng: random.Random) -> str:
    return (_FIRST_DAY + timedelta(days=rng.randrange(_DAYS))).isoformat()
