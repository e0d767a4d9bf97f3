"""Whether a policy and an agent belong together.

A model writes well only what it was trained to write, for the prompts it was trained on. An agent that would
ask it otherwise refuses it before it writes anything: chunks stay pending until one of the two is changed.
"""

from __future__ import annotations

from memalpha.agent import wire
from memalpha.agent.packs import PromptPack
from memalpha.agent.prompts import core_limit, is_consolidation_readable, is_readable
from memalpha.agent.settings import AgentSettings
from memalpha.agent.wire import WireFormat
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.errors import UnsupportedError, make

# Why an engine's calls are not guided; one that is not named keeps to a schema.
_UNGUIDED = {
    "extractive": "has no grammars",
    "transformers": "has no grammars",
    # Strict schemas of endpoints begin with an object, and calls go their own way besides.
    "openai": "was tried with no endpoint that takes a list of calls for a schema",
}


def check_policy(description: GetPolicyResponse, settings: AgentSettings, pack: PromptPack) -> None:
    """Checks a policy against what the agent would ask it.

    Raises:
        InvalidInputError: UNKNOWN_WIRE_FORMAT.
        UnsupportedError: WIRE_FORMAT_MISMATCH, PROMPT_PACK_MISMATCH, POLICY_TRAINED_OTHERWISE or
            CALLS_NOT_GUIDED.
    """
    form = wire.get(description.wire_format)
    policy = description.policy.policy_id
    if settings.wire_format and form.name != settings.wire_format:
        message = f"policy {policy} writes wire format {form.name}, this agent reads {settings.wire_format}"
        raise _unfit("WIRE_FORMAT_MISMATCH", message, policy)
    if form.name not in pack.manifest.wire_formats:
        goes_with = ", ".join(pack.manifest.wire_formats)
        message = (
            f"policy {policy} writes wire format {form.name}, "
            f"prompt pack {pack.manifest.name} goes with {goes_with}"
        )
        raise _unfit("PROMPT_PACK_MISMATCH", message, policy)
    if description.model_free and not is_readable(pack):
        message = (
            f"policy {policy} is no model and reads the default pack's user message only, "
            f"which prompt pack {pack.manifest.name} does not have"
        )
        raise _unfit("PROMPT_PACK_MISMATCH", message, policy)
    trained = description.trained_with
    _same(policy, "wire_format", trained.wire_format, form.name)
    _same(policy, "prompt_digest", trained.prompt_digest, pack.digest(form))
    _same(policy, "view", trained.view, settings.view_name)
    if settings.guided_calls:
        _check_guided(description, form)


def check_consolidation(description: GetPolicyResponse, settings: AgentSettings, pack: PromptPack) -> None:
    """Checks a policy against what the agent would ask it to put memories in order.

    A policy that was trained to write may be asked: its words for that are the pack's, if not the prompt.

    Raises:
        InvalidInputError: UNKNOWN_WIRE_FORMAT.
        UnsupportedError: As `check_policy`, or PROMPT_PACK_MISMATCH if the pack has no words for it.
    """
    check_policy(description, settings, pack)
    policy, name = description.policy.policy_id, pack.manifest.name
    if pack.consolidate is None:
        message = f"prompt pack {name} has no consolidate_system.md and consolidate_user.md"
        raise _unfit("PROMPT_PACK_MISMATCH", message, policy)
    if description.model_free and not is_consolidation_readable(pack):
        message = (
            f"policy {policy} is no model and reads the default pack's user message only, "
            f"which consolidate_user.md of prompt pack {name} is not"
        )
        raise _unfit("PROMPT_PACK_MISMATCH", message, policy)


def check_bank(description: GetPolicyResponse, bank: Bank) -> None:
    """Checks a policy against a bank.

    Raises:
        UnsupportedError: POLICY_TRAINED_OTHERWISE.
    """
    trained = description.trained_with.core_token_limit
    policy, here = description.policy.policy_id, core_limit(bank)
    _same(policy, "core_token_limit", str(trained or ""), str(here), f"bank {bank.bank_id}")


def _check_guided(description: GetPolicyResponse, form: WireFormat) -> None:
    """Refuses a policy that would not keep to a schema, or whose calls would not be read from its list."""
    policy = description.policy.policy_id
    if why := _UNGUIDED.get(description.engine):
        message = f"guided_calls must be off with policy {policy}: engine {description.engine} {why}"
        raise _unfit("CALLS_NOT_GUIDED", message, policy, engine=description.engine)
    if not form.reads_lists:
        message = f"guided_calls must be off with wire format {form.name}, which reads no list of calls"
        raise _unfit("CALLS_NOT_GUIDED", message, policy, wire_format=form.name)


def _same(policy: str, name: str, trained: str, here: str, where: str = "this agent") -> None:
    """Refuses what differs; what is not known of the training is not compared."""
    if trained and trained != here:
        message = f"policy {policy} was trained with {name} {trained}, {where} has {here}"
        raise _unfit("POLICY_TRAINED_OTHERWISE", message, policy, name=name, trained=trained, here=here)


def _unfit(reason: str, message: str, policy: str, **metadata: str) -> UnsupportedError:
    return make(UnsupportedError, reason, message, policy=policy, **metadata)
