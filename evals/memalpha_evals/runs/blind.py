"""What a system and a reader may know: a leak guard.

Whoever builds a memory sees chunks; a query-aware system sees its question too. Nobody sees a right answer,
its evidence, whether there is one, or the category, which may say so.
"""

from __future__ import annotations

from dataclasses import replace

from memalpha_evals.streams import AskedQuestion, Stream

SENTENCE = (
    "Systems read streams without questions; query-aware ones are told their own question. Right answers, "
    "aliases, evidence, rubrics, categories and which questions cannot be answered are given to nobody but "
    "the scorers."
)


def chunks_only(stream: Stream) -> Stream:
    """The stream without its questions."""
    return replace(stream, questions=())


def blind(asked: AskedQuestion) -> AskedQuestion:
    """The question as it is asked, without what would answer it."""
    question = replace(
        asked.question,
        category="",
        answer="",
        aliases=(),
        evidence=frozenset(),
        bad_evidence=(),
        unanswerable=False,
        rubric=(),
    )
    return replace(asked, question=question)
