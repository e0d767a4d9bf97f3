"""Runs the tiers of budget.toml in order and prints what each took of its budget.

Stops at the first tier that fails or overruns. With names as arguments, runs only those.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path


def main() -> int:
    """Exit code 0 if every tier passed within its budget."""
    budget = Path(__file__).with_name("budget.toml")
    tiers = tomllib.loads(budget.read_text())["tier"]
    names = [tier["name"] for tier in tiers]
    wanted = sys.argv[1:] or names
    if unknown := set(wanted) - set(names):
        print(f"unknown tier {', '.join(sorted(unknown))}; the tiers are {', '.join(names)}", file=sys.stderr)
        return 2
    lines: list[str] = []
    for tier in (tier for tier in tiers if tier["name"] in wanted):
        print(f"--- {tier['name']}: {tier['command']}", flush=True)
        start = time.monotonic()
        code = subprocess.run(tier["command"], shell=True, check=False).returncode
        minutes = (time.monotonic() - start) / 60
        over = minutes > tier["minutes"]
        verdict = f"failed with exit code {code}" if code else "over budget" if over else "ok"
        lines.append(f"tier {tier['name']:<8} {minutes:5.1f} of {tier['minutes']:2} min  {verdict}")
        print("\n".join(lines), flush=True)
        if code or over:
            return code or 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
