"""The commands `bench`, but for `whole`: what the runner does with a model's time and memory."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from memalpha_evals import pages, suites
from memalpha_evals.bench import bars, long, scheduling
from memalpha_evals.bench.bars import Bar
from memalpha_evals.commands.options import AsJson, WriteDocs, machine, plain
from memalpha_evals.commands.whole import bench_whole
from memalpha_evals.pages import Page, Titled

_PAGE = "evals.md"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    bench = typer.Typer(
        name="bench", help="What the runner itself does with a model's time.", no_args_is_help=True
    )
    bench.command("scheduler")(bench_scheduler)
    bench.command("long")(bench_long)
    bench.command("whole")(bench_whole)
    app.add_typer(bench)


def bench_scheduler(
    latency: Annotated[float, typer.Option(min=0.005, max=10, help="Median seconds of a call.")] = 0.2,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Slots, bounds and overhead on a stub, beside lock-step batches on the same stub in the same run.

    Example: evals bench scheduler --latency 0.1

    Takes about 400 latencies and half a minute more. A latency too small for the machine measures the
    machine. Ends with 1 if a bar is missed.
    """
    content = {**machine(), **scheduling.measure(latency, lambda what: print(what, file=sys.stderr))}
    _give("scheduler", content, _scheduler_tables(content), bars.of_scheduler(content), write_docs, as_json)


def bench_long(
    suite: Annotated[str, typer.Option(help="Whose conversations are joined.")] = "beam",
    data: Annotated[Path | None, typer.Option(help=f"Its place; unset: below {suites.VARIABLE}.")] = None,
    tokens: Annotated[int, typer.Option(min=1000, max=50_000_000, help="Of the conversation.")] = 1_000_000,
    questions: Annotated[int, typer.Option(min=1, max=10_000, help="Asked at its end.")] = 100,
    policy: Annotated[str, typer.Option(help="What writes memory.")] = "extractive",
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """One very long conversation, memorized and asked about: seconds and memory.

    Example: evals bench long --data chats/100K

    Ends with 1 if a bar is missed.
    """
    measured = asyncio.run(long.measure(suite, data, tokens, questions, policy))
    content = {**machine(), **measured}
    _give("long", content, _long_tables(content), bars.of_long(content), write_docs, as_json)


def _give(
    name: str,
    content: dict[str, Any],
    tables: list[Titled],
    promised: list[Bar],
    write_docs: bool,
    as_json: bool,
) -> None:
    tables = [*tables, ("What is promised", ["", "bar", "measured", ""], [bar.row() for bar in promised])]
    if as_json:
        print(json.dumps(content))
    else:
        pages.show(tables, plain())
    if write_docs:
        page = Page(
            _PAGE,
            f"<!-- bench {name}:begin, written by evals bench {name} --write-docs -->",
            f"<!-- bench {name}:end -->",
            Path("evals") / f"{content['date']}-{name}.json",
        )
        print(f"written: {pages.write(page, content, _head(content), tables)}", file=sys.stderr)
    if not all(bar.met for bar in promised):
        raise typer.Exit(1)


def _head(content: dict[str, Any]) -> str:
    return f"{content['date']}, {content['cores']} cores, load {content['load']}, Python {content['python']}"


def _scheduler_tables(content: dict[str, Any]) -> list[Titled]:
    header = [
        *("latencies", "lock step, conv/min", f"{content['slots']} slots, conv/min", "ratio", "slots in use"),
        *("of the bound", "unlimited, conv/min", "chain bound, s", "of the chain bound"),
    ]
    rows = [[kind, *_cells(found)] for kind, found in content["latencies"].items()]
    over = content["overhead"]
    overhead = [
        ["calls", f"{over['calls']:,}"],
        ["CPU for each, ms", f"{over['cpu_ms_per_call']:.3f}"],
        ["of which asyncio alone takes, ms", f"{over['bare_cpu_ms_per_call']:.3f}"],
        ["event loop late, 99 %, ms", f"{1000 * over['lag_seconds']:.1f}"],
    ]
    return [
        (f"{content['conversations']} conversations, median {content['median_seconds']:g} s", header, rows),
        (f"{over['slots']} calls in flight", ["", ""], overhead),
    ]


def _cells(found: dict[str, Any]) -> list[str]:
    limited, unlimited = found["limited"], found["unlimited"]
    return [
        f"{found['lockstep']['conversations_per_minute']:.0f}",
        f"{limited['conversations_per_minute']:.0f}",
        f"{found['ratio']:.2f}",
        f"{limited['utilisation']:.1%}",
        f"{limited['bound_seconds'] / limited['seconds']:.1%}",
        f"{unlimited['conversations_per_minute']:.0f}",
        f"{found['chain_bound_seconds']:.1f}",
        f"{unlimited['of_chain_bound']:.1%}",
    ]


def _long_tables(content: dict[str, Any]) -> list[Titled]:
    rows = [
        ["suite", content["suite"]],
        [
            "tokens, chunks, questions",
            f"{content['tokens']:,}, {content['chunks']:,}, {content['questions']:,}",
        ],
        ["seconds", f"{content['seconds']:.1f}"],
        ["of which cutting chunks", f"{content['seconds_cutting']:.1f}"],
        ["of which reading and answering", f"{content['seconds_running']:.1f}"],
        ["peak memory, MB", f"{content['peak_mb']:,.0f}"],
        ["tokens stored", f"{content['stored_tokens']:,}"],
        ["failed", str(content["failed"])],
    ]
    return [(f"One conversation, policy {content['policy']}", ["", ""], rows)]
