"""The command line as a process: signals, pipes, colours, and services that come and go."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memalpha.agent.chunking import pack
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank
from memalpha.client import MemoryClient
from memalpha.errors import MemalphaError, UnavailableError
from memalpha.sources import read
from memalpha.up.ports import free_port

PATIENCE_SECONDS = 30


def free_address() -> str:
    return f"127.0.0.1:{free_port('127.0.0.1')}"


class Machine:
    """Processes of one store, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("MEMORY", "POLICY", "AGENT")
        self.addresses = {f"MEMALPHA_{name}_ADDRESS": free_address() for name in names}
        self.environment = {
            **os.environ,
            **self.addresses,
            "MEMALPHA_DATA_DIR": str(folder / "data"),
            "MEMALPHA_CHUNK_TOKENS": "32",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "memalpha", *args],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def serve(self, name: str) -> subprocess.Popen[str]:
        """A service whose output nobody reads."""
        process = subprocess.Popen(
            [sys.executable, "-m", "memalpha", "serve", name],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def answers(self) -> bool:
        with MemoryClient.connect(self.addresses["MEMALPHA_MEMORY_ADDRESS"]) as memory:
            try:
                return list(memory.banks()) == []
            except UnavailableError:
                return False

    def bank(self, bank_id: str) -> Bank | None:
        with MemoryClient.connect(self.addresses["MEMALPHA_MEMORY_ADDRESS"]) as memory:
            try:
                return memory.get_bank(bank_id)
            except MemalphaError:
                return None

    def facts(self, count: int) -> str:
        """A file whose paragraphs are a chunk each: two do not fit into 32 tokens."""
        text = "\n\n".join(
            f"Fact number {n}: Ada keeps her {n} red marbles in the jar on shelf {n}." for n in range(count)
        )
        (self.folder / "facts.txt").write_text(text)
        return str(self.folder / "facts.txt")


def eventually(is_so: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for process in machine.processes:
        process.kill()
        process.communicate()


def test_a_memory_that_dies_and_comes_back_loses_and_doubles_nothing(machine) -> None:
    chunks = list(pack(read(machine.facts(400)), max_tokens=32))
    assert len(chunks) == 400
    memory, _, _ = (machine.serve(name) for name in ("memory", "policy", "agent"))
    run = machine.start(
        "memorize", machine.facts(400), "--bank", "k", "--json", "--retry-for", str(PATIENCE_SECONDS)
    )
    eventually(lambda: (bank := machine.bank("k")) and bank.stats.chunk_count >= 200)
    memory.send_signal(signal.SIGKILL)
    memory.wait()
    assert run.poll() is None
    machine.serve("memory")
    stdout, stderr = run.communicate(timeout=PATIENCE_SECONDS * 2)
    assert run.returncode == 0, stderr
    done = json.loads(stdout)
    assert (done["chunks"], done["stored"], done["memorized"], done["pending_chunks"]) == (400, 400, 400, 0)
    with MemoryClient.connect(machine.addresses["MEMALPHA_MEMORY_ADDRESS"]) as client:
        assert [chunk.chunk_id for chunk in client.chunks("k")] == [chunk.chunk_id for chunk in chunks]


def test_an_interrupted_wait_ends_without_a_traceback_and_keeps_what_is_stored(machine) -> None:
    machine.serve("memory")
    run = machine.start("memorize", machine.facts(3), "--bank", "k")
    eventually(lambda: (bank := machine.bank("k")) and bank.stats.pending_chunks == 3)
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, stdout) == (130, "")
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    bank = machine.bank("k")
    assert bank is not None
    assert bank.stats.pending_chunks == 3


def test_waiting_for_services_that_stay_away_ends_with_code_3(machine) -> None:
    machine.serve("memory")
    eventually(machine.answers)
    run = machine.start("memorize", machine.facts(3), "--bank", "k", "--retry-for", "1")
    _, stderr = run.communicate(timeout=PATIENCE_SECONDS * 2)
    assert run.returncode == 3
    assert "is unreachable; what is stored stays stored, and pending until it serves" in stderr


def test_a_store_that_a_service_holds_is_refused_with_its_process(machine) -> None:
    memory = machine.serve("memory")
    run = machine.start("memorize", machine.facts(1), "--bank", "k", "--no-wait", "--retry-for", "20")
    assert run.wait(PATIENCE_SECONDS) == 0
    run = machine.start("banks", "--embedded", machine.environment["MEMALPHA_DATA_DIR"])
    _, stderr = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 1
    assert str(memory.pid) in stderr
    assert machine.addresses["MEMALPHA_MEMORY_ADDRESS"] in stderr


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> list[str]:
    """Options of a store that holds many memories."""
    machine = Machine(tmp_path_factory.mktemp("stored"))
    options = ["--bank", "k", "--embedded", str(machine.folder / "store")]
    run = machine.start("memorize", machine.facts(300), *options)
    _, stderr = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, stderr
    return options


def test_a_reader_that_goes_away_is_no_news(machine, stored) -> None:
    run = machine.start("history", *stored)
    assert run.stdout is not None
    run.stdout.close()
    assert run.stderr is not None
    stderr = run.stderr.read()
    assert (run.wait(PATIENCE_SECONDS), stderr) == (1, "")


def test_output_that_cannot_be_written_is_an_error(machine, stored) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "memalpha", "show", *stored, "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=machine.environment,
            text=True,
            check=False,
        )
    assert (run.returncode, run.stderr) == (
        1,
        "error: cannot write the output: No space left on device\n",
    )


def test_colours_are_printed_unless_the_environment_forbids_it(machine, stored) -> None:
    red, plain = (
        machine.start("history", *stored, FORCE_COLOR="1", **environment).communicate()[0]
        for environment in ({}, {"NO_COLOR": "1"})
    )
    green = "\x1b[32m"
    assert green in red
    assert green not in plain
