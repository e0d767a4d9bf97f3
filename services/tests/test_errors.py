"""What goes into a gRPC status comes out of it as the same exception."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from memalpha import errors
from memalpha.errors import MemalphaError, from_rpc_error, make, to_status
from memcore import MemcoreError


class Failed(grpc.RpcError):
    """A failed call, as a channel reports it."""

    def __init__(self, code, details, trailing_metadata=()):
        self._answer = (code, details, trailing_metadata)

    def code(self):
        return self._answer[0]

    def details(self):
        return self._answer[1]

    def trailing_metadata(self):
        return self._answer[2]


def sent(error: MemalphaError) -> Failed:
    status = to_status(error)
    return Failed(status.code, status.details, status.trailing_metadata)


CASES = [
    (errors.NotFoundError, "not_found", "NOT_FOUND"),
    (errors.AlreadyExistsError, "already_exists", "ALREADY_EXISTS"),
    (errors.InvalidInputError, "invalid_input", "INVALID_ARGUMENT"),
    (errors.ConflictError, "conflict", "ABORTED"),
    (errors.OutOfRangeError, "out_of_range", "OUT_OF_RANGE"),
    (errors.UnsupportedError, "unsupported", "FAILED_PRECONDITION"),
    (errors.BusyError, "busy", "RESOURCE_EXHAUSTED"),
    (errors.CorruptionError, "corruption", "DATA_LOSS"),
    (errors.InternalError, "internal", "INTERNAL"),
    (errors.UnavailableError, "unavailable", "UNAVAILABLE"),
]


@pytest.mark.parametrize(("kind", "name", "code"), CASES)
def test_an_error_crosses_the_wire_unchanged(kind, name, code) -> None:
    call = sent(make(kind, "SOME_REASON", "size: at most 3, it is 4", limit=3, size=4))
    assert call.code() is grpc.StatusCode[code]
    arrived = from_rpc_error(call)
    assert type(arrived) is kind
    assert (arrived.kind, arrived.reason, str(arrived)) == (name, "SOME_REASON", "size: at most 3, it is 4")
    assert arrived.metadata == {"limit": "3", "size": "4"}


def test_the_tree_is_memcores() -> None:
    assert MemalphaError is MemcoreError
    assert all(issubclass(kind, MemcoreError) for kind, _, _ in CASES)


def test_busy_tells_when_to_come_back() -> None:
    ((_, value),) = to_status(make(errors.BusyError, "OVERLOADED", "try again")).trailing_metadata
    retry = error_details_pb2.RetryInfo()
    assert isinstance(value, bytes)
    assert status_pb2.Status.FromString(value).details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 1


@pytest.mark.parametrize(
    ("code", "details", "kind", "reason"),
    [
        ("UNAVAILABLE", "failed to connect", errors.UnavailableError, "UNAVAILABLE"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.UnavailableError, "DEADLINE_EXCEEDED"),
        ("UNIMPLEMENTED", "Method not found!", errors.UnsupportedError, "UNIMPLEMENTED"),
        ("RESOURCE_EXHAUSTED", "too many calls", errors.BusyError, "OVERLOADED"),
        (
            "RESOURCE_EXHAUSTED",
            "Received message larger than max",
            errors.OutOfRangeError,
            "MESSAGE_TOO_LARGE",
        ),
        (
            "OUT_OF_RANGE",
            "Error, encoded message length too large",
            errors.OutOfRangeError,
            "MESSAGE_TOO_LARGE",
        ),
        ("UNKNOWN", "boom", errors.InternalError, "UNKNOWN"),
        ("PERMISSION_DENIED", "no", errors.InternalError, "PERMISSION_DENIED"),
    ],
)
def test_a_status_without_error_info_is_judged_by_its_code(code, details, kind, reason) -> None:
    arrived = from_rpc_error(Failed(grpc.StatusCode[code], details))
    assert (type(arrived), arrived.reason) == (kind, reason)


def test_an_absent_service_is_named_with_the_last_of_grpcs_reasons() -> None:
    details = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Connection refused"
    arrived = from_rpc_error(Failed(grpc.StatusCode.UNAVAILABLE, details), "127.0.0.1:9")
    assert str(arrived) == "no service at 127.0.0.1:9: Connection refused"


def test_a_service_that_gave_up_at_the_deadline_counts_as_unavailable() -> None:
    honest = sent(make(errors.BusyError, "DEADLINE_EXCEEDED", "the deadline passed"))
    ((key, value),) = honest.trailing_metadata()
    status = status_pb2.Status.FromString(value)
    status.code = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    late = Failed(grpc.StatusCode.DEADLINE_EXCEEDED, honest.details(), ((key, status.SerializeToString()),))
    assert type(from_rpc_error(late)) is errors.UnavailableError


def test_a_status_that_a_proxy_rewrote_is_judged_by_what_the_proxy_says() -> None:
    honest = sent(make(errors.NotFoundError, "BANK_NOT_FOUND", "no bank b"))
    rewritten = Failed(grpc.StatusCode.UNAVAILABLE, "upstream gone", honest.trailing_metadata())
    assert type(from_rpc_error(rewritten)) is errors.UnavailableError


def test_a_huge_value_is_cut_so_that_the_status_still_fits_into_headers() -> None:
    value = "ä" * 100_000
    status = to_status(make(errors.InvalidInputError, "TOO_LONG", f"bank_id: {value}", value=value))
    ((_, encoded),) = status.trailing_metadata
    # Percent-escaping makes three bytes of each byte that is not ASCII.
    assert 3 * len(status.details.encode()) + len(encoded) < 8 * 1024
    assert status.details.endswith("…")
