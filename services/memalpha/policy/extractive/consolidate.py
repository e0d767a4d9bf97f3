"""Memories put in order by rules: what repeats another memory goes, and what a later one has made untrue.

Only whole memories are removed, and nothing is rewritten: merging takes a model. A memory repeats another if
every word of it but articles stands in the other, in nearly the same order, with the same "not": "his" is not
"her", and "before" is not "after". An event also has to have the other's time, or none, and a dated fact
gives way to a dated one only. Of two that say the same the later one stays, so that it still speaks against
what came between. A semantic memory is untrue if every sentence of it states attributes that what is known
now contradicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from memalpha.agent.prompts import PromptItem, PromptView
from memalpha.agent.tools import ToolCall
from memalpha.policy.extractive.facts import Fact, contradicts, facts, without_history
from memalpha.policy.extractive.segment import speaker_of, split
from memalpha.policy.extractive.similarity import Gist, gist, repeats, words_of

_IN_ORDER = 0.85
_LONGEST_COMPARED = 400
_DAY = len("2023-05-08")


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A memory and what it says; `words` are the stems of its words, in order."""

    shown: PromptItem
    place: int
    episodic: bool
    gist: Gist
    words: list[str]
    facts: Sequence[Fact]
    sentences: Sequence[Sequence[Fact]]


def calls(view: PromptView) -> list[ToolCall]:
    """Deletions of the memories that are untrue by now or say nothing more."""
    semantic = [_item(place, shown, episodic=False) for place, shown in enumerate(view.semantic)]
    episodic = [_item(place, shown, episodic=True) for place, shown in enumerate(view.episodic)]
    return [_delete(item) for items in (semantic, episodic) for item in _spare(items)]


def _spare(items: Sequence[_Item]) -> list[_Item]:
    """What can go, in order. What a memory goes for, stays."""
    spare, needed = _untrue(items), list[_Item]()
    for item in reversed([item for item in items if item not in spare]):
        others = [other for other in items if other is not item and other not in spare]
        reason = next((other for other in others if _repeats(item, other, items)), None)
        if reason is not None and item not in needed:
            spare.append(item)
            needed.append(reason)
    return sorted(spare, key=lambda item: item.place)


def _item(place: int, shown: PromptItem, *, episodic: bool) -> _Item:
    text, present = shown.content, without_history(shown.content)
    words = words_of(text.lower())
    sentences = [] if episodic else [facts(each) for each in _sentences(present)]
    stated = [fact for each in sentences for fact in each]
    if present != text:
        sentences.append([])  # what was before states nothing now, and is worth keeping
    return _Item(shown, place, episodic, gist(text), words, stated, sentences)


def _sentences(text: str) -> list[str]:
    """The sentences, each with the speaker that stands before the first."""
    speaker = speaker_of(text)
    return [f"{speaker}: {each}" if speaker and speaker_of(each) != speaker else each for each in split(text)]


def _repeats(item: _Item, other: _Item, items: Sequence[_Item]) -> bool:
    """Whether `item` adds nothing to `other`; of two that say the same, the later one is kept."""
    if not _says_all(other, item):
        return False
    if _is_later(other, item):
        return True
    return not _says_all(item, other) and not any(_disagree(item, third) for third in items)


def _disagree(one: _Item, other: _Item) -> bool:
    return any(contradicts(new, old) or contradicts(old, new) for new in one.facts for old in other.facts)


def _says_all(more: _Item, less: _Item) -> bool:
    times = less.shown.event_time, more.shown.event_time
    if not (times[1].startswith(times[0]) if more.episodic else bool(times[1]) >= bool(times[0])):
        return False
    if not repeats(less.gist, more.gist) or not set(less.words) <= set(more.words):
        return False
    if max(len(less.words), len(more.words)) > _LONGEST_COMPARED:
        return less.shown.content == more.shown.content
    blocks = SequenceMatcher(None, less.words, more.words, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) >= _IN_ORDER * len(less.words)


def _is_later(one: _Item, other: _Item) -> bool:
    """By their places; not if their days say otherwise."""
    days = one.shown.event_time[:_DAY], other.shown.event_time[:_DAY]
    return one.place > other.place and not (all(days) and days[0] < days[1])


def _untrue(items: Sequence[_Item]) -> list[_Item]:
    """What is not so now. What was untrue itself by then says nothing against an older memory."""
    untrue: list[_Item] = []
    for item in reversed(items):
        known = (other for other in items if other not in untrue and _is_later(other, item))
        news = [fact for other in known for fact in other.facts]
        if item.sentences and all(_is_outdated(stated, news) for stated in item.sentences):
            untrue.append(item)
    return untrue


def _is_outdated(stated: Sequence[Fact], news: Sequence[Fact]) -> bool:
    """Whether a sentence states something, and nothing of it holds any more."""
    return bool(stated) and all(any(contradicts(new, old) for new in news) for old in stated)


def _delete(item: _Item) -> ToolCall:
    kind = "episodic_memory" if item.episodic else "semantic_memory"
    return ToolCall("memory_delete", {"memory_type": kind, "memory_id": item.shown.alias})
