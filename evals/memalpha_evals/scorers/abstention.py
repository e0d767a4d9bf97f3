"""Whether an answer says that it does not know, and how well a system tells when to say so.

Prompts ask for the words `NO_ANSWER`; other wordings of a fixed list count too, where they are all that is
said. An answer that hedges, "not mentioned, but probably Paris", is an answer. A list misses paraphrases, so
recall of abstaining is a lower bound for readers that do not keep to the protocol.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memalpha_evals.rows import Row

NO_ANSWER = "no answer"
"""What prompts ask a reader to say when the context does not hold the answer."""

MOST_WORDS = 25
"""A longer text says more than that it does not know."""

_ALONE = frozenset({NO_ANSWER, "unknown", "unanswerable", "none", "n a", "not known", "not sure"})
_WITHIN = re.compile(
    r"\b(?:no answer|unanswerable|no information|not enough information|insufficient information"
    r"|(?:not|never|isn t|wasn t|aren t) (?:explicitly |directly )?"
    r"(?:mentioned|specified|stated|provided|discussed|said|given|known|available)"
    r"|(?:do|does|did) not (?:know|say|mention|specify|state|provide|contain|include)"
    r"|(?:don t|doesn t|didn t) (?:know|say|mention|specify|state|provide|contain|include)"
    r"|(?:cannot|can t|can not|could not|couldn t) (?:be )?(?:answer|answered|determine|determined|say|tell)"
    r"|no (?:mention|record|indication) of)\b"
)
_HEDGE = re.compile(r"\b(?:but|however|although|though|probably|likely|might be|may be)\b")
_APART = re.compile(r"[^a-z0-9]+")


def abstains(answer: str) -> bool:
    """Whether it says that the answer is not known, and nothing else."""
    text = _APART.sub(" ", answer.lower()).strip()
    if text in _ALONE:
        return True
    return len(text.split()) <= MOST_WORDS and bool(_WITHIN.search(text)) and not _HEDGE.search(text)


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
