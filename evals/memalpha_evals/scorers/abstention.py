"""Whether an answer says that it does not know, and how well a system tells when to say so.

Prompts ask for the words `NO_ANSWER`. Other wordings of a fixed list count where they are a whole sentence of
the answer, and say of who answers or of the text that it does not know: `I don't know where`, `the text does
not say`, `her age is not mentioned`. What somebody told of cannot do or does not know is an answer, `she
doesn't know how to swim`, and so is one that hedges, `not mentioned, but probably Paris`. A list misses
paraphrases, so recall of abstaining is a lower bound for readers that do not keep to the protocol.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memalpha_evals.rows import Row

NO_ANSWER = "no answer"
"""What prompts ask a reader to say when the context does not hold the answer."""

MOST_WORDS = 25
"""A longer text says more than that it does not know."""

_ALONE = frozenset(
    {
        *(NO_ANSWER, "unknown", "unanswerable", "none", "n a", "not known", "not sure", "no idea", "unclear"),
        *("i have no idea", "it is unclear", "it s unclear", "unable to answer", "i am unable to answer"),
    }
)

# Pieces of the wordings, over a sentence in small letters without marks, `don't` written `dont`.
_LEAD = (
    r"(?:(?:sorry|unfortunately|well|hmm) )*"
    r"(?:(?:based on|according to|from|in) (?:what|the|this|these|my|our) (?:\w+ ){1,4}?)?"
)
_SOURCE = (
    r"(?:(?:the|this|that|these|my|our|provided|given|available) )*"
    r"(?:context|text|conversation|dialogue|transcript|passage|document|information|memory|memorie|note|record)s?"
)
_ISNT = (
    r"(?:(?:(?:is|was|are|were|has|have) )?(?:not|never)(?: been)?|(?:is|was|are|were)nt|(?:has|have)nt been)"
)
_DOESNT = r"(?:(?:do|does|did) not|(?:do|does|did)nt|never)"
_CANT = r"(?:cannot|can not|cant|could not|couldnt)"
_HOW = r"(?:explicitly |directly |specifically |clearly |actually )?"
_WH = r"(?:what|where|when|who|whom|whose|which|why|if|whether|how (?!to\b)).*"
_WHERE = r"(?: (?:anywhere|here))?(?: (?:in|by|within|from|on|at|with|for) .{1,60})?"
_REST = rf"(?:{_WHERE}| {_WH})"
_NOUN = r"(?:it|this|that|(?:the|her|his|their|its|any|this|that|\w+s) (?:\w+ ){0,5}\w+)"
_ANSWER = r"(?:it|this|that|(?:the|this|that|such|any|enough) (?:answer|information|detail|name|date)s?)"
_HAD = r"(?:provided|given|available|recorded)"
_WORDING = re.compile(
    rf"{_LEAD}(?:"
    # I do not know; we cannot tell where
    rf"(?:i|we) (?:really )?(?:{_DOESNT} know|(?:am |are |m |re )?not sure)(?: that| this)?(?: {_WH})?"
    rf"|(?:(?:i|we|it|one) )?{_CANT} (?:say|tell|answer|determine|find)(?: that| this| it)?{_REST}"
    rf"|(?:i|we) {_DOESNT} know the answer{_REST}"
    # the text does not say; she did not mention where
    rf"|{_SOURCE} {_DOESNT} {_HOW}"
    r"(?:say|mention|specify|state|indicate|provide|contain|include|discuss|give|reveal|tell)\b.*"
    rf"|(?:it|you) {_DOESNT} {_HOW}(?:say|mention|specify|state)\b.*"
    rf"|(?:\w+ ){{1,4}}{_DOESNT} {_HOW}(?:say|mention|specify|state)(?: {_WH})?"
    # her age is not mentioned; it is not known; it cannot be determined
    rf"|(?:.{{1,80}} )?{_ISNT} {_HOW}(?:mentioned|specified|stated|discussed|indicated){_REST}"
    rf"|(?:{_NOUN} )?{_ISNT} {_HOW}(?:said|known)(?: (?:in|by|from) {_SOURCE})?"
    # the answer is not available; a hotel that is not available is none that the text does not know
    rf"|(?:{_ANSWER} )?{_ISNT} {_HOW}{_HAD}(?: (?:in|by|from) {_SOURCE})?"
    rf"|(?:{_NOUN} )?{_ISNT} {_HOW}{_HAD} (?:in|by|from) {_SOURCE}"
    rf"|{_ANSWER} {_CANT} be found{_WHERE}"
    rf"|(?:.{{1,60}} )?{_CANT} be (?:answered|determined|known|inferred){_REST}"
    # there is no information
    r"|(?:(?:there (?:is|was|s)|i (?:have|see|find)) )?"
    r"(?:no|not enough|insufficient) (?:information|mention|record|indication)"
    r"(?: (?:of|about|on|in|regarding|concerning|for|as|to|that|whether|available|provided|given)\b.*)?"
    r"|(?:(?:the question|this question|it|this|that) is )?unanswerable\b.*"
    r")"
)
_SAID = re.compile(r"\W*no answer(?:\W*$|\s*[.:;,(\u2013\u2014-])")
_HEDGE = re.compile(r"\b(?:but|however|although|though|probably|likely|might be|may be)\b")
_SENTENCE = re.compile(r"[.!?;:\n]+(?=\s|$)")
_APART = re.compile(r"[^a-z0-9]+")


def abstains(answer: str) -> bool:
    """Whether one of its few sentences says that the answer is not known, and nothing takes that back."""
    lowered = answer.lower().replace("’", "'").replace("n't", "nt")
    text = _plain(lowered)
    if text in _ALONE:
        return True
    if len(text.split()) > MOST_WORDS or _HEDGE.search(text):
        return False
    sentences = map(_plain, _SENTENCE.split(lowered))
    return bool(_SAID.match(lowered)) or any(map(_WORDING.fullmatch, sentences))


def _plain(lowered: str) -> str:
    return _APART.sub(" ", lowered).strip()


@dataclass(frozen=True, slots=True)
class Abstention:
    """Abstaining as a decision; rows with options and rows that failed decide nothing.

    Attributes:
        said: Answers that abstain.
        right: Of these, the ones to questions that cannot be answered.
        due: Questions that cannot be answered, failed ones too: a failure is no abstention.
    """

    said: int
    right: int
    due: int

    @property
    def precision(self) -> float | None:
        """Share of the abstentions that were right; None if there were none."""
        return self.right / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        """Share of the unanswerable questions that were abstained from; None if there were none."""
        return self.right / self.due if self.due else None


def abstention(rows: Sequence[Row]) -> Abstention:
    """How a system's rows abstain."""
    free = [row for row in rows if not row.options]
    said = [row for row in free if not row.failure and abstains(row.answer)]
    return Abstention(
        said=len(said),
        right=sum(row.unanswerable for row in said),
        due=sum(row.unanswerable for row in free),
    )
