"""Measures memcore beside its peers, prints a table and writes docs/benchmarks/DATE.json.

Every system has a process of its own; those that do the same work take turns, so that a noisy machine harms
all alike; a figure is the median of several rounds. Compare rows of one run. What a system answers is checked
against brute force before it is timed. exact: that ranking is the right one, by the system's own formula;
approximate: it is not; stale: a write is not found without a rebuild, commit or optimize.
"""

import argparse
import datetime
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import report
import turns
from rows import Row, groups

_SIZES = (1_000, 10_000, 100_000)
_ROUNDS = 5
_QUICK_SIZES = (1_000,)
_QUICK_ROUNDS = 2
# Before any library reads them: a flat scan is compared on one core.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """0, or 1 if a row's check failed."""
    arguments = _arguments()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    if arguments.docs_from:
        report.write_docs(arguments.docs_from.resolve())
        return 0
    chosen = _chosen(arguments)
    if arguments.list:
        print("\n".join(row.name for group in chosen for row in group))
        return 0
    rounds = _QUICK_ROUNDS if arguments.quick else _ROUNDS
    load, _, _ = os.getloadavg()
    errors = Console(stderr=True, highlight=False)
    lines = report.lines(turns.run(chosen, rounds, lambda text: errors.print(text, style="dim")))
    console = Console(width=max(150, Console().width))
    console.print(*report.tables(lines), sep="\n\n")
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    out = (arguments.out or report.DOCS / "benchmarks" / f"{today}.json").resolve()
    out.write_text(report.document(today, rounds, load, lines))
    console.print(f"written to {out}")
    if arguments.write_docs:
        report.write_docs(out)
    return int(any(line.mark.startswith("failed") for line in lines))


def _chosen(arguments: argparse.Namespace) -> list[list[Row]]:
    sizes = arguments.sizes or (_QUICK_SIZES if arguments.quick else _SIZES)
    wanted = re.compile(arguments.only, re.IGNORECASE)
    kept = ([row for row in group if wanted.search(row.name)] for group in groups(sizes, arguments.full))
    return [group for group in kept if group]


def _sizes(text: str) -> Sequence[int]:
    return tuple(int(part) for part in text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name in --list matches")
    parser.add_argument(
        "--sizes", type=_sizes, help="memories held, such as 1000,10000; default 1000,10000,100000"
    )
    parser.add_argument(
        "--quick", action="store_true", help="1,000 memories and two rounds: does everything work?"
    )
    parser.add_argument("--full", action="store_true", help="open a store of 1,000,000 memories, not 100,000")
    parser.add_argument("--list", action="store_true", help="print the rows' names only")
    parser.add_argument("--out", type=Path, help="JSON file; default docs/benchmarks/DATE.json")
    parser.add_argument("--write-docs", action="store_true", help="table and plot into docs/benchmarks.md")
    parser.add_argument(
        "--docs-from", type=Path, metavar="JSON", help="only that, from an earlier run's file"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
