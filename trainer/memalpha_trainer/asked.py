"""Policy services that a run asks and does not train: who answers its questions, and who judges contents.

Rewards are of one reader and one judge. Either may move to another address; that another model answers, at
the old address or a new one, would go unnoticed, so that what each says of itself is kept with a run's start.
"""

from __future__ import annotations

from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.client import PolicyClient
from memalpha_trainer.config import Config


def reader(config: Config, *, replay: bool) -> str:
    """Who answers, as `identity` has it; empty where that is no other model, or answers are replayed.

    Raises:
        UnavailableError: It does not answer.
    """
    address = config.task.reader_address
    # The policy that is trained is known by its checkpoint.
    if replay or config.task.reader != "policy" or address in ("", config.policy.address):
        return ""
    return _of(address)


def judge(config: Config) -> str:
    """Who judges contents, as `identity` has it; empty where no model does.

    Raises:
        UnavailableError: It does not answer.
    """
    asked = config.rewards.content and config.task.kind != "ledger"
    return _of(config.rewards.judge_address) if asked else ""


def identity(said: GetPolicyResponse) -> str:
    """All that decides what a service writes, in one line; how much it writes at once does not."""
    parts = {
        "version": said.policy.policy_version,
        "engine": said.engine,
        "model": "" if said.model == said.policy.policy_id else said.model,
        "tokenizer": said.tokenizer_digest,
        "prompts": said.trained_with.prompt_digest,
    }
    told = (f"{name} {value}" for name, value in parts.items() if value)
    return ", ".join([said.policy.policy_id, *told])


def _of(address: str) -> str:
    with PolicyClient.connect(address) as client:
        return identity(client.describe())
