"""Services as processes of their own, for as long as they are needed: as they are deployed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent_bench import stub
from agent_bench.workload import Size, Workload
from memalpha.client import AsyncPolicyClient
from memalpha.client.health import Name, check
from memalpha.config import Settings
from memalpha.errors import MemalphaError, UnavailableError, make
from memalpha.services.launched import VARIABLE
from memalpha.up.ports import free_port

_HOST = "127.0.0.1"
_READY_SECONDS = 300.0
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_LAST_BYTES = 2000


@asynccontextmanager
async def memory_service(folder: Path) -> AsyncIterator[str]:
    """The address of a memory service on a folder that is made."""
    address = _address()
    settings = Settings.model_validate({"memory_address": address, "data_dir": folder, "log_format": "json"})
    async with _child("memory", _serve("memory"), settings.environment(), address, folder.parent):
        yield address


@asynccontextmanager
async def policy_service(
    engine: str, wire_format: str, policy: Mapping[str, Any], folder: Path
) -> AsyncIterator[AsyncPolicyClient]:
    """A client of a policy service.

    Args:
        engine: Behind it.
        wire_format: That it writes.
        policy: Its settings.
        folder: Where its log goes.
    """
    address = _address()
    settings = Settings.model_validate(
        {
            "policy_engine": engine,
            "policy": policy,
            "policy_address": address,
            "wire_format": wire_format,
            "log_format": "json",
        }
    )
    async with (
        _child("policy", _serve("policy"), settings.environment(), address, folder),
        AsyncPolicyClient.connect(address) as client,
    ):
        yield client


@asynccontextmanager
async def stub_service(workload: Workload, rows: int, folder: Path) -> AsyncIterator[AsyncPolicyClient]:
    """A client of a policy service over the stub."""
    address = _address()
    told = json.dumps({"workload": asdict(workload), "rows": rows, "address": address})
    command = [sys.executable, sys.argv[0], "--stub", told]
    async with (
        _child("policy", command, {}, address, folder),
        AsyncPolicyClient.connect(address) as client,
    ):
        yield client


def be_stub(told: str) -> int:
    """What the process of `stub_service` does; returns its exit status."""
    raw = json.loads(told)
    size = raw["workload"].pop("size")
    size["chunks"] = tuple(size["chunks"])
    return stub.serve(Workload(Size(**size), **raw["workload"]), raw["rows"], raw["address"])


def _serve(name: str) -> list[str]:
    return [sys.executable, "-P", "-m", "memalpha", "serve", name]


def _address() -> str:
    return f"{_HOST}:{free_port(_HOST)}"


@asynccontextmanager
async def _child(
    name: Name, command: Sequence[str], environment: Mapping[str, str], address: str, folder: Path
) -> AsyncIterator[None]:
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closes when this process is gone, and services follow
            stdout=out,
            stderr=out,
            env={**os.environ, **environment, VARIABLE: "1"},
        )
    try:
        await _ready(process, name, address, log)
        yield
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _ready(process: subprocess.Popen[bytes], name: Name, address: str, log: Path) -> None:
    """Waits until the service says that it serves.

    Raises:
        UnavailableError: SERVICE_NOT_READY, with the last lines of its log.
    """
    give_up = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if await check(name, address) == "serving":
                return
        except MemalphaError:
            pass
        await asyncio.sleep(_POLL_SECONDS)
    lines = log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
    message = f"the {name} service did not start; its log {log} ends with\n{lines}"
    raise make(UnavailableError, "SERVICE_NOT_READY", message, log=log)
