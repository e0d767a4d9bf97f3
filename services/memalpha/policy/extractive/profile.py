"""The profile that core memory holds: one line per person with the few attributes that hardly ever change.

`Caroline: lives in Boston; birthday: 13 August` is read back by the rules that write it. Lines of another
form were written by somebody else and stay as they are. Nothing is added that would not fit under the
limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memalpha.policy.extractive.facts import Fact
from memalpha.policy.extractive.patterns import AGE, ALLERGY, DRIVES, HOME, LIKES, PREFERS, ROLE, THING, WORK
from memalpha.policy.extractive.similarity import stems_of

_PHRASES = frozenset({HOME, WORK, ROLE, ALLERGY, PREFERS, DRIVES})
_MANY_VALUED = frozenset({ALLERGY, PREFERS})
_PASSING = frozenset({LIKES, AGE, "schedule", "flight", "appointment", "goal", "deadline", "budget"}) | {
    "password",
    "rent",
    "salary",
    "start date",
    "room number",
}
_MOST_WORDS = {PREFERS: 2}


def updated(core: str, facts: Iterable[Fact], fits: Callable[[str], bool]) -> str:
    """The core text after `facts`, the latest last; `fits` says whether a text is within the limit."""
    lines = core.splitlines()
    for fact in facts:
        changed = _with(lines, fact)
        if changed != lines and (fits("\n".join(changed)) or not fact.positive):
            lines = changed
    return "\n".join(lines) if lines != core.splitlines() else core


def _with(lines: list[str], fact: Fact) -> list[str]:
    too_long = len(fact.value.split()) > _MOST_WORDS.get(fact.attribute, 8)
    if fact.subject == THING or ";" in fact.value or (too_long and fact.positive):
        return lines
    head = f"{fact.subject}: "
    at = next((i for i, line in enumerate(lines) if line.startswith(head)), len(lines))
    entries = lines[at].removeprefix(head).split("; ") if at < len(lines) else []
    kept = _entries(entries, fact)
    line = [head + "; ".join(kept)] if kept else []
    return [*lines[:at], *line, *lines[at + 1 :]]


def _entries(entries: list[str], fact: Fact) -> list[str]:
    attribute = PREFERS if fact.attribute == LIKES and not fact.positive else fact.attribute
    if attribute in _PASSING:
        return entries
    start = attribute + (" " if attribute in _PHRASES else ": ")
    values = {
        i: _key(entry.removeprefix(start)) for i, entry in enumerate(entries) if entry.startswith(start)
    }
    agreeing = [i for i, key in values.items() if fact.key <= key]
    if not fact.positive:
        return [entry for i, entry in enumerate(entries) if i not in agreeing]
    if agreeing:
        return entries
    replaced = min(values) if values and attribute not in _MANY_VALUED else len(entries)
    return [*entries[:replaced], start + fact.value, *entries[replaced + 1 :]]


def _key(value: str) -> frozenset[str]:
    return stems_of(value.lower().replace("’", "'"))
