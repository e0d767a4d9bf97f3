"""Whether an answer is a yes, or a no.

In one of its forms (`yeah`, `nope`) it comes first, or ends the first clause behind words that only lead to
it: `I think yes`, `based on the conversation, yes`, `final answer: yes`. The other one is no clause of its
own, and no `or` joins them: `yes, she has no pets` is a yes, and `yes. No.` and `yes or no` are neither.
`no` stands in `I have no idea` and in `I think no one came` too, and says nothing there.
"""

import re

from memalpha_evals.scorers.words import clauses, words

_YES = frozenset({"yes", "yeah", "yep", "yup", "yea"})
_NO = frozenset({"no", "nope", "nah"})
_JOINING = frozenset({"and", "or", "but", "then", "maybe", "perhaps", "actually", "well", "also", "wait"})
# Of `it's` the `'s` is no word.
_LEAD = re.compile(
    r"^(?:(?:well|oh|hmm|so|definitely|certainly|absolutely|apparently|presumably"
    r"|(?:(?:most|very) )?(?:likely|probably)|(?:it|this|that)s?|(?:(?:my|final|short) )*answer|is|id say"
    r"|(?:i|we) (?:would |really )?(?:think|believe|guess|say)(?: that)?"
    r"|\w+ (?:said|says|answered)(?: that)?)(?: |$))+"
)
_SOURCE = re.compile(r"(?:based on|according to|judging (?:by|from)) ")


def says(yes: bool, said: str) -> bool:
    """Whether an answer is a yes, or, if a no is asked for, a no."""
    ours, others = (_YES, _NO) if yes else (_NO, _YES)
    meant = [each for each in map(" ".join, clauses(said)) if not _leads(each)]
    if not meant or _either(words(said)):
        return False
    first = meant[0].split(" ")[0] in ours or _LEAD.sub("", meant[0], 1) in ours
    return first and not any(_is_only(others, _LEAD.sub("", each, 1).split(" ")) for each in meant)


def _leads(clause: str) -> bool:
    return bool(_LEAD.fullmatch(clause) or _SOURCE.match(clause))


def _is_only(others: frozenset[str], clause: list[str]) -> bool:
    """The other one, alone or beside ours: `but no`, `yes and no`."""
    return not others.isdisjoint(clause) and set(clause) <= _YES | _NO | _JOINING


def _either(given: list[str]) -> bool:
    """An `or` stands between both."""
    sides = (
        (given[place - 1], given[place + 1 : place + 3])
        for place, word in enumerate(given)
        if word == "or" and place
    )
    return any(
        (before in _YES and not _NO.isdisjoint(after)) or (before in _NO and not _YES.isdisjoint(after))
        for before, after in sides
    )
