"""memalpha as its users have it: commands in a terminal, services in the background, files on a disk.

Tests that use this know nothing but the public doors, so that what they assert is what a user sees. Every
`Product` has a folder, ports and settings of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import memcore
from memalpha.client import AgentClient, MemoryClient
from memalpha.transport import EmbeddedTransport, GrpcTransport, Transport

CONVERSATION = Path(__file__).parents[1] / "examples" / "demo" / "conversation.json"
MEMALPHA = (sys.executable, "-P", "-m", "memalpha")
BANK_ID_RULE = (
    "bank_id must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -, the first a letter or digit, got"
)
PATIENCE_SECONDS = 60
_NAMES = ("memory", "policy", "agent")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def message(self) -> str:
        """What is on standard error, without the frame that usage errors stand in, on one line."""
        return " ".join(self.err.replace("│", " ").split())


@dataclass(frozen=True, slots=True)
class Product:
    """A place to run commands in: on `folder/store`, or on services where `addresses` say where they are."""

    folder: Path
    addresses: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def environment(self) -> dict[str, str]:
        addresses = {f"{name}_address": self.addresses.get(name, "127.0.0.1:0") for name in _NAMES}
        settings = {**addresses, "data_dir": str(self.store), **self.settings}
        return {**os.environ, **{f"MEMALPHA_{name.upper()}": value for name, value in settings.items()}}

    def start(self, *args: str | bytes) -> subprocess.Popen[str]:
        """Begins a command."""
        where = [] if self.addresses else ["--embedded", str(self.store)]
        return subprocess.Popen(
            [*MEMALPHA, *where, *args],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str | bytes) -> Done:
        """Runs a command to its end; a traceback is never one."""
        with self.start(*args) as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS * 2)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def ok(self, *args: str | bytes) -> Done:
        """Runs a command that has to succeed."""
        done = self.run(*args)
        assert done.code == 0, done.err
        return done

    def refusal(self, *args: str | bytes, code: int) -> str:
        """Runs a command that has to fail with this exit code and print no result; returns its message."""
        done = self.run(*args)
        assert (done.code, done.out) == (code, ""), done.message
        return done.message

    @contextmanager
    def transport(self) -> Iterator[Transport]:
        """The way to the memory: to the service, or into the store, which no command may have open now."""
        if self.addresses:
            with closing(GrpcTransport(self.addresses["memory"])) as transport:
                yield transport
        else:
            with memcore.Store.open(self.store) as store:
                yield EmbeddedTransport(store)

    @contextmanager
    def memory(self) -> Iterator[MemoryClient]:
        """A client of the memory, by the same way."""
        with self.transport() as transport:
            yield MemoryClient(transport)

    def agent(self) -> AgentClient:
        """A client of the agent service."""
        return AgentClient.connect(self.addresses["agent"])

    def contents(self, bank_id: str) -> list[bytes]:
        """All that a bank holds, to compare with what it held before."""
        with self.memory() as memory:
            held = [memory.get_bank(bank_id), *memory.chunks(bank_id), *memory.memories(bank_id)]
            held += memory.events(bank_id)
        return [message.SerializeToString(deterministic=True) for message in held]

    def write(self, name: str, content: str | bytes) -> str:
        """Makes a file beside the store; returns its name, which commands find."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)
        return name


class Services:
    """What `memalpha up` runs, and the product that uses it."""

    def __init__(self, product: Product, *args: str) -> None:
        """Starts them and waits until they are ready; `with` stops them as Ctrl-C does."""
        self._log = (product.folder / "services.log").open("a+")
        self.launcher = subprocess.Popen(
            [*MEMALPHA, "--json", "up", *args],
            cwd=product.folder,
            env=product.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.launcher.stdout is not None
        ready = self.launcher.stdout.readline()
        assert ready, self.log
        found = json.loads(ready)["services"]
        self.pids: dict[str, int] = {name: service["pid"] for name, service in found.items()}
        addresses = {name: service["address"] for name, service in found.items()}
        self.product = Product(product.folder, {**product.addresses, **addresses}, product.settings)

    @property
    def log(self) -> str:
        """What they have printed so far."""
        return Path(self._log.name).read_text()

    def kill(self) -> None:
        """Ends all of them at once, as a loss of power does."""
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        self._close()

    def stop(self) -> None:
        """Ends them as Ctrl-C does; they must agree that this is no failure."""
        self.launcher.send_signal(signal.SIGINT)
        code = self._close()
        assert code == 0, self.log

    def _close(self) -> int:
        with self.launcher:
            code = self.launcher.wait(PATIENCE_SECONDS)
        self._log.close()
        return code

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.launcher.returncode is None:
            self.stop()


def eventually(is_so: Callable[[], object]) -> None:
    """Waits until something is so."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)
