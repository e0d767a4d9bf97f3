"""The tool calls that wrote a system's memory, read from what a run kept of its steps.

Steps hold what the policy wrote, not what came of it: a call is shown as it was asked for, and whether the
bank took it is not known from here. Only systems whose policy writes calls in a wire format have any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from memalpha.agent import wire
from memalpha.agent.tools import ParseError, ToolCall
from memalpha_evals.compare.facts import facts
from memalpha_evals.runs import Run, lines
from memalpha_evals.runs.folder import STEPS


class Written(NamedTuple):
    """A call, or a piece of text that is none, and the place of the chunk that it was written for."""

    place: int
    call: ToolCall | ParseError


def by_stream(run: Run, system: str) -> dict[str, list[Written]]:
    """All calls of a system in order, by stream; of a system that writes none, nothing.

    Raises:
        CorruptionError: DAMAGED_LINE.
    """
    form = _wire_format(run, system)
    found: dict[str, list[Written]] = {}
    if form is None:
        return found
    for _, step in lines.parsed(run.folder / STEPS):
        if step["system"] == system:
            found.setdefault(step["conversation"], []).extend(_written(step, form))
    return found


def _wire_format(run: Run, system: str) -> wire.WireFormat | None:
    """What the agent's loop was read by; only `memalpha` runs the agent."""
    identity = facts(run.manifest).system(system).identity or {}
    name = identity.get("policy", {}).get("wire_format", "")
    return wire.get(name) if "agent" in identity and name in wire.NAMES else None


def _written(step: Mapping[str, Any], form: wire.WireFormat) -> Iterator[Written]:
    for call in step["record"].get("calls", ()):
        for found in form.parse(call.get("text", "")):
            yield Written(step["place"], found)
