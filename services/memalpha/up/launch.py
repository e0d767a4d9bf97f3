"""The services as one thing that starts, runs and stops.

Ports, the engine's libraries, and what the model's checkpoint says, are looked at before anything starts.
Services start in order of dependency, memory and policy before the agent, and count as ready when each says
so over `grpc.health.v1`. From then on they live and die together: a signal stops all of them cleanly, a
second one at once, and one that ends by itself takes the rest down.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from memalpha.client.health import Name, check
from memalpha.config import Settings, split_address
from memalpha.errors import ConflictError, InvalidInputError, MemalphaError, UnavailableError, make
from memalpha.policy.local import libraries
from memalpha.services.serving import check_address
from memalpha.up.child import Child, open_log
from memalpha.up.fit import fitted
from memalpha.up.ports import free_port, owner
from memalpha.up.screen import Screen

_STAGES: tuple[tuple[Name, ...], ...] = (("memory", "policy"), ("agent",))
_NAMES: tuple[Name, ...] = tuple(name for stage in _STAGES for name in stage)
# One that ends is noticed at once; this is for one that hangs, on a machine that may be busy.
_READY_SECONDS = 120.0
# A model has to be read first, and its library takes its time as well.
_MODEL_READY_SECONDS = 600.0
_POLL_SECONDS = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(settings: Settings, *, only: Sequence[str] = (), json_output: bool = False) -> int:
    """Runs services until a signal comes or one of them ends.

    Args:
        settings: For all services; a port 0 is replaced by a free one.
        only: Names of the services to run; empty means all.
        json_output: Prints one JSON line on stdout when ready, and nothing else there.

    Returns:
        Exit status: 0 after a clean stop, 1 if a service ended by itself, 130 if a second signal killed them.

    Raises:
        InvalidInputError: UNKNOWN_SERVICE, DATA_DIR_NOT_USABLE, NON_LOOPBACK_ADDRESS or ADDRESS_NOT_USABLE.
        InvalidInputError: ENGINE_NOT_INSTALLED.
        InvalidInputError, UnsupportedError: What `fitted` says of the policy's model.
        ConflictError: ADDRESS_IN_USE; it names the process that has the port, if that can be found out.
        UnavailableError: SERVICE_NOT_READY.
    """
    names = _chosen(only)
    screen = Screen(json_output=json_output)
    if "policy" in names:
        settings, taken = fitted(settings, with_agent="agent" in names)
        libraries.check_installed(settings.policy_engine)
        screen.taken(settings.policy.model, taken)
    settings = _with_ports(settings, names)
    for name in names:
        _check_port(name, _address(settings, name))
    _make_log_dir(settings)
    return asyncio.run(_Launch(settings, names, screen).run())


class _Launch:
    """One run of the services."""

    def __init__(self, settings: Settings, names: Sequence[Name], screen: Screen) -> None:
        self._settings = settings
        self._names = names
        self._screen = screen
        self._children: dict[Name, Child] = {}
        self._over = asyncio.Event()
        self._dead: Child | None = None
        self._killed = False

    async def run(self) -> int:
        """Starts, waits for the end, stops."""
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            await self._ready_or_over()
            await self._over.wait()
        finally:
            self._over.set()
            await self._stop()
        if self._dead is not None:
            self._screen.died(self._dead)
            return 1
        return 130 if self._killed else 0

    async def _ready_or_over(self) -> None:
        begin = time.monotonic()
        starting = asyncio.create_task(self._start())
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if starting.done():
            starting.result()
            self._screen.ready(self._settings, self._children, time.monotonic() - begin)
        starting.cancel()
        await asyncio.wait({starting})

    async def _start(self) -> None:
        for stage in _STAGES:
            names: list[Name] = [name for name in stage if name in self._names]
            for name in names:
                await self._start_one(name)
            await asyncio.gather(*(self._ready(name) for name in names))

    async def _start_one(self, name: Name) -> None:
        environment = {**self._settings.environment(), "MEMALPHA_LOG_FORMAT": "json"}
        path = self._settings.data_dir / "logs" / f"{name}.log"
        try:
            log = open_log(path)
        except OSError as error:
            raise _not_usable(self._settings, path, error) from None
        self._children[name] = await Child.start(name, environment, log, self._screen.line)
        self._children[name].on_end(self._on_end)

    async def _ready(self, name: Name) -> None:
        """Waits until a service says that it serves."""
        with_model = name == "policy" and self._settings.policy_engine in ("transformers", "vllm")
        seconds = _MODEL_READY_SECONDS if with_model else _READY_SECONDS
        give_up = time.monotonic() + seconds
        address = _address(self._settings, name)
        while await _status(name, address) != "serving":
            if time.monotonic() > give_up:
                message = f"{name} at {address} is not ready after {seconds:g} s"
                raise make(UnavailableError, "SERVICE_NOT_READY", message, service=name, address=address)
            await asyncio.sleep(_POLL_SECONDS)

    async def _stop(self) -> None:
        """Stops the services, those that depend on others first."""
        seconds = self._settings.grace_seconds + 2
        for stage in reversed(_STAGES):
            await asyncio.gather(
                *(self._children[name].stop(seconds) for name in stage if name in self._children)
            )

    def _on_end(self, child: Child) -> None:
        if not self._over.is_set():
            self._dead = child
            self._over.set()

    def _on_signal(self) -> None:
        if not self._over.is_set():
            self._screen.note("stopping; once more to stop at once")
            self._over.set()
            return
        self._killed = True
        for child in self._children.values():
            child.kill()


async def _status(name: Name, address: str) -> str:
    try:
        return await check(name, address, seconds=1.0)
    except MemalphaError:
        return "unreachable"


def _chosen(only: Sequence[str]) -> list[Name]:
    for name in only:
        if name not in _NAMES:
            message = f"only: must be one of {', '.join(_NAMES)}; it is {name!r}"
            raise make(InvalidInputError, "UNKNOWN_SERVICE", message, only=name)
    return [name for name in _NAMES if not only or name in only]


def _address(settings: Settings, name: Name) -> str:
    return getattr(settings, f"{name}_address")


def _with_ports(settings: Settings, names: Sequence[Name]) -> Settings:
    """The settings with a free port for each service whose port is 0."""
    changes = {}
    for name in names:
        host, port = split_address(_address(settings, name))
        if port == 0:
            changes[f"{name}_address"] = f"{_address(settings, name).rpartition(':')[0]}:{free_port(host)}"
    return settings.replaced(**changes)


def _check_port(name: Name, address: str) -> None:
    try:
        check_address(address)
    except ConflictError as error:
        port = split_address(address)[1]
        found = owner(port)
        who = f"process {found.pid} ({found.command})" if found else "another process"
        message = f"{name}_address {address}: port {port} is in use by {who}"
        raise make(
            ConflictError, error.reason, message, address=address, pid=found.pid if found else ""
        ) from None


def _make_log_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _not_usable(settings, Path(error.filename), error) from None


def _not_usable(settings: Settings, path: Path, error: OSError) -> InvalidInputError:
    where = "" if path == settings.data_dir else f" ({path})"
    message = f"data_dir {settings.data_dir} must be a folder that can be written{where}: {error.strerror}"
    return make(InvalidInputError, "DATA_DIR_NOT_USABLE", message, data_dir=settings.data_dir)
