"""One line per row, and what is made of lines: tables, a JSON document, a page of documentation, a plot."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from rows import Row
from turns import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN = "<!-- bench:begin, written by just bench --write-docs -->"
_END = "<!-- bench:end -->"
# A ranking this near to the exact one differs by rounding only.
_EXACT = 0.9995


@dataclass(frozen=True)
class Line:
    """A row and its numbers, in microseconds unless `unit` says otherwise."""

    work: str
    held: int
    system: str
    version: str
    unit: str
    # What `target` and `times` are about: p50, or CPU time.
    by: str
    p50: float | None
    p95: float | None
    p99: float | None
    # CPU microseconds of the whole process per operation.
    cpu: float | None
    samples: int
    resident_mb: float | None
    held_mb: float | None
    # The share of the exact top 10 that was found.
    found: float | None
    # exact, approximate, stale; or why there are no numbers.
    mark: str
    durability: str
    # How many times what memcore takes, in the first of its rows of this work.
    times: float | None
    target: str
    met: bool | None


def lines(results: Sequence[Result]) -> list[Line]:
    """Each result compared with its target and with memcore's row."""
    return [_line(result, results) for result in results]


def _line(result: Result, results: Sequence[Result]) -> Line:
    row, loaded = result.row, result.loaded
    value, times = _value(result), _times(result, results)
    target, met = _target(row, value, times, results)
    return Line(
        row.work,
        row.held,
        row.source.name,
        row.source.version,
        row.unit,
        row.by,
        result.p50,
        result.p95,
        result.p99,
        result.cpu,
        result.samples,
        loaded and loaded.resident_mb,
        loaded and loaded.held_mb,
        loaded and loaded.overlap,
        _mark(result),
        loaded.durability if loaded else "",
        times,
        target,
        met,
    )


def _value(result: Result) -> float | None:
    return result.cpu if result.row.by == "cpu" else result.p50


def _times(result: Result, results: Sequence[Result]) -> float | None:
    row = result.row
    same = (other for other in results if (other.row.work, other.row.held) == (row.work, row.held))
    ours = next((other for other in same if other.row.source.name.startswith("memcore")), None)
    if ours is None or ours is result or row.unit == "%":
        return None
    theirs, least = _value(result), _value(ours)
    return theirs / least if theirs is not None and least else None


def _target(
    row: Row, value: float | None, times: float | None, results: Sequence[Result]
) -> tuple[str, bool | None]:
    if row.unit == "%" and row.target is not None:
        return f"≥ {row.target:g} %", None if value is None else value >= row.target
    if row.target is not None:
        return f"≤ {row.target:,.0f}", None if value is None else value <= row.target
    if row.target_times is not None:
        factor, name = row.target_times
        same = (other for other in results if (other.row.work, other.row.source.name) == (row.work, name))
        floor = next((other.p50 for other in same), None)
        met = value <= factor * floor if value is not None and floor is not None else None
        return f"≤ {factor:g}x {name}", met
    if row.ratio is not None:
        return f"≥ {row.ratio:,g}x", None if times is None else times >= row.ratio
    return "", None


def _mark(result: Result) -> str:
    if result.loaded is None:
        return result.absent
    loaded = result.loaded
    marks = []
    if loaded.approximate:
        marks.append(f"approximate ({loaded.approximate})")
    elif loaded.overlap is not None:
        marks.append("exact" if loaded.overlap >= _EXACT else "approximate")
    if loaded.live is False:
        marks.append("stale")
    return ", ".join(marks)


def tables(shown: Sequence[Line]) -> list[Table]:
    """For a terminal: one for each piece of work."""
    made = []
    for title, some in _by_work(shown):
        table = Table(title=title, title_justify="left")
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
        for line in some:
            table.add_row(*_cells(line))
        made.append(table)
    return made


_COLUMNS = ("system", "p50", "p95", "p99", "CPU", "MB", "found", "mark", "durability", "x", "target")
_LEFT = ("system", "mark", "durability", "target")


def _by_work(shown: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    works: dict[str, list[Line]] = {}
    for line in shown:
        works.setdefault(f"{line.work}, {line.held:,} memories" if line.held else line.work, []).append(line)
    return list(works.items())


def _cells(line: Line) -> tuple[str, ...]:
    verdict = {None: "", True: " met", False: " MISSED"}[line.met]
    return (
        f"{line.system} {line.version}".strip(),
        _number(line.p50, line.unit),
        _number(line.p95, line.unit),
        _number(line.p99, line.unit),
        _number(line.cpu, "µs"),
        "" if line.held_mb is None else f"{line.held_mb:,.0f}",
        "" if line.found is None else f"{line.found:.3f}",
        line.mark,
        line.durability,
        "" if line.times is None else f"{line.times:,.3g}" if line.times < 100 else f"{line.times:,.0f}",
        f"{line.target}{verdict}",
    )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "%":
        return f"{value:.0f} %"
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def document(date: str, rounds: int, load: float, shown: Sequence[Line]) -> str:
    """The JSON document. `load` is the load average before the run."""
    content = {
        "date": date,
        "unit": "microseconds",
        "rounds": rounds,
        "machine": {**_machine(), "load_average": load},
        "rows": [_rounded(asdict(line)) for line in shown],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}


def read(path: Path) -> tuple[dict[str, object], list[Line]]:
    """What `document` wrote."""
    content = json.loads(path.read_text())
    names = [field.name for field in fields(Line)]
    return content, [Line(**{name: row[name] for name in names}) for row in content["rows"]]


def _machine() -> dict[str, object]:
    cpu = Path("/proc/cpuinfo")
    named = [line for line in cpu.read_text().splitlines() if "model name" in line] if cpu.exists() else []
    model = named[0].partition(":")[2].strip() if named else platform.processor()
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "memcore": version("memalpha-memcore"),
        "commit": head.stdout.strip(),
    }


def write_docs(path: Path) -> None:
    """Puts the table of a JSON document, and plots beside it, into docs/benchmarks.md."""
    content, shown = read(path)
    drawing = path.with_suffix(".svg")
    _plot(shown, drawing)
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{_markdown(content, shown, path, drawing)}\n{_END}{after}")


def _markdown(content: dict[str, object], shown: Sequence[Line], path: Path, drawing: Path) -> str:
    machine = content["machine"]
    assert isinstance(machine, dict)
    parts = [
        f"{content['date']}, {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
        f"load average before {machine['load_average']:.1f}; medians of {content['rounds']} rounds "
        f"([all numbers]({path.relative_to(DOCS)})).",
    ]
    if drawing.exists():
        parts.append(f"![Latency by number of memories, each system a line]({drawing.relative_to(DOCS)})")
    for title, some in _by_work(shown):
        rows = ["| " + " | ".join(_COLUMNS) + " |", "|" + "|".join("---" for _ in _COLUMNS) + "|"]
        rows += ["| " + " | ".join(_cells(line)) + " |" for line in some]
        parts.append(f"### {title}\n\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _plot(shown: Sequence[Line], drawing: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same numbers give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "memalpha"})
    import matplotlib.pyplot as plt

    works = [work for work in dict.fromkeys(line.work for line in shown) if _sizes(shown, work) > 1]
    works = [work for work in works if "top-10" in work and "in a call" not in work]
    if not works:
        return
    figure, panels = plt.subplots(1, len(works), figsize=(7 * len(works), 5), squeeze=False)
    for panel, work in zip(panels[0], works, strict=True):
        _draw(panel, work, [line for line in shown if line.work == work and line.p50 is not None])
    figure.tight_layout()
    figure.savefig(drawing, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _sizes(shown: Sequence[Line], work: str) -> int:
    return len({line.held for line in shown if line.work == work and line.p50 is not None})


def _draw(panel: "Axes", work: str, shown: Sequence[Line]) -> None:
    ends = []
    for number, system in enumerate(dict.fromkeys(line.system for line in shown)):
        points = sorted((line.held, line.p50) for line in shown if line.system == system and line.p50)
        ours = system.startswith("memcore")
        colour = "black" if ours else f"C{number % 10}"
        held, micros = zip(*points, strict=True)
        panel.plot(held, micros, marker="o", color=colour, linewidth=3 if ours else 1.5)
        ends.append((micros[-1], held[-1], system, colour))
    panel.set(xscale="log", yscale="log", xlabel="memories", ylabel="p50, microseconds", title=work)
    sizes = sorted({line.held for line in shown})
    panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
    panel.minorticks_off()
    panel.grid(True, alpha=0.3)
    _label(panel, ends)


def _label(panel: "Axes", ends: list[tuple[float, int, str, str]]) -> None:
    """Names right of the panel, moved apart where they would cover each other."""
    low, high = panel.get_ylim()
    apart = (high / low) ** 0.045
    right = panel.get_xlim()[1] * 1.2
    least = 0.0
    for micros, held, system, colour in sorted(ends):
        height = max(micros, least * apart)
        least = height
        panel.annotate(
            system,
            xy=(held, micros),
            xytext=(right, height),
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4},
        )
