"""The life of a service process that is written in Python.

A process binds its port, says SERVING, and works until it is told to stop or its background work ends. To
stop is: NOT_SERVING first, then no new calls, then a bounded time for those in flight, then exit 0. A second
signal ends the process at once. Whatever goes wrong inside a call leaves it as a status with an ErrorInfo;
tracebacks stay in the log.
"""

import asyncio
import errno
import ipaddress
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from memalpha.config import split_address
from memalpha.errors import (
    BusyError,
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    abort,
    make,
)
from memalpha.telemetry import get_logger
from memalpha.transport import MAX_MESSAGE_BYTES

MAX_CALLS = 256
_LOOK_SECONDS = 0.2
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)
_log = get_logger(__name__)


@dataclass(slots=True)
class Gate:
    """Counts the calls that a service works on, and refuses those beyond its limit."""

    limit: int = MAX_CALLS
    inside: int = 0


class Answer:
    """Stands around the work of one call, and ends it with a status if the work raises.

    `async with Answer(gate, context): ...`; an exception that is no `MemalphaError` is logged with its
    traceback under an id, and the caller gets the id.
    """

    def __init__(self, gate: Gate, context: grpc.aio.ServicerContext) -> None:
        """For one call; it holds a place in `gate` until it is over."""
        self._gate = gate
        self._context = context

    async def __aenter__(self) -> Self:
        if self._gate.inside >= self._gate.limit:
            message = f"calls in work: at most {self._gate.limit} at once; try again"
            await abort(self._context, make(BusyError, "OVERLOADED", message, limit=self._gate.limit))
        self._gate.inside += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.inside -= 1
        if isinstance(error, MemalphaError):
            await abort(self._context, error)
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            await abort(self._context, _unexpected(error))


def _unexpected(error: Exception) -> InternalError:
    request_id = uuid.uuid4().hex
    _log.error("call failed", request_id=request_id, exc_info=error)
    message = f"the service failed on this call; its log tells more under request_id {request_id}"
    return make(InternalError, "INTERNAL", message, request_id=request_id)


async def serve(
    address: str,
    service: str,
    add: Callable[[grpc.aio.Server], None],
    *,
    grace_seconds: float,
    background: Callable[[asyncio.Event], Awaitable[None]] | None = None,
    serving: Callable[[], bool] | None = None,
) -> int:
    """Serves until SIGTERM, SIGINT or the end of `background`.

    Args:
        address: Where to listen: loopback host and port; port 0 picks a free one, which the log names.
        service: Full name of the service, for health checks.
        add: Adds the servicer to the server.
        grace_seconds: Time for calls in flight when stopping.
        background: Work beside the calls; it gets the event that asks it to end. If it ends before that, the
            process stops.
        serving: Asked often; while it says no, health checks say NOT_SERVING.

    Returns:
        Exit status: 0, or 1 if the background work ended by itself.

    Raises:
        InvalidInputError: NON_LOOPBACK_ADDRESS.
        ConflictError: ADDRESS_IN_USE.
    """
    check_address(address)
    server = grpc.aio.server(options=_OPTIONS)
    checks = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    add(server)
    port = server.add_insecure_port(address)
    await server.start()
    await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    _log.info("serving", service=_short(service), address=f"{address.rpartition(':')[0]}:{port}")
    stop = _stop_signal()
    work = asyncio.ensure_future((background or _nothing)(stop))
    watch = asyncio.ensure_future(_told(checks, service, serving)) if serving else None
    status = await _until_stopped(stop, work)
    if watch is not None:
        watch.cancel()
    _log.info("stopping", service=_short(service), grace_seconds=grace_seconds)
    await checks.enter_graceful_shutdown()
    await asyncio.gather(server.stop(grace_seconds), _ended(work, grace_seconds))
    return status


def _short(service: str) -> str:
    return service.rpartition(".")[2]


async def _told(checks: Any, service: str, serving: Callable[[], bool]) -> None:
    """Keeps health checks at what the work says of itself."""
    statuses = health_pb2.HealthCheckResponse
    said = True
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if serving() != said:
            said = not said
            _log.info("health changed", service=_short(service), serving=said)
            await checks.set(service, statuses.SERVING if said else statuses.NOT_SERVING)


async def _nothing(stop: asyncio.Event) -> None:
    await stop.wait()


async def _until_stopped(stop: asyncio.Event, work: asyncio.Future[None]) -> int:
    """Waits for the first of both; 1 if it was the work."""
    asked = asyncio.ensure_future(stop.wait())
    await asyncio.wait({asked, work}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        return 0
    asked.cancel()
    _log.error("background work ended by itself", exc_info=work.exception())
    return 1


async def _ended(work: asyncio.Future[None], seconds: float) -> None:
    """Waits for work that was asked to end, and cancels it when its time is over."""
    await asyncio.wait({work}, timeout=seconds)
    if work.cancel():
        _log.warning("background work was cut off", after_seconds=seconds)
    await asyncio.wait({work})


def check_address(address: str) -> None:
    """Refuses an address that other machines could reach, or that cannot be listened on.

    Raises:
        InvalidInputError: NON_LOOPBACK_ADDRESS or ADDRESS_NOT_USABLE.
        ConflictError: ADDRESS_IN_USE.
    """
    host, port = split_address(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, place in places:
            if not ipaddress.ip_address(place[0]).is_loopback:
                rule = "must be a loopback address such as 127.0.0.1, as there is no authentication"
                raise make(
                    InvalidInputError, "NON_LOOPBACK_ADDRESS", f"address {address}: {rule}", address=address
                )
            _try_to_bind(socket.socket(family, kind, protocol), place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"address {address}: another process listens on this port"
            raise make(ConflictError, "ADDRESS_IN_USE", message, address=address) from None
        message = f"address {address}: {error.strerror}"
        raise make(InvalidInputError, "ADDRESS_NOT_USABLE", message, address=address) from None


def _try_to_bind(listener: socket.socket, place: tuple[object, ...]) -> None:
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)


def _stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; the next one ends the process as if unhandled."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    return stop
