"""Policy services that a run asks and does not train: who answers its questions, and who judges contents.

Rewards are of one reader and one judge. Either may move to another address; that another model answers, at
the old address or a new one, would go unnoticed, so that what each says of itself is kept with a run's start,
and, where it gives logprobs, what it says of a few fixed tokens. What a service computes at once, and what
the folder of its model is called, may change.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, ScoreRequest, TokenizedPrompt
from memalpha.client import PolicyClient
from memalpha_trainer.config import Config

# Ids that any vocabulary has, in an order of no text: what a model says of them is unlike any other's.
_FIXED = tuple(random.Random(0).sample(range(3, 256), 32))
# In bfloat16 the same weights round otherwise beside other work; other weights are off by more.
_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked.

    Attributes:
        said: What it says of itself, as `identity` has it.
        at: Its host:port; empty for the policy that is trained.
        logprobs: Of the fixed tokens; empty where it gives none.
    """

    said: str
    at: str = ""
    logprobs: tuple[float, ...] = ()

    def differs(self, other: Asked) -> str:
        """In what `other` differs, for people; empty if it is the same model."""
        if self.said != other.said:
            return "what it says of itself"
        off = [abs(one - theirs) for one, theirs in zip(self.logprobs, other.logprobs, strict=False)]
        # One that is no number is near nothing.
        same = all(each <= _TOLERANCE for each in off)
        return "" if same else f"its logprobs of the same tokens, by {max(off):.3g}"

    def __str__(self) -> str:
        """For people."""
        return f"{self.said} (at {self.at})" if self.at else self.said


TRAINED = Asked("the policy that is trained")
"""It is known by the run's checkpoint."""


def reader(config: Config, *, replay: bool) -> Asked | None:
    """The model that answers; None where none does, or answers are replayed.

    Raises:
        UnavailableError: It does not answer.
    """
    if replay or config.task.reader != "policy":
        return None
    address = config.task.reader_address
    own = not address or _normal(address) == _normal(config.policy.address)
    return TRAINED if own else _of(address)


def judge(config: Config) -> Asked | None:
    """The model that judges contents; None where none does.

    Raises:
        UnavailableError: It does not answer.
    """
    asked = config.rewards.content and config.task.kind != "ledger"
    return _of(config.rewards.judge_address) if asked else None


def identity(said: GetPolicyResponse) -> str:
    """All by which a service tells its model from others, in one line.

    A model of this project's engines is called like its folder, which says nothing: its logprobs do.
    """
    named = "" if said.scores else said.policy.policy_id
    parts = {
        "": named,
        "version": said.policy.policy_version,
        "engine": said.engine,
        "model": "" if said.scores or said.model == named else said.model,
        "tokenizer": said.tokenizer_digest,
        "prompts": said.trained_with.prompt_digest,
    }
    return ", ".join(f"{name} {value}".strip() for name, value in parts.items() if value)


def _of(address: str) -> Asked:
    with PolicyClient.connect(address) as client:
        said = client.describe()
        return Asked(identity(said), address, _fixed(client) if said.scores else ())


def _fixed(client: PolicyClient) -> tuple[float, ...]:
    (score,) = client.score(ScoreRequest(sequences=[TokenizedPrompt(token_ids=_FIXED)])).scores
    return tuple(round(each, 4) for each in score.logprobs)


def _normal(address: str) -> str:
    host, colon, port = address.strip().lower().rpartition(":")
    return f"{'127.0.0.1' if host == 'localhost' else host}{colon}{port}"
