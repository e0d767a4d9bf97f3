"""The three services as processes of their own, on free ports, for the clients to talk to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services listen."""

    memory: str
    agent: str


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Starts what `memalpha up` starts and stops it as Ctrl-C does."""
    folder = tmp_path_factory.mktemp("services")
    ports = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:0" for name in ("MEMORY", "AGENT", "POLICY")}
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "memalpha", "--json", "up", "--data", str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, **ports},
            cwd=folder,
            text=True,
        )
        with process:
            yield _addresses(process, Path(output.name))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0, Path(output.name).read_text()


def _addresses(process: subprocess.Popen[str], output: Path) -> Addresses:
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready, output.read_text()
    running = json.loads(ready)["services"]
    return Addresses(memory=running["memory"]["address"], agent=running["agent"]["address"])
