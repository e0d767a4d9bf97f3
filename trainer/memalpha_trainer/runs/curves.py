"""A run's numbers over its steps, drawn: each step thin, the mean of its neighbourhood thick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memalpha_trainer.runs.columns import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing: its title, and the numbers in it with their labels."""

    title: str
    keys: tuple[tuple[str, str], ...]


PANELS = (
    Panel("reward", (("reward/total", "total"), ("reward/qa", "answers"))),
    Panel(
        "calls carried out, compression", (("reward/call", "calls"), ("reward/compression", "compression"))
    ),
    Panel(
        "calls per chunk",
        (
            *(("ops/insert", "insert"), ("ops/update", "update"), ("ops/delete", "delete")),
            *(("ops/failed", "failed"), ("ops/skip", "none")),
        ),
    ),
    Panel("tokens per chunk", (("completion/tokens", "written"),)),
    Panel("tokens of the final memory", (("memory/tokens", "memory"),)),
    Panel(
        "spread in groups", (("reward/total_std", "reward, std"), ("frac_zero_std_groups", "groups alike"))
    ),
    Panel("entropy per token", (("entropy", "entropy"),)),
    Panel("gradient norm", (("grad_norm", "before clipping"),)),
    Panel(
        "policy against trainer, largest |Δ logprob|", (("mismatch/max", "largest"), ("mismatch/p99", "p99"))
    ),
)
_ACROSS = 3


def draw(lines: Sequence[Line], path: Path) -> bool:
    """Draws all panels that have numbers into one PNG; False, and no file, if none has."""
    panels = [panel for panel in PANELS if any(_points(lines, key) for key, _ in panel.keys)]
    if not panels:
        return False
    from matplotlib.figure import Figure  # takes a second to load, and is needed once

    down = -(-len(panels) // _ACROSS)
    figure = Figure(figsize=(4.2 * _ACROSS, 2.8 * down), layout="constrained")
    axes = figure.subplots(down, _ACROSS, squeeze=False).flat
    for panel, place in zip(panels, axes, strict=False):
        _draw(panel, lines, place)
    for place in list(axes)[len(panels) :]:
        place.set_visible(False)
    figure.savefig(path, dpi=110)
    return True


def smoothed(values: Sequence[float]) -> list[float]:
    """Means over windows of a tenth of all, centred, and smaller towards both ends."""
    half = max(len(values) // 20, 0)
    windows = (values[max(at - half, 0) : at + half + 1] for at in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _draw(panel: Panel, lines: Sequence[Line], place: Axes) -> None:
    for number, (key, label) in enumerate(panel.keys):
        points = _points(lines, key)
        if points:
            steps, values = zip(*points, strict=True)
            place.plot(steps, values, color=f"C{number}", linewidth=0.7, alpha=0.35)
            place.plot(steps, smoothed(values), color=f"C{number}", linewidth=1.8, label=label)
    place.set_title(panel.title, fontsize=10)
    place.set_xlabel("optimizer step", fontsize=8)
    place.tick_params(labelsize=8)
    place.grid(alpha=0.25)
    place.legend(fontsize=8, frameon=False)


def _points(lines: Sequence[Line], key: str) -> list[tuple[int, float]]:
    return [(line["step"], line[key]) for line in lines if isinstance(line.get(key), int | float)]
