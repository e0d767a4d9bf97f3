"""Bars with intervals and a scatter of score over tokens, as inline SVG that follows the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from memalpha_evals.reports.content import Bar, Point
from memalpha_evals.reports.markup import Html, tag

_NAME, _WIDTH, _ROW = 150, 360, 20
"""Room for names, for the axis from 0 to 100, and for one bar, in pixels."""

_LEFT, _HEIGHT = 46, 240
_LETTERS = 13
"""Height of a line of text."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def bars(drawn: Sequence[Bar]) -> Html:
    """One bar for each system, with its interval as a line."""
    height = _ROW * len(drawn) + 22
    grid = [_tick(share, height - 18) for share in _TICKS]
    return _svg(
        _NAME + _WIDTH + 50,
        height,
        [*grid, *(part for place, bar in enumerate(drawn) for part in _bar(place, bar))],
    )


def _tick(share: float, bottom: float) -> Html:
    x = _NAME + share * _WIDTH
    line = _line(x, 0, x, bottom, "grid")
    return tag("g", line, _text(x, bottom + 13, f"{100 * share:.0f}", "middle"))


def _bar(place: int, bar: Bar) -> list[Html]:
    top, middle = place * _ROW + 4, place * _ROW + _ROW / 2
    box = tag(
        "rect", x=f"{_NAME}", y=f"{top}", width=f"{bar.value * _WIDTH:.1f}", height=f"{_ROW - 8}", cls="bar"
    )
    parts = [_text(_NAME - 6, middle + 4, bar.system, "end"), box]
    end = bar.value
    if bar.interval:
        low, high = (min(1.0, max(0.0, each)) for each in (bar.interval.low, bar.interval.high))
        parts.append(_line(_NAME + low * _WIDTH, middle, _NAME + high * _WIDTH, middle, "whisker"))
        end = max(end, high)
    return [*parts, _text(_NAME + end * _WIDTH + 5, middle + 4, f"{100 * bar.value:.1f}", "start")]


def scatter(points: Sequence[Point], tokens: str, about: str) -> Html:
    """Score over tokens, these on a scale of powers of ten.

    Args:
        points: The systems.
        tokens: Which tokens: `context`, `stored` or `built`.
        about: What stands below the axis.
    """
    counts = [max(1.0, float(getattr(point, tokens))) for point in points]
    top = max(1, _ceiling(max(counts)))
    grid = [_line(_LEFT, _y(share), _LEFT + _WIDTH, _y(share), "grid") for share in _TICKS]
    labels = [_text(_LEFT - 6, _y(share) + 4, f"{100 * share:.0f}", "end") for share in _TICKS]
    powers = [
        _text(_x(10.0**power, top), _HEIGHT + 22, f"{10**power:,}", "middle") for power in range(top + 1)
    ]
    names = _apart([_y(point.score) for point in points])
    dots = [
        part
        for point, count, name in zip(points, counts, names, strict=True)
        for part in _dot(point, _x(count, top), name)
    ]
    title = _text(_LEFT + _WIDTH / 2, _HEIGHT + 40, about, "middle")
    return _svg(_LEFT + _WIDTH + 150, _HEIGHT + 48, [*grid, *labels, *powers, *dots, title])


def _ceiling(count: float) -> int:
    """The power of ten that is at least so much."""
    power = int(log10(count))
    return power if 10**power >= count else power + 1


def _x(count: float, top: int) -> float:
    return _LEFT + log10(count) / top * _WIDTH


def _y(share: float) -> float:
    return 8 + (1 - share) * _HEIGHT


def _dot(point: Point, x: float, name: float) -> list[Html]:
    circle = tag("circle", cx=f"{x:.1f}", cy=f"{_y(point.score):.1f}", r="4", cls="dot")
    return [circle, _text(x + 7, name + 4, point.system, "start")]


def _apart(heights: Sequence[float]) -> list[float]:
    """The same in order, each a line of text above the next lower one: names do not cover one another."""
    found, above = list(heights), float("inf")
    for place in sorted(range(len(heights)), key=lambda place: -heights[place]):
        above = found[place] = min(heights[place], above - _LETTERS)
    return found


def _line(x1: float, y1: float, x2: float, y2: float, cls: str) -> Html:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", cls=cls)


def _text(x: float, y: float, content: str, anchor: str) -> Html:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _svg(width: float, height: float, parts: Sequence[Html]) -> Html:
    size = f"0 0 {width:.0f} {height:.0f}"
    return tag("svg", *parts, viewBox=size, width=f"{width:.0f}", height=f"{height:.0f}", role="img")
