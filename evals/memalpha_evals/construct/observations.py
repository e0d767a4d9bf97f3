"""Observations in place of evidence: how much of what a session told does a memory hold, asked for or not?

Each observation of LoCoMo is a question of its own, by its own words, and its evidence is itself. What the
same text holds of the next conversation's observations is taken off as chance, as for evidence. Observations
are in the third person and in a model's words: no writer holds all pairs of them, and one that writes so too
holds more.
"""

from collections.abc import Mapping, Sequence

from memalpha_evals.construct.measure import Probe, Probes
from memalpha_evals.coverage import content
from memalpha_evals.datasets import Conversation

CATEGORY = "observation"


def probes(observations: Mapping[str, Sequence[str]]) -> Probes:
    """Of the observations of each conversation, by its id; those without a pair cannot be held."""

    def of(conversation: Conversation, counted: frozenset[str]) -> list[Probe]:
        told = ((text, content(text)) for text in observations.get(conversation.id, ()))
        return [Probe(text, CATEGORY, (each,)) for text, each in told if each.pairs]

    return of
