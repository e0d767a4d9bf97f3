"""From candidates to tool calls: inserts what is new, skips what repeats, replaces what no longer holds.

Only items in view can be changed, and only semantic ones are contradicted: an event that happened stays
true. Of an item of several sentences only the one that no longer holds is replaced. A later sentence of the
same chunk wins over an earlier one, and a chunk that is read twice changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memalpha.agent.prompts import PromptItem, PromptView
from memalpha.agent.tools import ToolCall
from memalpha.policy.extractive import profile
from memalpha.policy.extractive.candidates import Candidate, candidates
from memalpha.policy.extractive.facts import Fact, contradicts, facts, without_history
from memalpha.policy.extractive.patterns import LIKES, PREFERS
from memalpha.policy.extractive.segment import speaker_of, split
from memalpha.policy.extractive.similarity import Gist, gist, repeats

# Heavier for their length than any insert: what is already kept stays right.
_CORE_WEIGHT = 1e6
_CHANGE_WEIGHT = 1e5


class Weighed(NamedTuple):
    """A call and what it is worth, to be seen against its length; `advice` is a helper's, not a person's."""

    weight: float
    call: ToolCall
    advice: bool = False


@dataclass(slots=True)
class _Item:
    """A memory as it will be after the calls: `shown` is what the prompt shows, nothing for a new one."""

    shown: PromptItem | None
    episodic: bool
    content: str
    event_time: str
    score: float
    gist: Gist
    facts: Sequence[Fact]
    advice: bool = False


def calls(view: PromptView, count_tokens: Callable[[str], int]) -> list[Weighed]:
    """The calls for a prompt with their weights."""
    items = [_shown(item, episodic=False) for item in view.semantic]
    items += [_shown(item, episodic=True) for item in view.episodic]
    found = candidates(view.chunk, view.chunk_time)
    for candidate in found:
        _place(items, candidate)
    stated = [fact for candidate in found for fact in candidate.facts]
    core = profile.updated(view.core, stated, lambda text: count_tokens(text) <= view.core_limit)
    written = [Weighed(each.score, call, each.advice) for each in items if (call := _call(each)) is not None]
    return ([Weighed(_CORE_WEIGHT, _core_call(core))] if core != view.core else []) + written


def _shown(item: PromptItem, *, episodic: bool) -> _Item:
    stated = [] if episodic else facts(item.content)
    return _Item(item, episodic, item.content, item.event_time, _CHANGE_WEIGHT, gist(item.content), stated)


def _new(candidate: Candidate, meaning: Gist) -> _Item:
    return _Item(
        shown=None,
        episodic=candidate.episodic,
        content=candidate.content,
        event_time=candidate.event_time,
        score=candidate.score,
        gist=meaning,
        facts=[] if candidate.episodic else candidate.facts,
        advice=candidate.helps,
    )


def _place(items: list[_Item], candidate: Candidate) -> None:
    outdated = [item for item in items if _outdated(item.facts, candidate)]
    for item in outdated:
        remainder = _remainder(item.content, candidate)
        if item is outdated[0]:
            remainder.insert(0, candidate.content)
            item.event_time = candidate.event_time or (candidate.said if item.event_time else "")
        item.content = " ".join(remainder)
        item.facts, item.gist = facts(item.content), gist(item.content)
    meaning = gist(candidate.content)
    if not outdated and not any(repeats(meaning, item.gist) for item in items):
        items.append(_new(candidate, meaning))


def _outdated(stated: Sequence[Fact], candidate: Candidate) -> list[Fact]:
    return [old for old in stated if any(contradicts(new, old) for new in candidate.facts)]


def _remainder(content: str, candidate: Candidate) -> list[str]:
    """The content's sentences that still hold; one that also stated something else is kept as history."""
    kept: list[str] = []
    speaker = speaker_of(content)
    for sentence in split(without_history(content)):
        labelled = f"{speaker}: {sentence}" if speaker and speaker_of(sentence) != speaker else sentence
        stated = facts(labelled)
        outdated = _outdated(stated, candidate)
        if not outdated:
            kept.append(labelled)
        elif _attributes(stated) != _attributes(outdated):
            kept.append(f"(Before: {labelled})")
    return kept


def _attributes(stated: Sequence[Fact]) -> set[str]:
    return {LIKES if fact.attribute == PREFERS else fact.attribute for fact in stated}


def _call(item: _Item) -> ToolCall | None:
    arguments: dict[str, object] = {"memory_type": "episodic_memory" if item.episodic else "semantic_memory"}
    timed = {"event_time": item.event_time} if item.event_time else {}
    if item.shown is None:
        return (
            ToolCall("new_memory_insert", arguments | {"content": item.content} | timed)
            if item.content
            else None
        )
    arguments["memory_id"] = item.shown.alias
    if not item.content:
        return ToolCall("memory_delete", arguments)
    if item.content == item.shown.content:
        return None
    return ToolCall("memory_update", arguments | {"new_content": item.content} | timed)


def _core_call(core: str) -> ToolCall:
    arguments: dict[str, object] = {"memory_type": "core_memory"}
    return (
        ToolCall("memory_update", arguments | {"new_content": core})
        if core
        else ToolCall("memory_delete", arguments)
    )
