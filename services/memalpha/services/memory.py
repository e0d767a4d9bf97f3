"""The memory service: a store on disk behind memcore's own gRPC server.

Python only opens, watches and closes; no call ever runs through it. A first SIGTERM or SIGINT asks the server
to drain, after which the store is closed and the process exits with 0; a second one ends it at once, which
costs nothing that was acknowledged.
"""

import signal
import threading
from pathlib import Path
from types import FrameType

import memcore
from memalpha.telemetry import get_logger

_POLL_SECONDS = 0.1
_log = get_logger(__name__)


def run(data_dir: Path, address: str, grace_seconds: float) -> int:
    """Serves the store in `data_dir` until it is told to stop; returns the exit status.

    Raises:
        ConflictError: STORE_LOCKED if another process holds the folder, ADDRESS_IN_USE.
        MemalphaError: The store cannot be opened, or the address not be served.
    """
    stop = _stop_signal()
    with memcore.Store.open(data_dir, note=address) as store:
        server = memcore.serve(store, address)
        _log.info("serving", service="memory", address=server.address, data_dir=str(data_dir))
        while not stop.is_set():
            if server.wait(_POLL_SECONDS):
                _log.error("server ended by itself", service="memory")
                return 1
        _log.info("stopping", service="memory", grace_seconds=grace_seconds)
        server.stop(grace_seconds)
        while not server.wait(_POLL_SECONDS):
            pass
    return 0


def _stop_signal() -> threading.Event:
    """An event that SIGTERM or SIGINT sets; the next one ends the process as if unhandled."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    return stop
