"""Runs the tiers of budget.toml in order and prints what each took of its budget.

Tiers that name a lane run beside the other lanes next to them, and in their own lane in order: what tests do
is mostly waiting. The first that fails or is over its budget ends all. Names as arguments choose tiers.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import IO, Any

Tier = dict[str, Any]
_LOOK_SECONDS = 0.2


def main() -> int:
    """Exit code 0 if every tier passed within its budget."""
    tiers = tomllib.loads(Path(__file__).with_name("budget.toml").read_text())["tier"]
    names = [tier["name"] for tier in tiers]
    wanted = sys.argv[1:] or names
    if unknown := set(wanted) - set(names):
        print(f"unknown tier {', '.join(sorted(unknown))}; the tiers are {', '.join(names)}", file=sys.stderr)
        return 2
    run = Run()
    for lanes in stages([tier for tier in tiers if tier["name"] in wanted]):
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(run.lane, lanes, [len(lanes) > 1] * len(lanes)))
        if run.over.is_set():
            return 1
    return 0


def stages(tiers: list[Tier]) -> Iterator[list[list[Tier]]]:
    """Lanes that run at the same time, stage by stage; a tier without a lane is a stage of its own."""
    for has_lane, group in groupby(tiers, lambda tier: "lane" in tier):
        if not has_lane:
            yield from ([[tier]] for tier in group)
            continue
        lanes: dict[str, list[Tier]] = {}
        for tier in group:
            lanes.setdefault(tier["lane"], []).append(tier)
        yield list(lanes.values())


class Run:
    """What was found so far, by all lanes."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def lane(self, tiers: list[Tier], beside_others: bool) -> None:
        """Runs tiers in order, until one of any lane fails."""
        for tier in tiers:
            if self.over.is_set():
                return
            print(f"--- {tier['name']}: {tier['command']}", flush=True)
            start = time.monotonic()
            code = self._ended(tier, f"{tier['name']:<7}| " if beside_others else "")
            self._note(tier, (time.monotonic() - start) / 60, code)

    def _ended(self, tier: Tier, prefix: str) -> int | None:
        """The exit code; None if it was ended, for its time or with the others."""
        process = subprocess.Popen(
            tier["command"],
            shell=True,
            start_new_session=True,
            stdout=subprocess.PIPE if prefix else None,
            stderr=subprocess.STDOUT if prefix else None,
            text=True,
            errors="replace",
        )
        copying = threading.Thread(target=_copied, args=(process.stdout, prefix), daemon=True)
        copying.start()
        deadline = time.monotonic() + 60 * tier["minutes"]
        try:
            while process.poll() is None:
                if self.over.wait(_LOOK_SECONDS) or time.monotonic() > deadline:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        # What the tier has left working may hold the pipe open.
        copying.join(timeout=5)
        return process.returncode

    def _note(self, tier: Tier, minutes: float, code: int | None) -> None:
        over = minutes > tier["minutes"]
        ended = "over budget" if over else "ended with the others"
        verdict = ended if code is None else f"failed with exit code {code}" if code else "ok"
        with self._lock:
            self._lines.append(f"tier {tier['name']:<8} {minutes:5.1f} of {tier['minutes']:2} min  {verdict}")
            print("\n".join(self._lines), flush=True)
        if code != 0:
            self.over.set()


def _copied(stream: IO[str] | None, prefix: str) -> None:
    for line in stream or ():
        print(f"{prefix}{line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
