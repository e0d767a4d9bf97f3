"""The policy service of a run: one that is started and ends with the run, or one that runs already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.client import PolicyClient
from memalpha.config import Settings
from memalpha.errors import InternalError, MemalphaError, UnavailableError, make
from memalpha.services.launched import VARIABLE
from memalpha.up.ports import free_port
from memalpha_trainer.config import Config

_HOST = "127.0.0.1"
_READY_SECONDS = 600.0
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_LAST_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Service:
    """A policy service at `host:port`; one that was started has a process and a log."""

    address: str
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    def require_alive(self) -> None:
        """For who finds it unavailable: one that was started and has ended comes back by nobody.

        Raises:
            InternalError: POLICY_DIED, with the last lines of its log.
        """
        if self.process is None or self.log is None or self.process.poll() is None:
            return
        message = (
            f"the policy service of the run has ended with status {self.process.returncode}; its log"
            f" {self.log} ends with\n{_last_lines(self.log)}"
        )
        raise make(InternalError, "POLICY_DIED", message, log=self.log)


@contextmanager
def served(config: Config, model: Path, weights: Path, log: Path) -> Iterator[Service]:
    """A policy service for a run, for as long as it is open.

    Args:
        config: Names a running service, or how to start one.
        model: Checkpoint that a started service serves first.
        weights: Folder below which it may load others.
        log: Where a started service writes its log.

    Raises:
        UnavailableError: POLICY_NOT_READY, with the last lines of the log.
    """
    if config.policy.address:
        yield Service(config.policy.address)
        return
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    process = _start(settings_of(config, model, weights, address), log)
    try:
        _wait(process, address, log)
        yield Service(address, process, log)
    finally:
        stop(process)


def with_own_service(config: Config) -> Config:
    """The configuration with a service that is started, in the place of one that runs already."""
    return config.model_copy(update={"policy": config.policy.model_copy(update={"address": ""})})


def settings_of(config: Config, model: Path, weights: Path, address: str) -> Settings:
    """Settings of a service that writes for a run at an address; arguments as of `served`."""
    return Settings.model_validate(decided(config, model, weights, address))


def decided(config: Config, model: Path, weights: Path, address: str) -> dict[str, Any]:
    """Those of its settings that the run decides; the rest is this process's, such as the device."""
    policy = {
        "model": str(model.resolve()),
        "weights_root": weights.resolve(),
        "threads": max(1, config.policy.threads),
        "rows": _rows(config),
        "batch_invariant": _is_batch_invariant(config),
        "waiting": 65536,
        # What a chunk's completion comes to is read at its end.
        "stream": False,
        "max_tokens": config.agent.max_new_tokens,
        "dtype": config.optim.dtype,
    }
    return {
        "policy_engine": config.policy.engine,
        "policy": policy,
        "policy_address": address,
        "wire_format": config.agent.wire_format,
        "log_format": "json",
    }


def _rows(config: Config) -> int:
    """Rows that stand empty are computed too where results must not depend on them."""
    most = config.rollouts.groups * config.rollouts.group_size
    return min(config.policy.rows, most) if _is_batch_invariant(config) else config.policy.rows


def _is_batch_invariant(config: Config) -> bool:
    return config.policy.batch_invariant and config.policy.engine == "transformers"


def _start(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **settings.environment(), VARIABLE: "1"}
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "memalpha", "serve", "policy"],
            stdin=subprocess.PIPE,  # closes when this process is gone, and the service follows
            stdout=out,
            stderr=out,
            env=environment,
            process_group=0,
        )


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if _answers(address):
            return
        time.sleep(_POLL_SECONDS)
    message = f"the policy service did not start; its log {log} ends with\n{_last_lines(log)}"
    raise make(UnavailableError, "POLICY_NOT_READY", message, log=log)


def _last_lines(log: Path) -> str:
    return log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")


def _answers(address: str) -> bool:
    try:
        with PolicyClient.connect(address) as client:
            client.describe()
    except MemalphaError:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a service that was started, in good order if it comes to it in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
