"""`memalpha memorize` against real policy and agent services, whose memory service keeps dying.

The diary is one turn a day, and a chunk holds turns of one day only, so that each turn is memorized in a
transaction of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from crash_service import free_address

from memalpha.client.health import Name, check
from memalpha.errors import MemalphaError

BANK = "ada"
PARTS = 5
DAYS = 40
READY_SECONDS = 60
FRIENDS = ("Ben", "Cleo", "Dora", "Emil", "Fay")
TOWNS = ("Rome", "Porto", "Ghent", "Turku", "Graz", "Lyon", "Split")
FRUITS = ("plums", "pears", "figs")


def diary(part: int) -> list[dict[str, str]]:
    """One part of a diary, as chat messages: new facts, changed ones, and small talk."""
    messages: list[dict[str, str]] = []
    for day in range(part * DAYS, (part + 1) * DAYS):
        friend, town = FRIENDS[day % len(FRIENDS)], TOWNS[day % len(TOWNS)]
        texts = (
            f"I live in {town} now.",
            f"I met {friend} in {town} and we walked {day} kilometres.",
            f"My favourite fruit is {FRUITS[day % len(FRUITS)]} these days.",
            f"My friend {friend} works as a gardener and has {day} roses.",
            "Nothing much happened, thanks for asking.",
            f"I paid {day} euros for the train to {town} yesterday.",
        )
        when = date(2024, 1, 1) + timedelta(days=day)
        content = texts[day % len(texts)]
        messages.append({"role": "user", "name": "Ada", "content": content, "time": when.isoformat()})
    return messages


class Memorizer:
    """The command and the two services between it and the memory at `memory_address`."""

    def __init__(self, folder: Path, memory_address: str) -> None:
        self._folder = folder
        self._addresses: dict[Name, str] = {"policy": free_address(), "agent": free_address()}
        self._environment = os.environ | {
            "MEMALPHA_MEMORY_ADDRESS": memory_address,
            "MEMALPHA_POLICY_ADDRESS": self._addresses["policy"],
            "MEMALPHA_AGENT_ADDRESS": self._addresses["agent"],
            "MEMALPHA_LOG_LEVEL": "error",
        }

    @contextmanager
    def services(self) -> Iterator[None]:
        """Runs policy and agent."""
        processes = [
            subprocess.Popen(self._command("serve", name), env=self._environment) for name in self._addresses
        ]
        try:
            for name, address in self._addresses.items():
                _wait_until_serving(name, address)
            yield
            assert [process.poll() for process in processes] == [None] * len(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def memorize_diary(self) -> None:
        """Memorizes the diary part by part, and its first part once more."""
        for part in range(PARTS):
            self._memorize(part)
        assert self._memorize(0)["already_stored"] == DAYS

    def _memorize(self, part: int) -> dict[str, object]:
        file = self._folder / f"diary-{part}.json"
        file.write_text(json.dumps(diary(part)))
        command = self._command("memorize", str(file), "--bank", BANK, "--retry-for", "60", "--json")
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        found = tuple(report[key] for key in ("chunks", "memorized", "pending_chunks", "parked"))
        assert found == (DAYS, DAYS, 0, False), report
        return report

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "memalpha", *arguments]


def _wait_until_serving(name: Name, address: str) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while not _serves(name, address):
        assert time.monotonic() < give_up, f"{name} does not serve at {address} after {READY_SECONDS} s"
        time.sleep(0.05)


def _serves(name: Name, address: str) -> bool:
    try:
        return asyncio.run(check(name, address)) == "serving"
    except MemalphaError:
        return False
