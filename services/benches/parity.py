"""What every engine keeps, and what engines say of their own tokens: conformance suite and parity table.

Prints both; without `--quick` it also writes `docs/policy/DATE.json` and the part of `docs/policy.md` between
its markers. What the suite showed is printed and kept in `DATE.partial.json` before the table begins: if that
breaks off, the file stays, and what an earlier run of the day has written stays as well.

    python services/benches/parity.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from parity_bench import conformance, measure, page
from parity_bench.rows import Row

QUICK_ENGINES = ("extractive", "transformers")


async def _table(scale: measure.Scale) -> list[Row]:
    """All lines, each printed when it is there."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        async for row in measure.table(scale, Path(name)):
            found.append(row)
            print(row, file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Runs, prints and writes; 1 if a test fails, an engine was not tried or a line is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="extractive and transformers alone, small; writes nothing"
    )
    quick: bool = parser.parse_args().quick
    engines, scale = (QUICK_ENGINES, measure.QUICK) if quick else (conformance.ENGINES, measure.Scale())
    start = page.start()
    found = page.Found(conformance.run(engines), [])
    print(page.outcomes(found.conformance), flush=True)
    if not quick:
        page.keep(page.document(found, start))
    found = replace(found, rows=asyncio.run(_table(scale)))
    print(f"\n{page.tables(found)[-1]}")
    if not quick:
        page.write(found, page.document(found, start))
    faults = found.faults(engines)
    for fault in faults:
        print(f"not as it must be: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
