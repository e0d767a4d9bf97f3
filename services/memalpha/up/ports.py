"""Who listens on a TCP port of this machine, as far as Linux tells; elsewhere nobody is ever found."""

import errno
import os
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"
_OWN = range(20_000, 32_000)
"""Ports that Linux gives to nobody who asks for any: neither to listeners nor to outgoing connections."""
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that listens."""

    pid: int
    command: str


def free_port(host: str) -> int:
    """A port of this machine that nobody listens on now, and that hardly anybody takes until it is used.

    Raises:
        OSError: The host is none of this machine.
    """
    # Drawn anew by each process: those that start at once find others.
    for port in random.SystemRandom().sample(_OWN, _TRIES):
        try:
            return _bound(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _bound(host, 0)


def owner(port: int) -> Owner | None:
    """The process that listens on a port, or None if there is none or it belongs to somebody else."""
    sockets = _listening_sockets(port)
    return next((Owner(pid, _command(pid)) for pid in _pids() if sockets & _sockets(pid)), None)


def _bound(host: str, port: int) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, port))
        return listener.getsockname()[1]


def _listening_sockets(port: int) -> set[str]:
    """The listening sockets of a port, in the form in which a process's open files name them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in _lines(_PROC / "net" / table)[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()] if _PROC.is_dir() else []


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # another user's process, or one that has just ended
        for entry in os.scandir(_PROC / str(pid) / "fd"):
            with suppress(OSError):  # closed meanwhile
                found.add(os.readlink(entry.path))
    return found


def _command(pid: int) -> str:
    return " ".join(_lines(_PROC / str(pid) / "cmdline"))[:200].replace("\0", " ").strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
