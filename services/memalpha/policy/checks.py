"""What is checked of every request, whichever engine answers it and whichever door it came through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import InvalidInputError, MemalphaError, OutOfRangeError, UnsupportedError, make

# The reason of calls that an engine has no way to answer; the service gives them gRPC's code of that name.
UNIMPLEMENTED = "UNIMPLEMENTED"
MOST_STOPS = 16
# Below 1e-5, with room for a float32's rounding, sampling is greedy: logits over less leave float32's range.
LEAST_TEMPERATURE = 9.99e-6
MOST_SEQUENCES = 256
ROLES: dict[pb.Role.ValueType, str] = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
}
# Bounds of sampling fields: least, whether the least itself is allowed, most.
_BOUNDS: dict[str, tuple[float, bool, float]] = {
    "temperature": (0, True, 2),
    "max_tokens": (1, True, 2**31 - 1),
    "top_p": (0, False, 1),
    "top_k": (0, True, 2**31 - 1),
    "min_p": (0, True, 1),
}
T = TypeVar("T")
Q = TypeVar("Q", pb.GenerateRequest, pb.ScoreRequest)


def checked_generate(request: pb.GenerateRequest, policy: pb.GetPolicyResponse) -> pb.GenerateRequest:
    """A request whose sampling is within bounds and whose needs the policy meets.

    Raises:
        InvalidInputError: INVALID_SAMPLING.
        UnsupportedError: POLICY_TOO_OLD, or UNIMPLEMENTED.
    """
    _check_version(request, policy)
    _check_sampling(request.sampling)
    if not policy.scores and (request.return_tokens or request.HasField("tokens")):
        raise unimplemented(f"engine {policy.engine}: has no token ids")
    if policy.model_free and request.sampling.json_schema:
        raise unimplemented(f"engine {policy.engine}: has no grammars")
    return request


def checked_score(request: pb.ScoreRequest, policy: pb.GetPolicyResponse) -> pb.ScoreRequest:
    """A request whose sequences can be scored.

    Raises:
        InvalidInputError: INVALID_SEQUENCES or INVALID_SAMPLING.
        UnsupportedError: POLICY_TOO_OLD, or UNIMPLEMENTED.
    """
    if not policy.scores:
        raise unimplemented(f"engine {policy.engine}: has no logprobs")
    _check_version(request, policy)
    if request.HasField("temperature") and not LEAST_TEMPERATURE <= request.temperature <= 2:
        raise _invalid("temperature", "must be from 0.00001 to 2", request.temperature)
    check_sequences(request.sequences)
    return request


def check_sequences(sequences: Sequence[pb.TokenizedPrompt]) -> None:
    """Refuses too many sequences, none, and empty ones.

    Raises:
        InvalidInputError: INVALID_SEQUENCES.
    """
    if not 1 <= len(sequences) <= MOST_SEQUENCES or not all(each.token_ids for each in sequences):
        message = f"sequences: 1 to {MOST_SEQUENCES}, none of them empty; there are {len(sequences)}"
        raise make(InvalidInputError, "INVALID_SEQUENCES", message, count=len(sequences))


def messages(request: pb.GenerateRequest) -> list[dict[str, str]]:
    """A chat prompt's messages, as chat templates and endpoints have them.

    Raises:
        InvalidInputError: INVALID_PROMPT.
    """
    if not request.chat.messages:
        raise make(InvalidInputError, "INVALID_PROMPT", "chat.messages must hold at least one message")
    for place, message in enumerate(request.chat.messages):
        if message.role not in ROLES:
            said = f"chat.messages[{place}].role must be system, user or assistant"
            raise make(InvalidInputError, "INVALID_PROMPT", said, place=place)
    return [{"role": ROLES[each.role], "content": each.content} for each in request.chat.messages]


def tools(tools_json: str) -> list[Any]:
    """A chat prompt's tools.

    Raises:
        InvalidInputError: INVALID_PROMPT.
    """
    try:
        found = json.loads(tools_json)
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, list):
        raise make(InvalidInputError, "INVALID_PROMPT", "chat.tools_json must be a JSON array")
    return found


def chosen(sampling: pb.SamplingParams, name: str, default: T) -> T:
    """A field of a request if it is set, else the policy's own default."""
    asked: Any = sampling
    return getattr(asked, name) if asked.HasField(name) else default


def room(prompt_tokens: int, context: int, sampling: pb.SamplingParams, default: int) -> int:
    """Most new tokens: what was asked for, else the default as far as it fits.

    Raises:
        OutOfRangeError: PROMPT_TOO_LONG: prompt and new tokens do not fit into the context together.
    """
    asked = chosen(sampling, "max_tokens", 0)
    if prompt_tokens + max(asked, 1) > context:
        most = context - max(asked, 1)
        message = (
            f"prompt must have at most {most} of {context} tokens, less the answer; it has {prompt_tokens}"
        )
        raise make(OutOfRangeError, "PROMPT_TOO_LONG", message, limit=most, actual=prompt_tokens)
    return asked or min(default, context - prompt_tokens)


def unimplemented(message: str) -> MemalphaError:
    """The error of a call that an engine has no way to answer."""
    return make(UnsupportedError, UNIMPLEMENTED, message)


def _check_version(request: Q, policy: pb.GetPolicyResponse) -> None:
    if not request.HasField("min_policy_version"):
        return
    served, needed = policy.policy.policy_version, request.min_policy_version
    if served < needed:
        message = f"min_policy_version {needed}: the served weights are version {served}"
        raise make(UnsupportedError, "POLICY_TOO_OLD", message, served=served, min_policy_version=needed)


def _check_sampling(sampling: pb.SamplingParams) -> None:
    for name, (least, included, most) in _BOUNDS.items():
        value = chosen(sampling, name, most)
        # Written so that NaN, which compares with nothing, is outside.
        within = (least <= value if included else least < value) and value <= most
        if not within:
            raise _invalid(
                f"sampling.{name}",
                f"must be {'at least' if included else 'above'} {least:g}, at most {most:g}",
                value,
            )
    if len(sampling.stop) > MOST_STOPS or not all(sampling.stop):
        message = f"must be at most {MOST_STOPS} texts, none of them empty"
        raise _invalid("sampling.stop", message, len(sampling.stop))


def _invalid(name: str, rule: str, value: object) -> InvalidInputError:
    return make(
        InvalidInputError, "INVALID_SAMPLING", f"{name}: {rule}; it is {value}", field=name, value=value
    )
