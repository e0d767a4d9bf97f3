"""From a chunk's sentences to candidate memories: selected, freed of their context, joined within a turn.

Content is made of the chunk's own words, its speakers' names and resolved dates; nothing else is ever
written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memalpha.policy.extractive import dates, salience
from memalpha.policy.extractive.facts import Fact, facts
from memalpha.policy.extractive.lexicon import HELPERS, ROLES
from memalpha.policy.extractive.patterns import LIKES
from memalpha.policy.extractive.person import strip_opening, third_person
from memalpha.policy.extractive.segment import Sentence, sentences

SHARE = 0.6
"""Most of a chunk's characters that are kept."""
HELPERS_SHARE = 0.04
"""Most of a chunk's characters that are kept of what an assistant or a tool said."""
ALWAYS_CHARACTERS = 400
"""Kept of any chunk, however short."""
ALWAYS_OF_HELPERS = 160
"""Kept of what an assistant or a tool said, however short the chunk."""
MOST_KEPT = 300
"""Most sentences kept of one chunk; each is compared with all others."""
LONGEST_JOINED = 320
"""Most characters of one memory of several sentences."""

_SHARED = re.compile(r"\[shares (.+)\]\.?$")
_LEANING = re.compile(r"(?:it|that|this|these|those|they|he|she|there)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b(?:I|me|my|mine|myself|we|us|our|ours|you|your)\b|\bI['’]", re.IGNORECASE)
_LONGEST_QUESTION = 120
_AND_I = re.compile(r",? (?:and|but) (?=I\b)")
_THEN_ASKS = re.compile(
    r"(?:,| [-–—])(?: and| but| so)? (?=(?:(?:can|could|would|will|do|does|did|have|has|are|is|should|shall"
    r"|any|what|how|which|where|when|who|why)\b|(?:what|how|who|where)['’]s\b)[^,;]*\?)",
    re.IGNORECASE,
)
_DEPENDENT = re.compile(
    r"(?:if|when|since|as|because|given|considering|while|after|before|for|with|in|on|at|once|although"
    r"|whenever|assuming|knowing)\b",
    re.IGNORECASE,
)
_ANSWER = 1.2
_HELPER = 2.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory in the making; `said` is when it was said, `event_time` is empty if semantic and undated.

    `helps` says that an assistant or a tool said it.
    """

    content: str
    episodic: bool
    event_time: str
    said: str
    score: float
    facts: tuple[Fact, ...] = ()
    helps: bool = False


@dataclass(frozen=True, slots=True)
class _Draft:
    place: int
    sentence: Sentence
    text: str
    third: str | None
    day: str
    episodic: bool
    score: float
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class _Heard:
    """Who takes part in the chunk: names in lower case, and whether a helper is spoken to."""

    names: frozenset[str]
    helper: bool


def candidates(chunk: str, time: str) -> list[Candidate]:
    """What is worth keeping of a chunk, in its order."""
    said = sentences(chunk, time)
    names = frozenset(sentence.speaker.lower() for sentence in said if sentence.speaker)
    heard = _Heard(names | {word for name in names for word in name.split()}, not names.isdisjoint(ROLES))
    parts = [part for sentence in said for part in _told_and_asked(sentence, heard)]
    cut = [clause for part in parts for clause in _clauses(part)]
    drafts = [_draft(place, sentence, heard) for place, sentence in enumerate(cut)]
    kept = _within_budget([draft for draft in drafts if draft is not None], len(chunk))
    return [_finished(group) for group in _groups(kept)]


def _told_and_asked(sentence: Sentence, heard: _Heard) -> list[Sentence]:
    """The sentence, cut where it turns from telling to asking: "I moved to Rome, do you know it?".

    What a helper is asked belongs to what is told, unless that states an attribute, which may change.
    """
    match = _THEN_ASKS.search(sentence.text) if salience.is_question(sentence.text) else None
    if not sentence.speaker or match is None or _DEPENDENT.match(sentence.text):
        return [sentence]
    told, asked = sentence.text[: match.start()], sentence.text[match.end() :]
    tells = salience.has_verb(told) and _PERSON.search(told)
    if not tells or (heard.helper and not facts(f"{_name(sentence)}: {told}")):
        return [sentence]
    question = asked[:1].upper() + asked[1:]
    return [replace(sentence, text=f"{told}."), replace(sentence, text=question, opens=False, asked="")]


def _clauses(sentence: Sentence) -> list[Sentence]:
    """The sentence, cut where "… and I …" joins two attributes: either may change without the other."""
    parts = _AND_I.split(sentence.text)
    if len(parts) == 1 or not sentence.speaker:
        return [sentence]
    name = _name(sentence)
    if all(any(fact.attribute != LIKES for fact in facts(f"{name}: {part}")) for part in parts):
        return [replace(sentence, text=part) for part in parts]
    return [sentence]


def _draft(place: int, sentence: Sentence, heard: _Heard) -> _Draft | None:
    """The sentence on its own feet; None if it is not worth keeping."""
    bare = strip_opening(sentence.text, heard.names) if sentence.speaker else sentence.text
    helps = _helps(sentence)
    instructs = heard.helper and not helps
    if not bare or (salience.asks(bare) and not instructs):
        return None
    dated = dates.resolve(bare, dates.parse_time(sentence.time))
    name = _name(sentence)
    text, third = dated.text, third_person(dated.text, name) if name else None
    if shared := _SHARED.match(text):
        third = f"{name} shares {shared[1]}" if name else None
    stated = tuple(facts(third or (f"{name}: {text}" if name else text)))
    score = salience.score(bare, heard.names, dated=dated.found, stated=len(stated)) - _HELPER * helps
    score += salience.standing(bare, opens=sentence.opens, answers=bool(sentence.asked), instructs=instructs)
    if sentence.asked and _is_fragment(bare):
        score, text, third = score + _ANSWER, f"{_question(sentence.asked)} {name}: {text}", None
    if score < salience.KEEP:
        return None
    lasting = any(fact.attribute != LIKES or not fact.positive or not dated.found for fact in stated)
    episodic = not lasting and salience.is_event(bare, dated=dated.found) and bool(sentence.time or dated.day)
    day = dated.day.isoformat() if dated.day else ""
    return _Draft(place, sentence, text, third, day, episodic, score, stated)


def _name(sentence: Sentence) -> str:
    return sentence.speaker[:1].upper() + sentence.speaker[1:]


def _helps(sentence: Sentence) -> bool:
    return sentence.speaker.lower() in HELPERS


def _is_fragment(text: str) -> bool:
    return len(text.split()) <= 6 and not _PERSON.search(text) and not salience.has_verb(text)


def _question(asked: str) -> str:
    return asked if len(asked) <= _LONGEST_QUESTION else "…" + asked[-_LONGEST_QUESTION:]


def _within_budget(drafts: list[_Draft], length: int) -> list[_Draft]:
    """The best drafts that together are at most `SHARE` of the chunk, in the chunk's order.

    What a helper said is mostly advice that could be given again; it gets a small part of its own.
    """
    left = {
        False: max(ALWAYS_CHARACTERS, SHARE * length),
        True: max(ALWAYS_OF_HELPERS, HELPERS_SHARE * length),
    }
    kept: list[_Draft] = []
    for draft in sorted(drafts, key=lambda draft: (-_density(draft), draft.place)):
        helper = _helps(draft.sentence)
        left[helper] -= len(draft.text)
        if left[helper] >= 0:
            kept.append(draft)
    return sorted(kept[:MOST_KEPT], key=lambda draft: draft.place)


def _density(draft: _Draft) -> float:
    """Worth for its length; the constant is what any memory costs."""
    return draft.score / (len(draft.text) + 32)


def _groups(drafts: Sequence[_Draft]) -> list[list[_Draft]]:
    groups: list[list[_Draft]] = []
    for draft in drafts:
        if groups and _joins(groups[-1], draft):
            groups[-1].append(draft)
        else:
            groups.append([draft])
    return groups


def _joins(group: list[_Draft], draft: _Draft) -> bool:
    """A sentence joins what is kept of its turn, unless one states an attribute or the days differ."""
    last = group[-1]
    if draft.sentence.turn != last.sentence.turn or draft.facts or last.facts:
        return False
    if draft.day and any(each.day not in ("", draft.day) for each in group):
        return False
    if not draft.sentence.speaker and not last.text.endswith((".", "!", "…", "。", "！")):
        return False
    return sum(len(each.text) for each in group) + len(draft.text) <= LONGEST_JOINED


def _finished(group: list[_Draft]) -> Candidate:
    first = group[0]
    episodic = any(draft.episodic for draft in group)
    day = next((draft.day for draft in group if draft.day), "")
    time = day or (first.sentence.time if episodic else "")
    stated = tuple(fact for draft in group for fact in draft.facts)
    return Candidate(
        content=_content(group),
        episodic=episodic,
        event_time=time,
        said=first.sentence.time,
        score=sum(draft.score for draft in group),
        facts=stated,
        helps=_helps(first.sentence),
    )


def _content(group: list[_Draft]) -> str:
    first = group[0].sentence
    named = group[0].third and not _LEANING.match(group[0].text)
    if first.speaker and named and all(draft.third or not _PERSON.search(draft.text) for draft in group):
        return " ".join(draft.third or draft.text for draft in group)
    joined = " ".join(draft.text for draft in group)
    if first.speaker:
        return joined if _answers(group) else f"{_name(first)}: {joined}"
    section = first.heading.rsplit(" > ", 1)[-1]
    return f"{section}: {joined}" if section and len(joined) < 80 else joined


def _answers(group: list[_Draft]) -> bool:
    return bool(group[0].sentence.asked) and group[0].text.startswith(_question(group[0].sentence.asked))
