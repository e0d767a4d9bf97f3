"""Wire formats: how tool calls are written as text.

A policy and the agent must speak the same one; a policy names its own in `GetPolicyResponse.wire_format`.
"""

from __future__ import annotations

from memalpha.agent.wire.base import WireFormat
from memalpha.agent.wire.hermes import HermesFormat
from memalpha.agent.wire.lines import LinesFormat
from memalpha.agent.wire.openai import OpenAIFormat
from memalpha.agent.wire.qwen_agent import QwenAgentFormat
from memalpha.errors import InvalidInputError, make

__all__ = ["NAMES", "HermesFormat", "LinesFormat", "OpenAIFormat", "QwenAgentFormat", "WireFormat", "get"]

_FORMATS: dict[str, WireFormat] = {
    wire.name: wire for wire in (HermesFormat(), LinesFormat(), QwenAgentFormat(), OpenAIFormat())
}
NAMES = tuple(_FORMATS)


def get(name: str) -> WireFormat:
    """The wire format of that name.

    Raises:
        InvalidInputError: `UNKNOWN_WIRE_FORMAT`, naming the choices.
    """
    if name not in _FORMATS:
        message = f"wire_format must be one of {', '.join(NAMES)}, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_WIRE_FORMAT", message, wire_format=name)
    return _FORMATS[name]
