"""Many banks through one engine: how busy the agent's loop keeps it, what it costs, and what prompts share.

Prints the tables; without `--quick` it also writes `docs/policy/agent-DATE.json` and the part of
`docs/policy.md` between its markers. Engines with a model are measured where their libraries are.

    python services/benches/agent.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from agent_bench import children, models, page, parts
from agent_bench.runs import Run


async def measured(scale: parts.Scale, say: page.Say) -> page.Parts:
    """All parts, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            "loops": await _all("loops", parts.loops(scale), say),
            "doors": await _all("doors", parts.doors(scale, folder), say),
            "layouts": await _all("layouts", parts.layouts(scale, folder), say),
            "models": {},
        }
        for engine in filter(models.installed, models.ENGINES):
            own = folder / engine
            own.mkdir()
            found["models"] |= await _all("models", parts.model(scale, engine, own, say), say)
    return found


async def _all(part: str, named: parts.Named, say: page.Say) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    async for name, runs in named:
        found[name] = runs
        say(f"{part}: {name}, {sum(run.seconds for run in runs):.1f} s")
    return found


def main() -> int:
    """Measures, prints and writes; 1 if the agent takes more CPU than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="try everything once, small; writes nothing")
    parser.add_argument("--stub", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stub:
        return children.be_stub(given.stub)
    scale, start = parts.QUICK if given.quick else parts.Scale(), page.start()
    found = asyncio.run(measured(scale, lambda line: print(line, file=sys.stderr, flush=True)))
    tables = page.tables(found, scale)
    print("\n\n".join(tables))
    if not given.quick:
        page.write(found, scale, start, tables)
    return 1 if page.too_dear(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
