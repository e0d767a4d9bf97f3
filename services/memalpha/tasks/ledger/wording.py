r"""How statements are worded, and the grammar that reads them: one table for both.

A wording is a template; the sentence is its rendering and the pattern that reads it is derived from it, so
that what is written and what is understood cannot drift apart. Slots: `{n}` a name, `{a}` an attribute,
`{b}` a pass, `{e}` an event, `{v}` and `{w}` values, `{d}` an ISO 8601 date; `{c}` in a hedge is a whole
clause.

Wordings marked `unseen` are never generated unless asked for; the grammar reads them all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from memalpha.tasks.ledger.words import ATTRIBUTES, EVENTS, PASSES


class Act(StrEnum):
    """What a clause does to its key."""

    SET = "set"
    CHANGE = "change"
    REPEAT = "repeat"
    FORMER = "former"
    RETRACT = "retract"
    VALID = "valid"
    REVOKE = "revoke"
    EVENT = "event"
    MOVE = "move"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Wording:
    """A template of one act.

    Attributes:
        unseen: For the test of wordings that no training shows.
        stored: Never told; a form that memories may have.
    """

    act: Act
    template: str
    unseen: bool = False
    stored: bool = False


WITH_FORMER = "{n}'s {a} is {v}, earlier {w}"
"""A value with the one before it: the only memory that may hold two."""

# Read in this order: a wording that another one contains comes first.
WORDINGS: tuple[Wording, ...] = (
    Wording(Act.RETRACT, "{n}'s {a} is not {v} after all"),
    Wording(Act.RETRACT, "it is not true that {n}'s {a} is {v}"),
    Wording(Act.RETRACT, "the {a} of {n} never was {v}", unseen=True),
    Wording(Act.REPEAT, "{n}'s {a} is still {v}"),
    Wording(Act.REPEAT, "the {a} of {n} is {v} as before"),
    Wording(Act.CHANGE, "{n}'s {a} is now {v}"),
    Wording(Act.CHANGE, "the {a} of {n} changed to {v}"),
    Wording(Act.CHANGE, "{n} now has {v} as {a}"),
    Wording(Act.CHANGE, "{n} switched the {a} to {v}", unseen=True),
    Wording(Act.FORMER, "{n}'s {a} was {v}", stored=True),
    Wording(Act.SET, WITH_FORMER, stored=True),
    Wording(Act.SET, "{n}'s {a} is {v}"),
    Wording(Act.SET, "the {a} of {n} is {v}"),
    Wording(Act.SET, "{n} has {v} as {a}"),
    Wording(Act.SET, "{v} is the {a} of {n}", unseen=True),
    Wording(Act.REVOKE, "{n}'s {b} is no longer valid"),
    Wording(Act.REVOKE, "{n}'s {b} is revoked"),
    Wording(Act.REVOKE, "the {b} of {n} was withdrawn"),
    Wording(Act.REVOKE, "{n} lost the {b}", unseen=True),
    Wording(Act.VALID, "{n}'s {b} is valid"),
    Wording(Act.VALID, "the {b} of {n} was granted"),
    Wording(Act.VALID, "{n} got a {b}", unseen=True),
    Wording(Act.CANCEL, "{n}'s {e} is cancelled"),
    Wording(Act.CANCEL, "there will be no {e} of {n}"),
    Wording(Act.CANCEL, "{n} called off the {e}", unseen=True),
    Wording(Act.MOVE, "{n}'s {e} moved to {d}"),
    Wording(Act.MOVE, "the {e} of {n} is now on {d}"),
    Wording(Act.MOVE, "{n} put off the {e} until {d}", unseen=True),
    Wording(Act.EVENT, "{n}'s {e} is on {d}"),
    Wording(Act.EVENT, "on {d} is the {e} of {n}"),
    Wording(Act.EVENT, "{d} is the day of {n}'s {e}", unseen=True),
)
HEDGES = ("some say that {c}", "it is rumoured that {c}", "perhaps {c}", "{c}, or so people say")
UNSEEN_HEDGES = ("word has it that {c}",)
DISTRACTORS = ("{n} met {m} at the market", "{n} waved to {m}", "{n} and {m} spoke of the weather")
BARE_EVENT = "{n}'s {e}"
"""An event without a day; a memory's time is its day."""

DATE = r"\d{4}-\d\d-\d\d"
_VALUE = r"(?!(?:not|now|still|on|no|never)\b)[A-Za-z]+"
_SLOTS = {
    "n": r"[A-Za-z]+",
    "a": "|".join(ATTRIBUTES),
    "b": "|".join(PASSES),
    "e": "|".join(EVENTS),
    "v": _VALUE,
    "w": _VALUE,
    "d": DATE,
    "c": r".+",
}


def wordings(act: Act, *, unseen: bool) -> list[Wording]:
    """The wordings of an act that training shows, or those that it does not."""
    return [each for each in WORDINGS if each.act is act and each.unseen is unseen and not each.stored]


def pattern(template: str) -> re.Pattern[str]:
    """What reads a template's renderings, its slots as groups of their names."""
    parts = re.split(r"\{(\w)\}", template)
    texts = [re.escape(part) for part in parts[::2]]
    slots = [f"(?P<{slot}>{_SLOTS[slot]})" for slot in parts[1::2]]
    body = texts[0] + "".join(slot + text for slot, text in zip(slots, texts[1:], strict=True))
    return re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)


def sentence(clause: str) -> str:
    """The clause with a capital letter and a full stop."""
    return f"{clause[0].upper()}{clause[1:]}."
