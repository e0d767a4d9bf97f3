"""Which sentences are worth keeping, and as what.

A sentence earns points for what a later question could ask for (numbers, dates, names, rare words,
something that its speaker did or is) and loses them for what only keeps a conversation going (praise,
wishes, thanks, advice). The weights were set by hand on development conversations.
"""

from __future__ import annotations

import re

from memalpha.policy.extractive.lexicon import ADVERBS, CHATTY, GREETING, PAST, STOP

KEEP = 1.2
_TELLING = 70  # characters from which a question about its speaker tells enough to be kept

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"\d")
_SYMBOL = re.compile(r"[{}\[\]<>=;_\\/|`#*()\"]")
_QUOTED = re.compile(r"[\"“][^\"”]{2,}[\"”]")
_FIRST = re.compile(r"\b(?:I|my|we|our|me|us|I['’](?:m|ve|d|ll)|we['’](?:re|ve|d|ll))\b", re.IGNORECASE)
_SECOND = re.compile(r"\b(?:you|your|you['’](?:re|ve|ll|d)|yours|y['’]all)\b", re.IGNORECASE)
_REACTION = re.compile(
    r"(?:(?:that|it|this|those|these|they|he|she)(?:['’]s| is| are|['’]re| was| were| must| looks?"
    r"| sounds?| seems?| has"
    r"|['’]ll)|sounds?|looks?|seems?|wow|congrat|keep|good luck|take care|talk to|talk soon|see (?:you"
    r"|ya)|can['’]t wait"
    r"|(?:so |really |very |just )?(?:glad|happy|excited|proud|sorry|nice|good|great|cool|lovely)\b"
    r"|i(?:['’]m| am) (?:so |really |very |super )?(?:glad|happy|proud|sorry|sure|excited) (?:for|of"
    r"|to hear|that|you|we|it)"
    r"|i (?:totally |completely |really |so |couldn['’]t )?(?:agree|appreciate|hear you|feel you|bet|hope"
    r"|know|get it"
    r"|understand|see|think|believe|admire)\b|hope|let me know|let['’]s|have (?:a|fun)|wish|what an?|how "
    r"|thank|no worries"
    r"|no (?:doubt|problem|way)|any ?time|absolutely|definitely|totally|of course|you['’]re|you are|your"
    r"|you |way to go"
    r"|me too|same|everyone|everything|it['’]s (?:so |really |very |such )|there['’]s nothing|appreciate"
    r"|enjoy)",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"\b(?:is|am|are|['’]m|['’]re|lives?|loves?|likes?|enjoys?|hates?|prefers?|works?|has|have|own|owns"
    r"|uses?|wants?|needs?|"
    r"means?|costs?|runs?|contains?|supports?|requires?|always|usually|never|every)\b",
    re.IGNORECASE,
)
_PLAN = re.compile(
    r"\b(?:going to|gonna|will|['’]ll|planning|plan to|about to|coming up|looking forward|next)\b",
    re.IGNORECASE,
)


def is_question(sentence: str) -> bool:
    """Whether a sentence ends as a question does."""
    return sentence.endswith(("?", "？", "?!", "?)"))


def asks(sentence: str) -> bool:
    """Whether a sentence is a question and no more; a long one about its speaker also tells something."""
    if not is_question(sentence):
        return False
    return len(sentence) < _TELLING or _FIRST.search(sentence) is None


def score(sentence: str, speakers: frozenset[str], *, dated: bool, stated: int) -> float:
    """How much a sentence is worth; `KEEP` and more is kept.

    Args:
        sentence: As it was said, interjections already taken off its front.
        speakers: Names of the conversation's speakers in lower case; to name them says nothing new.
        dated: Whether it has a date.
        stated: How many attributes it states.
    """
    words = _WORD.findall(sentence)
    specific = {word.lower() for word in words} - STOP - CHATTY - GREETING - ADVERBS - speakers
    points = min(0.45 * len(specific), 4.0) + 3.0 * bool(stated) + 2.5 * dated
    points += 1.0 * bool(_NUMBER.search(sentence)) + 0.7 * bool(_QUOTED.search(sentence))
    points += 0.6 * min(len(_proper(words, speakers)), 3)
    first, second = _FIRST.search(sentence), _SECOND.search(sentence)
    points += 0.7 * bool(first) - (1.5 if second and not first else 0.3 if second else 0.0)
    points += 0.7 * bool(PAST.search(sentence)) - 12.0 * _symbols(sentence)
    return points - 1.3 * bool(_REACTION.match(sentence)) - 0.6 * (len(words) < 4)


def standing(sentence: str, *, opens: bool, answers: bool, instructs: bool) -> float:
    """What a sentence's place adds to its score.

    Args:
        sentence: As for `score`.
        opens: Whether it is the first of its turn.
        answers: Whether a question was asked just before it.
        instructs: Whether it is said to a helper, who is told first what it is about, often as a question.
    """
    if instructs:
        return 2.0 * opens
    return 0.8 * answers - 1.5 * is_question(sentence)


def _symbols(sentence: str) -> float:
    """Share of characters that code and tables are made of."""
    return min(len(_SYMBOL.findall(sentence)) / len(sentence), 0.3)


def _proper(words: list[str], speakers: frozenset[str]) -> set[str]:
    """Capitalised words that do not open the sentence and are no speaker's name."""
    return {
        word
        for word in words[1:]
        if word[0].isupper() and word.lower() not in speakers and word.lower() not in STOP and word != "I"
    }


def has_verb(sentence: str) -> bool:
    """Whether a sentence has a verb that these rules know."""
    return bool(_STATE.search(sentence) or PAST.search(sentence))


def is_event(sentence: str, *, dated: bool) -> bool:
    """Whether a sentence tells of something that happened or is planned rather than of how things are."""
    if dated:
        return True
    past, state = PAST.search(sentence), _STATE.search(sentence)
    if past and state:
        return past.start() < state.start()
    return bool(past) or bool(_PLAN.search(sentence) and not state)
