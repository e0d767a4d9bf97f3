"""How long a prompt may be: what a policy can hold, less its answer, and what the agent allows itself.

Tokens are o200k tokens, close to any model's; a policy that counts more refuses the prompt itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage
from memalpha.errors import OutOfRangeError, make
from memcore import count_tokens

# What chat templates put around a message, with room to spare.
_TOKENS_PER_MESSAGE = 16


def most_prompt_tokens(context: int, most_new_tokens: int, ours: int = 0) -> int | None:
    """The lower of both limits; None if there is none. A context or a limit of 0 is none."""
    limits = [context - most_new_tokens] if context else []
    return min([*limits, ours] if ours else limits, default=None)


def require_fit(messages: Sequence[ChatMessage], room: int | None) -> None:
    """Checks a prompt's length.

    Raises:
        OutOfRangeError: PROMPT_TOO_LONG.
    """
    around = _TOKENS_PER_MESSAGE * len(messages)
    # A token has at least one byte. Counting them takes longer than all the rest of a prompt's rendering.
    if room is None or sum(len(each.content.encode()) for each in messages) + around <= room:
        return
    tokens = sum(count_tokens(each.content) for each in messages) + around
    if tokens > room:
        message = f"prompt must have at most {room} tokens, got {tokens}"
        raise make(OutOfRangeError, "PROMPT_TOO_LONG", message, limit=room, actual=tokens)
