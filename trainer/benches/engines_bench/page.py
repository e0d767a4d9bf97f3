"""What was compared, as a document, as Markdown, and as a part of the documentation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines_bench.compare import LEAST_EQUAL, MOST_MISMATCH, Curve
from memalpha.files import replace, replace_json
from memalpha.tasks.pages import between
from memalpha_trainer.runs import environment

DOCS = Path(__file__).parents[3] / "docs"
BEGIN = "<!-- trainer:begin, written by just bench-engines -->"
END = "<!-- trainer:end -->"


@dataclass(frozen=True, slots=True)
class Found:
    """All that was compared.

    Attributes:
        curves: `vllm` less `transformers`.
        mismatch: Largest, by engine.
        equal: Share of ids that were the same again after a kill, and how many there are, by engine.
        seconds: Of an optimizer step, by engine: its rollouts, its training.
    """

    curves: tuple[Curve, ...]
    mismatch: Mapping[str, float]
    equal: Mapping[str, tuple[float, int]]
    seconds: Mapping[str, tuple[float, float]]

    def broken(self) -> list[str]:
        """What is not as it must be."""
        return [
            *(f"{each.name}: interval beyond {each.allowed:.4g}" for each in self.curves if not each.holds),
            *(f"{name}: mismatch {most:.2g}" for name, most in self.mismatch.items() if most > MOST_MISMATCH),
            *(
                f"{name}: {share:.4%} of ids after a kill"
                for name, (share, _) in self.equal.items()
                if share < LEAST_EQUAL
            ),
        ]


def tables(found: Found) -> str:
    """In Markdown."""
    heads = (
        "| mean over steps | `vllm` | `transformers` | difference (95 %) | allowed |\n|---|---|---|---|---|"
    )
    mismatch = ", ".join(
        f"{most:.1e} (`{name}`){_missed(most <= MOST_MISMATCH)}" for name, most in found.mismatch.items()
    )
    equal = ", ".join(
        f"{share:.3%} of {count:,} (`{name}`){_missed(share >= LEAST_EQUAL)}"
        for name, (share, count) in found.equal.items()
    )
    seconds = ", ".join(
        f"{collect:.1f} + {train:.1f} s (`{name}`)" for name, (collect, train) in found.seconds.items()
    )
    return "\n".join(
        [
            heads,
            *map(_row, found.curves),
            "",
            f"- Largest difference of a trained token's logprob, engine's to trainer's: {mismatch}; allowed"
            f" is {MOST_MISMATCH:g}.",
            "- Token ids that are the same again when a run is killed after a checkpoint and resumed from it:"
            f" {equal}; at least {LEAST_EQUAL:.1%} must be.",
            f"- A step takes, rollouts and training: {seconds}.",
        ]
    )


def write(found: Found, start: Mapping[str, Any], name: str) -> None:
    """Writes the document of all numbers, and the part of the documentation between its markers."""
    # JSON has no infinity.
    mismatch = {name: most if math.isfinite(most) else None for name, most in found.mismatch.items()}
    document = {"start": start, **asdict(found), "mismatch": mismatch, "broken": found.broken()}
    replace_json(DOCS / "policy" / name, json.loads(json.dumps(document)))
    page = DOCS / "policy.md"
    text = f"{_ran_on(start, name)}\n\n{tables(found)}"
    replace(page, between(page.read_text("utf-8"), BEGIN, END, text))


def _ran_on(start: Mapping[str, Any], name: str) -> str:
    versions = ", ".join(f"{each} {number}" for each, number in start["packages"].items())
    codes = " and ".join(map(environment.code, start["git"]))
    ran = f"{start['time'][:10]}, {codes}, {start['cores']} cores"
    return f"{ran}, {versions} ([all numbers](policy/{name}))."


def _row(each: Curve) -> str:
    digits = 3 if abs(each.theirs) < 10 else 0
    mean, other = f"{each.ours:,.{digits}f}", f"{each.theirs:,.{digits}f}"
    interval = f"{each.difference:+,.{digits}f} ({each.low:+,.{digits}f} to {each.high:+,.{digits}f})"
    allowed = f"±{each.allowed:,.{digits}f}{_missed(each.holds)}"
    return f"| `{each.name}` | {mean} | {other} | {interval} | {allowed} |"


def _missed(holds: bool) -> str:
    return "" if holds else " MISSED"
