"""What all clients share: how they connect, how long they wait, and how they end."""

from typing import Generic, Self, TypeVar

from google.protobuf.message import Message

from memalpha.transport import AsyncTransport, Transport

T = TypeVar("T", bound=Transport)
A = TypeVar("A", bound=AsyncTransport)

_SECONDS = 5.0
_SECONDS_PER_MIB = 2.0


def deadline(request: Message) -> float:
    """Seconds that a service has for a request: 5, and 2 more for each MiB of it."""
    return _SECONDS + _SECONDS_PER_MIB * request.ByteSize() / 2**20


class Client(Generic[T]):
    """A client that blocks; safe to use from many threads."""

    def __init__(self, transport: T) -> None:
        """Sends through `transport`, and closes it at the end."""
        self._transport = transport

    def close(self) -> None:
        """Closes the transport."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(Generic[A]):
    """A client for one event loop."""

    def __init__(self, transport: A) -> None:
        """Sends through `transport`, and closes it at the end."""
        self._transport = transport

    async def close(self) -> None:
        """Closes the transport."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
