"""How a trained policy has to be asked: as it was trained.

A policy that says what it was trained with is refused by an agent that does otherwise. Here its view, core
limit and prompt pack are taken over, so that a checkpoint can be compared by naming it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.fit import check_policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse

_VIEW = re.compile(r"(relevant|recent)\((\d+),(\d+)\)")


def as_trained(
    settings: AgentSettings, description: GetPolicyResponse, brought_along: Sequence[str] = ()
) -> AgentSettings:
    """The settings with what the policy's training decides; of a policy that says nothing, as they are.

    Args:
        settings: As a preset has them.
        description: Of the policy.
        brought_along: Folders of prompt packs that may be its own, besides those that come with the agent.

    Raises:
        InvalidInputError: UNKNOWN_WIRE_FORMAT, UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK.
        UnsupportedError: The policy and these settings do not go together; the message says why.
    """
    trained = description.trained_with
    taken: dict[str, Any] = {}
    if view := _VIEW.fullmatch(trained.view):
        taken |= {"view": view[1], "semantic": int(view[2]), "episodic": int(view[3])}
    if trained.core_token_limit:
        taken["core_tokens"] = trained.core_token_limit
    if trained.prompt_digest:
        form = wire.get(description.wire_format)
        names = (settings.prompt_pack, *packs.BUILT_IN, *brought_along)
        fits = (name for name in names if packs.load(name).digest(form) == trained.prompt_digest)
        taken["prompt_pack"] = next(fits, settings.prompt_pack)
    fitted = settings.model_copy(update=taken)
    check_policy(description, fitted, packs.load(fitted.prompt_pack))
    return fitted
