"""How a request gets to a service: over a gRPC channel, or straight into a store in this process.

Both doors take and give the same protobuf messages and raise the same exceptions, so that everything above is
written once. A gRPC door bounds its calls in flight, gives every call a deadline, and repeats one that found
the service unreachable if a repetition changes nothing; the in-process door needs none of these.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

import memcore
from memalpha.errors import OutOfRangeError, from_rpc_error, make

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# Above some thousand calls in flight, grpc.aio cancels a part of them.
MAX_IN_FLIGHT = 256
# Other writes carry an id by which a repetition is recognised. A completion costs too much to repeat, and
# health is about now.
_NEVER_REPEATED = [
    {"service": "memalpha.api.memory.v1alpha1.MemoryService", "method": "DeleteBank"},
    {"service": "memalpha.api.memory.v1alpha1.MemoryService", "method": "ReportChunkFailure"},
    {"service": "memalpha.api.memory.v1alpha1.MemoryService", "method": "ResolveParkedChunk"},
    {"service": "memalpha.api.agent.v1alpha1.AgentService", "method": "Consolidate"},
    {"service": "memalpha.api.policy.v1alpha1.PolicyService", "method": "Generate"},
    {"service": "grpc.health.v1.Health"},
]


@dataclass(frozen=True)
class Method(Generic[Q, R]):
    """One RPC: the full name of its service, its own name, and the class of its replies."""

    service: str
    name: str
    reply: type[R]

    @property
    def path(self) -> str:
        """The name on the wire."""
        return f"/{self.service}/{self.name}"


class Transport(Protocol):
    """What a synchronous client sends its requests through."""

    def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """Sends one request and waits for its reply, at most `timeout` seconds.

        Raises:
            MemalphaError: What the service answered, or UnavailableError.
        """
        ...

    def close(self) -> None:
        """Ends all calls and gives everything back."""
        ...


class AsyncTransport(Protocol):
    """What an asynchronous client sends its requests through."""

    async def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """As `Transport.call`."""
        ...

    async def close(self) -> None:
        """As `Transport.close`."""
        ...


class GrpcTransport:
    """One channel to a service; safe to use from many threads."""

    def __init__(self, address: str) -> None:
        """Connects to `host:port` with the first call."""
        self._address = address
        self._channel = grpc.insecure_channel(address, options=_channel_options())
        self._slots = threading.BoundedSemaphore(MAX_IN_FLIGHT)

    def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `Transport.call`."""
        send = self._channel.unary_unary(
            method.path, type(request).SerializeToString, method.reply.FromString
        )
        _check_size(request)
        with self._slots:
            try:
                return send(request, timeout=timeout)
            except grpc.RpcError as error:
                raise from_rpc_error(error, self._address) from None

    def stream(self, method: Method[Q, R], request: Q, *, timeout: float) -> Iterator[R]:
        """Sends one request and yields the replies as they come; `timeout` bounds them all together."""
        send = self._channel.unary_stream(
            method.path, type(request).SerializeToString, method.reply.FromString
        )
        _check_size(request)
        with self._slots:
            replies = send(request, timeout=timeout)
            try:
                yield from replies
            except grpc.RpcError as error:
                raise from_rpc_error(error, self._address) from None
            finally:
                replies.cancel()

    def close(self) -> None:
        """See `Transport.close`."""
        self._channel.close()


class AsyncGrpcTransport:
    """One channel to a service, for the event loop that makes the first call."""

    def __init__(self, address: str) -> None:
        """Connects to `host:port` with the first call."""
        self._address = address
        self._options = _channel_options()
        self._opened: grpc.aio.Channel | None = None
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)

    @property
    def _channel(self) -> grpc.aio.Channel:
        # A grpc.aio channel belongs to the loop that runs when it is made, so it is made at the first call.
        if self._opened is None:
            self._opened = grpc.aio.insecure_channel(self._address, options=self._options)
        return self._opened

    async def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `Transport.call`."""
        send = self._channel.unary_unary(
            method.path, type(request).SerializeToString, method.reply.FromString
        )
        _check_size(request)
        async with self._slots:
            try:
                return await send(request, timeout=timeout)
            except grpc.RpcError as error:
                raise from_rpc_error(error, self._address) from None

    async def stream(self, method: Method[Q, R], request: Q, *, timeout: float) -> AsyncIterator[R]:
        """As `GrpcTransport.stream`."""
        send = self._channel.unary_stream(
            method.path, type(request).SerializeToString, method.reply.FromString
        )
        _check_size(request)
        async with self._slots:
            replies = send(request, timeout=timeout)
            try:
                async for reply in replies:
                    yield reply
            except grpc.RpcError as error:
                raise from_rpc_error(error, self._address) from None
            finally:
                replies.cancel()

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._opened is not None:
            await self._opened.close()


class EmbeddedTransport:
    """The memory service's methods on a store in this process. The store stays open when this is closed."""

    def __init__(self, store: memcore.Store) -> None:
        """Uses an open store, in memory or on disk."""
        self._store = store

    def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `Transport.call`; a store always answers, so `timeout` has no use here."""
        return method.reply.FromString(self._store.call(method.name, request.SerializeToString()))

    def close(self) -> None:
        """Nothing: the store belongs to the caller."""


class AsyncEmbeddedTransport:
    """As `EmbeddedTransport`, on worker threads, so that the event loop never waits for a disk."""

    def __init__(self, store: memcore.Store) -> None:
        """Uses an open store, in memory or on disk."""
        self._transport = EmbeddedTransport(store)

    async def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `EmbeddedTransport.call`."""
        return await asyncio.to_thread(self._transport.call, method, request, timeout=timeout)

    async def close(self) -> None:
        """Nothing: the store belongs to the caller."""


def _check_size(request: Message) -> None:
    size = request.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        message = f"request of {size} bytes; at most {MAX_MESSAGE_BYTES} go in one call: send it in parts"
        raise make(OutOfRangeError, "MESSAGE_TOO_LARGE", message, size=size, limit=MAX_MESSAGE_BYTES)


def _channel_options() -> list[tuple[str, Any]]:
    retry = {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    service_config = {"methodConfig": [{"name": [{}], "retryPolicy": retry}, {"name": _NEVER_REPEATED}]}
    return [
        ("grpc.service_config", json.dumps(service_config)),
        # A call larger than this buffer would not be repeated.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES + 1024),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 15_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", 0),
        # Clients of one process share no connection, so that closing or blocking one leaves the others alone.
        ("grpc.use_local_subchannel_pool", 1),
    ]
