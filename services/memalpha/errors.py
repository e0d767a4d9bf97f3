"""One exception tree for everything that can fail, in process or over the network.

The tree is memcore's: a caller catches the same class whether the memory runs in its own process or behind
gRPC. Only `UnavailableError` is new, because only a network can be down; a store that is closing looks the
same from outside. Every error carries a coarse `kind` ("would the caller act differently?"), a stable
`reason` to switch on, and in `metadata` every variable that its message mentions. The way to a gRPC status
and back is written here and nowhere else.
"""

from typing import NoReturn, TypeVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from memcore import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    CorruptionError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    OutOfRangeError,
    UnsupportedError,
)
from memcore import MemcoreError as MemalphaError

__all__ = [
    "AlreadyExistsError",
    "BusyError",
    "ConflictError",
    "CorruptionError",
    "InternalError",
    "InvalidInputError",
    "MemalphaError",
    "NotFoundError",
    "OutOfRangeError",
    "UnavailableError",
    "UnsupportedError",
    "abort",
    "from_rpc_error",
    "make",
    "to_status",
]

DOMAIN = "memalpha"
# A status travels, escaped, in HTTP/2 headers, which peers commonly bound at 8 KiB in all.
_MAX_MESSAGE_BYTES = 1000
_MAX_METADATA_BYTES = 200

E = TypeVar("E", bound=MemalphaError)


class UnavailableError(MemalphaError):
    """A service cannot be reached, or did not answer before the deadline; the call may be repeated."""


_KINDS: dict[type[MemalphaError], tuple[str, grpc.StatusCode]] = {
    NotFoundError: ("not_found", grpc.StatusCode.NOT_FOUND),
    AlreadyExistsError: ("already_exists", grpc.StatusCode.ALREADY_EXISTS),
    InvalidInputError: ("invalid_input", grpc.StatusCode.INVALID_ARGUMENT),
    ConflictError: ("conflict", grpc.StatusCode.ABORTED),
    OutOfRangeError: ("out_of_range", grpc.StatusCode.OUT_OF_RANGE),
    UnsupportedError: ("unsupported", grpc.StatusCode.FAILED_PRECONDITION),
    BusyError: ("busy", grpc.StatusCode.RESOURCE_EXHAUSTED),
    CorruptionError: ("corruption", grpc.StatusCode.DATA_LOSS),
    InternalError: ("internal", grpc.StatusCode.INTERNAL),
    UnavailableError: ("unavailable", grpc.StatusCode.UNAVAILABLE),
}
_CLASSES: dict[grpc.StatusCode, type[MemalphaError]] = {code: kind for kind, (_, code) in _KINDS.items()} | {
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
}
_SILENCES = {
    grpc.StatusCode.UNAVAILABLE: "no service at",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time from",
}
# What gRPC libraries themselves answer to a message over the limit, each with its own words.
_SIZE_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE)


def make(kind: type[E], reason: str, message: str, **metadata: object) -> E:
    """Builds an error.

    Args:
        kind: One of the tree's classes.
        reason: Stable identifier in UPPER_SNAKE, such as `POLICY_TOO_OLD`.
        message: For people: the parameter, the rule and the value.
        metadata: Every variable that the message mentions; kept as text.
    """
    error = kind(message)
    error.kind = _KINDS[kind][0]
    error.reason = reason
    error.metadata = {key: str(value) for key, value in metadata.items()}
    return error


def to_status(error: MemalphaError) -> grpc.Status:
    """The gRPC status of an error: its code, its message and one `google.rpc.ErrorInfo`."""
    _, code = _KINDS.get(type(error), _KINDS[InternalError])
    if error.reason == grpc.StatusCode.UNIMPLEMENTED.name:
        code = grpc.StatusCode.UNIMPLEMENTED
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _shortened(value, _MAX_METADATA_BYTES)
    details = [_packed(info)]
    if isinstance(error, BusyError):
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1))))
    message = _shortened(str(error), _MAX_MESSAGE_BYTES)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=details))


async def abort(context: grpc.aio.ServicerContext, error: MemalphaError) -> NoReturn:
    """Ends the call with the error's status. Always raises."""
    await context.abort_with_status(to_status(error))
    raise AssertionError("abort_with_status returned")


def from_rpc_error(error: grpc.RpcError, address: str = "") -> MemalphaError:
    """The exception that a failed call stands for: the server's own if it sent an ErrorInfo, else by code.

    Args:
        error: What gRPC raised.
        address: Where the call went; named if nobody answered there.
    """
    code = error.code()
    message = error.details() or code.name
    info = _error_info(error)
    if info is not None:
        return make(_CLASSES.get(code, InternalError), info.reason, message, **info.metadata)
    if code in _SIZE_CODES and ("larger than max" in message or "length too large" in message):
        return make(OutOfRangeError, "MESSAGE_TOO_LARGE", f"message exceeds the limit of one call: {message}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return make(BusyError, "OVERLOADED", message)
    if code in _SILENCES:
        # gRPC strings its layers together; the last one is the cause.
        cause = message.rpartition(": ")[2]
        return make(UnavailableError, code.name, f"{_SILENCES[code]} {address}: {cause}", address=address)
    return make(_CLASSES.get(code, InternalError), code.name, message)


def _error_info(call: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    try:
        status = rpc_status.from_call(cast(grpc.Call, call))
    except ValueError:  # a proxy rewrote code or message; what it says then counts
        return None
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _shortened(text: str, limit: int) -> str:
    """The text, cut to at most `limit` bytes of UTF-8, with a visible mark where it was cut."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= limit else encoded[: limit - 3].decode("utf-8", "ignore") + "…"
