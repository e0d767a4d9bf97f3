"""What the runner has promised, beside what was measured: a bar that is missed is a failed command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MISSED = "MISSED"


@dataclass(frozen=True, slots=True)
class Bar:
    """A number that must be at least, or at most, another; `form` writes both."""

    what: str
    measured: float
    bar: float
    form: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the promise was kept."""
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"what": self.what, "bar": self.bar, "measured": self.measured, "met": self.met}

    def row(self) -> list[str]:
        """What, bar, measured, verdict."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.met else MISSED
        return [self.what, f"{sign} {self.bar:{self.form}}", f"{self.measured:{self.form}}", verdict]


def of_scheduler(content: dict[str, Any]) -> list[Bar]:
    """Of `bench.scheduling.measure`: CPU of a call, slots in use, and nearness to the longest chain."""
    kinds: dict[str, Any] = content["latencies"]
    over = content["overhead"]
    cpu = Bar(f"CPU ms of a call, {over['slots']} in flight", over["cpu_ms_per_call"], 0.3, ".3f")
    used = kinds["log-normal"]["limited"]["utilisation"]
    slots = Bar(f"{content['slots']} slots in use, log-normal", used, 0.9, ".1%", at_least=True)
    chains = [
        Bar(f"of the chain bound, {kind}", found["unlimited"]["of_chain_bound"], 0.95, ".1%", at_least=True)
        for kind, found in kinds.items()
    ]
    return [cpu, slots, *chains]


def of_long(content: dict[str, Any]) -> list[Bar]:
    """Of `bench.long.measure`: seconds and memory for each million tokens and hundred questions."""
    share = max(content["tokens"] / 1_000_000, content["questions"] / 100, 1)
    return [
        Bar("seconds", content["seconds"], 120 * share, ".1f"),
        Bar("peak memory, MB", content["peak_mb"], 1000 * share, ",.0f"),
        Bar("failed", content["failed"], 0, "d"),
    ]
