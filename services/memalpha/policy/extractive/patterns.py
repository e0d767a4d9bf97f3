"""The patterns by which attributes are recognised, in the order in which they are tried.

A pattern names its subject `s` and its value `v`, and `a` the attribute if the text says it. Subjects stand
directly before their verb, so "might move to" or "a friend lives in" state nothing. All repeats are bounded
by what a sentence can hold; patterns are only tried where one of their hints occurs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIKES = "likes"
PREFERS = "prefers"
HOME = "lives in"
WORK = "works at"
ROLE = "works as"
DIET = "diet"
STATUS = "status"
ALLERGY = "allergic to"
AGE = "age"
DRIVES = "drives"
THING = "The"
"""Subject of what belongs to nobody, such as "the deadline"."""

SYNONYMS = {
    **dict.fromkeys(("number", "phone", "mobile", "mobile number", "cell number"), "phone number"),
    **dict.fromkeys(("job title", "occupation", "profession"), ROLE),
    "email address": "email",
    "home address": "address",
}
VERBS = (
    "lives?|works?|loves?|likes?|enjoys?|prefers?|hates?|drinks?|eats?|drives?|has|have|is|am|moved|started|"
    "stopped|quit|joined|now"
)
CHANGED = re.compile(
    r"\b(?:now|new|moved|changed|rescheduled|postponed|pushed|raised|lowered|updated|switched|instead)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to state an attribute; `positive` is false if the pattern says that it does not hold."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    attribute: str
    positive: bool = True


def _rule(attribute: str, hints: str, pattern: str, *, positive: bool = True) -> Rule:
    return Rule(tuple(hints.split("|")), re.compile(pattern), attribute, positive)


_S = r"\b(?P<s>(?:[Tt]he )?[Uu]ser|[A-Z][\w-]*(?: [A-Z][\w-]*)?)"
_AUX = (
    r"(?: (?:just|recently|finally|also|now|has|have|is|am|been|really|actually|currently|officially"
    r"|already|still|always|mostly|only|mainly|both|then|even|usually|often|\w+ly))*"
)
_NOT = (
    rf"{_AUX} (?:do(?:es)?n['’]t|do(?:es)? not|no longer|is(?:n['’]t| not)|am not|did(?:n['’]t| not)|never"
    r"|can['’]?t|cannot)"
)
# A dot, comma or colon inside of a number or an address ends nothing.
_STOP = r"(?:[.,:](?!\w)|[;!?()\n…])"
_VALUE = r"[\w$€£+@#](?:[^,;:!?()\n]|[,:](?=\w)){0,60}?"
_END = (
    r"(?=\s+(?:and|but|because|since|so|which|who|where|when|while|for|after|before|with|on|now|these"
    r"|this|last|next|"
    r"until|in|at|instead|any ?more|any longer|again|over|rather|than|too|though|from|as|if|or|that|to)\b"
    rf"|['’]?{_STOP}| [-–—]|\s*$)"
)
_V = rf"(?P<v>{_VALUE}){_END}"
# What is denied is read with all that qualifies it: who hates hiking in the rain may still love hiking.
_END_DENIED = (
    r"(?=\s+(?:and|but|because|since|so|which|who|now|these|this|last|until|instead|any ?more|any longer|too"
    r"|though|for good|after|altogether|(?:in|on) (?:the )?(?:\d{1,4}|week|night|January|February|March|April"
    rf"|May|June|July|August|September|October|November|December))\b|['’]?{_STOP}| [-–—]|\s*$)"
)
_DENIED = rf"(?P<v>{_VALUE}){_END_DENIED}"
_NAME = r"[A-Z][\w'’&.-]*(?:(?:,? | of | de | del | & | and the )[A-Z0-9][\w'’&-]*){0,3}"
_PLACE = rf"(?P<v>(?:the )?{_NAME})"

_JOB = r"(?:a|an|my|their|the|his|her)(?: [a-z-]+){0,3} (?:job|role|position|offer)"
_EMPLOYED = (
    rf"(?:was |got )?(?:works?|working|employed|hired|joined|starts?(?: working)?|started(?: working| out)?"
    rf"|(?:started|got|took|accepted|landed|has) {_JOB})"
)
_EMPLOYER = (
    rf"(?:(?:a|an|the) [a-z -]{{2,60}} (?:called|named) )?"
    rf"(?P<v>(?:the )?{_NAME}|(?:a|an|the) [a-z][\w'’ -]{{2,40}}?{_END})"
)
_LEFT = (
    rf"(?:{_NOT}{_AUX} works?|{_AUX} (?:left|quit|resigned from|retired from|(?:quit|left) (?:my|their) job"
    r"|laid off|fired))"
)
_SERVES = (
    rf"(?:was |got )?(?:(?:(?:works?|working|hired|employed)(?: (?:at|for) {_NAME})?"
    rf"|joined(?: [\w'’]+){{1,3}})"
    r"(?: (?:full|part)[- ]time)? as (?:a|an|the)|started as (?:a|an|the)|promoted to|became (?:a|an|the))"
)
_FEW = r"(?:\d{1,4}|two|three|four|five|six|seven|eight|nine|ten)"
_COUNTED = (
    r"(?:kids|children|sons|daughters|siblings|brothers|sisters|dogs|cats|pets|cars|bikes|grandchildren"
    r"|chickens|horses"
    r"|employees)"
)
_DIETS = r"(?P<v>vegan|vegetarian|pescatarian|gluten[- ]free|kosher|halal|lactose intolerant)\b"
_STATUSES = r"(?P<v>single|married|engaged|divorced|widowed|retired|unemployed|pregnant)\b"

_RELATIVES = r"(?:son|daughter|sister|brother|mother|father|mom|mum|dad|wife|husband|partner)"
_ANIMALS = r"(?:dog|cat|puppy|kitten|hamster|rabbit|parrot|horse|pet|fish|turtle)"
_OWNED = (
    r"(?P<a>(?:favou?rite|fave) (?!(?:is|for|of|to|and|in|was)\b)[a-z]+(?: (?!(?:is|was)\b)[a-z]+)?"
    r"|(?:(?:phone|mobile|cell|work|home|account|room|employee|office) )?number"
    r"|(?:(?:email|e-mail|home|work|street|mailing) )?address|e-?mail|phone|mobile|birthday|anniversary"
    r"|(?:middle|maiden|last|full|first) name|nickname|name|boss|manager|landlord|dentist|doctor"
    r"|therapist|teacher|coach"
    r"|wife|husband|partner|girlfriend|boyfriend|fianc[ée]e?|roommate|salary|rent|budget|deadline"
    r"|password|license plate"
    r"|shoe size|blood type|major|hometown|job title|occupation|profession|goal|time ?zone|start date"
    r"|flight|appointment"
    rf"|schedule|(?:{_ANIMALS}|{_RELATIVES})['’]s (?:name|birthday|age))"
)
_BECOMES = (
    r"(?::| (?:is|are|will be)(?: (?:now|called|named|still|actually|also)){0,2}|,? (?:and )?it['’]s(?: now)?"
    r"|(?: (?:has|was|just|got|now)){0,3} (?:changed|moved|switched|set|updated|pushed|postponed"
    r"|been)(?: back)? to)"
)
_THING_BECOMES = (
    r"(?: (?:is|are|was|were|has been|have been|now|will be|currently|just)){1,3}"
    r"(?: (?:moved|changed|set|scheduled|rescheduled|postponed|pushed|raised|lowered|updated"
    r"|switched)(?: back)?)?"
    r"(?: (?:to|for|on|at|from))?"
)
_MEASURE = (
    r"(?P<v>(?:\w{1,20} ){0,2}[\w$€£]{0,20}\d[\w.,:%-]{0,20}(?: [A-Z]\w{2,8}(?: \d{4})?)?"
    r"|[A-Z][a-z]{2,5}day)\b"
)

_LIKE = (
    r"(?:loves?|likes?|enjoys?|adores?|prefers?|drinks?|eats?|(?:is|am) (?:\w+ )?(?:into|fond of"
    r"|obsessed with)"
    r"|is a (?:\w+ )?fan of)"
)
_GIVES_UP = (
    r"(?:hates?|dislikes?|detests?|stopped|quit|gave up|given up|giving up|cut out|went off|gone off"
    r"|done with|sick of"
    r"|tired of)(?: (?:drinking|eating|having|liking|buying|using))?"
)
_SWITCHED = r"(?:switched|changed|swapped|moved over|converted|went)"
_OTHER = r"[^.,;!?]{1,40}"

RULES = [
    _rule(
        HOME,
        "liv|mov|relocat|based|settled",
        rf"{_S}{_AUX} (?:lives?|living|moved|relocated|based|settled)(?: back| out| over| down)?(?: here)?"
        rf"(?: from [A-Z][\w ]{{1,30}}?)? (?:in|to|at) (?:[a-z'’ -]{{1,40}} in )?{_PLACE}",
    ),
    _rule(HOME, "liv", rf"{_S}{_NOT}{_AUX} (?:live|living) (?:in|at) {_PLACE}", positive=False),
    _rule(
        WORK,
        "work|hired|employed|start|joined|job|offer|role|position",
        rf"{_S}{_AUX} {_EMPLOYED}(?: as (?:a|an|the) [a-z][\w -]{{2,40}}?)? (?:at|for|by|from) {_EMPLOYER}",
    ),
    _rule(
        WORK,
        "left|quit|work|laid|fired|resigned|retired",
        rf"{_S}{_LEFT}(?: at| from| for)? {_PLACE}",
        positive=False,
    ),
    _rule(ROLE, "work|hired|joined|promoted|started|became", rf"{_S}{_AUX} {_SERVES} {_V}"),
    _rule("", "'s |s' ", rf"{_S}['’]s (?:(?:new|current|own) ){{0,2}}{_OWNED}{_BECOMES} {_V}"),
    _rule(
        DIET,
        "vegan|vegetarian|pescatarian|gluten|kosher|halal|lactose",
        rf"{_S}{_AUX} (?:is|am|became|went|turned|going)(?: (?:now|a|an|fully|strictly)){{0,2}} {_DIETS}",
    ),
    _rule(
        DIET,
        "vegan|vegetarian|pescatarian|gluten|kosher|halal",
        rf"{_S}(?:{_NOT}{_AUX}|{_AUX} (?:stopped|quit))(?: being| a| an){{0,2}} {_DIETS}",
        positive=False,
    ),
    _rule(
        STATUS,
        "single|married|engaged|divorced|widowed|retired|unemployed|pregnant",
        rf"{_S}{_AUX} (?:is|am|got)(?: now)?(?: a)? {_STATUSES}(?= to [A-Z]|[.!,;]|$| and | now)",
    ),
    _rule(ALLERGY, "allerg", rf"{_S}{_AUX} allergic to {_V}"),
    _rule(ALLERGY, "allerg", rf"{_S}{_NOT}{_AUX} allergic to {_V}", positive=False),
    _rule(AGE, "years old", rf"{_S}{_AUX} (?P<v>\d{{1,3}}) years old"),
    _rule(AGE, "turned", rf"{_S}{_AUX} turned (?P<v>\d{{1,3}})\b"),
    _rule(DRIVES, "driv", rf"{_S}{_AUX} drives? (?:a|an|my|their|the) {_V}"),
    _rule(
        "",
        "has|have|own|got",
        rf"{_S}{_AUX} (?:has|have|owns?|got) (?P<v>{_FEW}) (?P<a>(?:[a-z]+ )?{_COUNTED})\b",
    ),
    _rule(LIKES, "lov|lik|enjoy|ador|prefer|drink|eat|into|fond|obsessed|fan", rf"{_S}{_AUX} {_LIKE} {_V}"),
    _rule(PREFERS, "prefer", rf"{_S}{_AUX} prefers? {_V}"),
    _rule(
        LIKES,
        "n't|not|no longer|never",
        rf"{_S}{_NOT}(?: really| even)? (?:love|like|enjoy|adore|prefer|drink|eat|stand)s? {_DENIED}",
        positive=False,
    ),
    _rule(
        LIKES,
        "hate|dislike|detest|stop|quit|gave up|giv|cut|went off|gone off|done|sick|tired",
        rf"{_S}{_AUX} {_GIVES_UP} {_DENIED}",
        positive=False,
    ),
    _rule(
        LIKES,
        "used to",
        rf"{_S}{_AUX} used to (?:love|like|drink|eat|prefer|enjoy|adore) {_DENIED}",
        positive=False,
    ),
    _rule(
        LIKES,
        "switched|changed|swapped|moved over|converted|went",
        rf"{_S}{_AUX} {_SWITCHED} (?:over )?from {_V} to ",
        positive=False,
    ),
    _rule(LIKES, "swapped|traded|replaced", rf"{_S}{_AUX} (?:swapped|traded|replaced) {_V} ", positive=False),
    _rule(
        LIKES,
        "switched|swapped|converted",
        rf"{_S}{_AUX} (?:switched|swapped|converted) (?:over )?(?:from {_OTHER} )?to {_V}",
    ),
    _rule(
        LIKES,
        "prefer|drink|eat|take|order",
        rf"{_S}{_AUX} (?:prefers?|drinks?|eats?|takes?|orders?) {_OTHER}? (?:to|over|instead of"
        rf"|rather than) {_V}",
        positive=False,
    ),
    _rule(
        "",
        "the|our",
        rf"\b(?P<s>[Tt]he|[Oo]ur) (?P<a>[a-z][a-z-]*(?: [a-z][a-z-]*){{0,3}}?){_THING_BECOMES} {_MEASURE}",
    ),
]

_INSIDE = frozenset({"n't", "'s ", "s' "})  # hints that no word begins with
_WORD = re.compile(r"[a-z]+")


def _by_start() -> dict[str, list[tuple[str, int]]]:
    starts: dict[str, list[tuple[str, int]]] = {}
    for place, rule in enumerate(RULES):
        for hint in rule.hints:
            starts.setdefault("" if hint in _INSIDE else hint[:3], []).append((hint, place))
    return starts


_BY_START = _by_start()


def rules_for(text: str) -> list[Rule]:
    """The rules whose hints occur in a lower-case text, in their order."""
    starts = {word[:3] for word in _WORD.findall(text)} & _BY_START.keys()
    places = {place for start in ("", *starts) for hint, place in _BY_START[start] if hint in text}
    return [RULES[place] for place in sorted(places)]
