"""What readers are made from, and the words they share."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.errors import InvalidInputError, UnsupportedError, make
from memalpha_evals.datasets import Question
from memalpha_evals.endpoints import ScoringPolicy
from memalpha_evals.scorers.abstention import NO_ANSWER
from memalpha_evals.streams import AskedQuestion

ABSTAINS = f"{NO_ANSWER.capitalize()}: not mentioned."
"""What a rule says where it finds nothing; papers look for the last two words."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What a reader needs.

    Attributes:
        policy: Answers; None: there is none, and only rules can be made.
        description: What `policy.describe()` said when the run began.
        max_tokens: Most tokens of an answer, a thought before it included.
        temperature: Of its model calls.
        seed: Likewise; None leaves it to the policy.
    """

    policy: ScoringPolicy | None = None
    description: GetPolicyResponse | None = None
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int | None = None

    def model(self, reader: str) -> tuple[ScoringPolicy, GetPolicyResponse]:
        """Policy and description, for a reader that needs a model.

        Raises:
            InvalidInputError: READER_NOT_NAMED.
            UnsupportedError: READER_MODEL_FREE.
        """
        if self.policy is None or self.description is None:
            message = (
                f"reader {reader} needs a model: name it as HOST:PORT, transformers:FOLDER or openai:MODEL"
            )
            raise make(InvalidInputError, "READER_NOT_NAMED", message, reader=reader)
        if self.description.model_free:
            policy = self.description.policy.policy_id
            message = f"reader {reader} needs a model, and policy {policy} is none: rules answer as `extract`"
            raise make(UnsupportedError, "READER_MODEL_FREE", message, reader=reader, policy=policy)
        return self.policy, self.description


def lettered(question: Question) -> list[tuple[str, str]]:
    """The question's options with their letters, from `a`."""
    return list(zip(ascii_lowercase, question.options, strict=False))


def options_of(asked: AskedQuestion) -> tuple[str, ...]:
    """The question's options, for a reader that chooses.

    Raises:
        InvalidInputError: NO_OPTIONS.
    """
    if not asked.question.options:
        message = f"question {asked.id} has no options to choose from: use another reader for this suite"
        raise make(InvalidInputError, "NO_OPTIONS", message, question=asked.id)
    return asked.question.options
