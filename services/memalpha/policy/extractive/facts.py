"""Attributes that a sentence states of somebody: who, what, which value, and whether it still holds.

Facts decide two things: which memory a new sentence contradicts, and what belongs into the profile. They
are read by the same rules from new sentences and from stored items, so an item written by anyone can be
updated as long as it speaks in plain words. Two facts contradict if they cannot both hold now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memalpha.policy.extractive.lexicon import ADVERBS, CHATTY, GREETING, MONTHS, STOP, WEEKDAYS
from memalpha.policy.extractive.patterns import (
    ALLERGY,
    CHANGED,
    LIKES,
    PREFERS,
    SYNONYMS,
    THING,
    VERBS,
    Rule,
    rules_for,
)
from memalpha.policy.extractive.segment import speaker_of
from memalpha.policy.extractive.similarity import stems_of

_MANY_VALUED = frozenset({LIKES, PREFERS, ALLERGY})
_DAYS = frozenset(stem for name in (*MONTHS, *WEEKDAYS) for stem in stems_of(name))
_NO_NAME = STOP | CHATTY | GREETING | ADVERBS | {*WEEKDAYS, *MONTHS}
_ARTICLE = re.compile(r"^(?:a|an|the|my|our|their|his|her|now|called|named|drinking|eating|having)\s+")
_SECOND_VERB = re.compile(rf"(?P<link>\b(?:and|but) )(?P<verb>(?:{VERBS})\b)")
_SUBJECT = re.compile(rf"\b([A-Z][\w-]*)(?= (?:\w+ )?(?:{VERBS})\b)")
_OWN = re.compile(r"\b(?:I|[Ww]e|[Mm]y|[Oo]ur)\b")
_FORMS = [
    (re.compile(rf"\b(?:I|[Ww]e)['’](?:{short})\b"), long)
    for short, long in {"m|re": "{} is", "ve": "{} has", "ll": "{} will", "d": "{} would"}.items()
] + [
    (re.compile(r"\b(?:I|[Ww]e)\b"), "{}"),
    (re.compile(r"\b(?:[Mm]y|[Oo]ur)\b"), "{}'s"),
]
_QUOTE = re.compile(r"[\"“][^\"“”]*[\"”]")
# Before a name, these say that the sentence does not state it, or states it of somebody else.
_UNSTATED = re.compile(
    r"\b(?:if|whether|unless|wish(?:es|ed)?|imagine|suppose|not sure|thinks"
    r"|at|of|from|in|with|near)(?: that)? $",
    re.IGNORECASE,
)
_HISTORY = re.compile(r" \(Before: .*\)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fact:
    """Values are compared by `key`; `positive` is false for what does not hold, `revised` says "now"."""

    subject: str
    attribute: str
    value: str
    key: frozenset[str]
    positive: bool = True
    revised: bool = False


def facts(content: str) -> list[Fact]:
    """The facts in a memory's content or in one sentence, `Speaker: ` in front allowed."""
    text = _QUOTE.sub(_unless_own, without_history(content))
    text = _SECOND_VERB.sub(_with_subject, _in_third_person(text))
    rules = rules_for(text.lower().replace("’", "'"))
    found = [fact for rule in rules for fact in _read(rule, text)]
    return list(dict.fromkeys(found))


def contradicts(new: Fact, old: Fact) -> bool:
    """Whether `new`, said later, means that `old` no longer holds."""
    if new.attribute != old.attribute or not _same_person(new.subject, old.subject):
        return False
    if new.positive != old.positive:
        denied, claimed = (old.key, new.key) if new.positive else (new.key, old.key)
        return denied <= claimed
    if not new.positive or new.attribute in _MANY_VALUED or not _differ(new.key, old.key):
        return False
    return new.subject != THING or new.revised or bool(new.key & _DAYS and old.key & _DAYS)


def without_history(content: str) -> str:
    """The content without the `(Before: …)` that an update may have left at its end."""
    return _HISTORY.sub("", content)


def _same_person(one: str, other: str) -> bool:
    short, long = sorted((one.lower(), other.lower()), key=len)
    return short == long or (len(short) >= 3 and long.startswith(short))


def _differ(new: frozenset[str], old: frozenset[str]) -> bool:
    numbers = [{word for word in key if any(char.isdigit() for char in word)} for key in (new, old)]
    return numbers[0] != numbers[1] if all(numbers) else not new & old


def _unless_own(quote: re.Match[str]) -> str:
    """Nothing for a quote that says "I": who that is, is not known."""
    return "…" if _OWN.search(quote[0]) else quote[0]


def _in_third_person(text: str) -> str:
    """The speaker's name for "I", "we" and what is theirs; rough, but the rules ask for no more."""
    speaker = speaker_of(text)
    text = text[len(speaker) + 2 :] if speaker else text
    if not speaker or not _OWN.search(text):
        return text
    name = speaker[:1].upper() + speaker[1:]
    for pattern, form in _FORMS:
        text = pattern.sub(form.format(name), text)
    return text


def _with_subject(match: re.Match[str]) -> str:
    """Says the subject again in "Anna lives in Rome and works …"."""
    subjects = _SUBJECT.findall(match.string, 0, match.start())
    return f"{match['link']}{subjects[-1]} {match['verb']}" if subjects else match[0]


def _read(rule: Rule, text: str) -> list[Fact]:
    found: list[Fact] = []
    for match in rule.pattern.finditer(text):
        named = match.groupdict().get("a")
        attribute = _attribute(named) if named else rule.attribute
        value = _ARTICLE.sub("", match["v"].strip(), count=1).rstrip(" '’\"*_.-")
        subject, key = _subject(match["s"]), _key(value, attribute)
        stated = _UNSTATED.search(text, 0, match.start("s")) is None
        if stated and subject and key and value.partition(" ")[0].lower() not in STOP:
            revised = CHANGED.search(match[0]) is not None
            found.append(Fact(subject, attribute, value, key, rule.positive, revised))
    return found


def _attribute(words: str) -> str:
    text = " ".join(words.lower().replace("’", "'").split())
    text = text.replace("favorite", "favourite").replace("fave ", "favourite ")
    text = text.replace("color", "colour").replace("e-mail", "email")
    return SYNONYMS.get(text, text)


def _subject(words: str) -> str:
    """The name at the end of what stands before a verb; nothing if that is no name."""
    if words.lower() in ("the", "our"):
        return THING
    names = words.split(" ")
    while names and (names[0].lower() in _NO_NAME or names[0].endswith(("ing", "ed"))):
        del names[0]
    name = " ".join(names)
    return name[:1].upper() + name[1:]


def _key(value: str, attribute: str) -> frozenset[str]:
    """What a value is compared by; of something liked only the thing, not how much or how often."""
    words = value.lower().replace("’", "'").split()
    if attribute == LIKES:
        words = [word for word in words if word not in CHATTY | ADVERBS and not word.endswith("ly")]
    return stems_of(" ".join(words))
