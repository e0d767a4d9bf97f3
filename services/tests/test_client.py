"""Clients against a server that answers as each test says, and against the in-process door."""

import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Never

import grpc
import pytest

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as memory_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as policy_pb
from memalpha.client import (
    AgentClient,
    AsyncAgentClient,
    AsyncMemoryClient,
    AsyncPolicyClient,
    MemoryClient,
    PolicyClient,
    methods,
)
from memalpha.client.base import deadline
from memalpha.errors import (
    AlreadyExistsError,
    ConflictError,
    InternalError,
    MemalphaError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
    make,
    to_status,
)
from memalpha.transport import MAX_IN_FLIGHT, AsyncEmbeddedTransport, EmbeddedTransport, Method

NOBODY = "127.0.0.1:1"
Answer = Callable[[Any], Any]


@contextmanager
def serving(answers: dict[Method, Answer], *, port: int = 0, threads: int = 8) -> Iterator[str]:
    """Serves on loopback; an answer that raises a `MemalphaError` ends the call with its status.

    An answer that returns an iterator answers with a stream. Yields the address.
    """
    server = grpc.server(ThreadPoolExecutor(threads), options=[("grpc.so_reuseport", 0)])
    for method, answer in answers.items():
        server.add_generic_rpc_handlers([_handler(method, answer)])
    taken = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{taken}"
    finally:
        server.stop(None).wait()


def _handler(method: Method, answer: Answer) -> grpc.GenericRpcHandler:
    streams = method.name == "Generate"
    make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler

    def answered(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(request)
        except MemalphaError as error:
            context.abort_with_status(to_status(error))

    request = getattr(sys.modules[method.reply.__module__], f"{method.name}Request")
    handler = make(answered, request.FromString, method.reply.SerializeToString)
    return grpc.method_handlers_generic_handler(method.service, {method.name: handler})


class Failing:
    """An answer that fails some times and then succeeds; `calls` keeps the requests."""

    def __init__(self, times, error, reply):
        self.left, self.error, self.reply = times, error, reply
        self.calls = []

    def __call__(self, request):
        self.calls.append(request)
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return self.reply


def gone():
    return make(UnavailableError, "SHUTTING_DOWN", "going down")


def missing():
    return make(NotFoundError, "BANK_NOT_FOUND", "no bank b")


def public_methods(client):
    return {
        name: [
            (parameter.name, parameter.default) for parameter in inspect.signature(member).parameters.values()
        ]
        for name, member in inspect.getmembers(client, callable)
        if not name.startswith("_")
    }


def test_the_two_clients_of_a_service_have_the_same_methods() -> None:
    assert public_methods(MemoryClient) == public_methods(AsyncMemoryClient)
    assert public_methods(PolicyClient) == public_methods(AsyncPolicyClient)
    assert public_methods(AgentClient) == public_methods(AsyncAgentClient)


def test_lists_are_followed_from_page_to_page() -> None:
    pages = {"": (["a", "b"], "p2"), "p2": ([], "p3"), "p3": (["c"], "")}

    def list_banks(request):
        ids, token = pages[request.page_token]
        return memory_pb.ListBanksResponse(banks=[pb.Bank(bank_id=id) for id in ids], next_page_token=token)

    with serving({methods.LIST_BANKS: list_banks}) as address, MemoryClient.connect(address) as client:
        assert [bank.bank_id for bank in client.banks()] == ["a", "b", "c"]


async def test_lists_are_followed_asynchronously_too() -> None:
    def list_chunks(request):
        first = not request.page_token
        assert (request.start_position, request.pending_only) == (4, True)
        return memory_pb.ListChunksResponse(
            chunks=[pb.Chunk(position=4 if first else 5)], next_page_token="next" if first else ""
        )

    with serving({methods.LIST_CHUNKS: list_chunks}) as address:
        async with AsyncMemoryClient.connect(address) as client:
            found = [chunk.position async for chunk in client.chunks("b", start=4, pending_only=True)]
    assert found == [4, 5]


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_request_id() -> None:
    apply = Failing(2, gone(), memory_pb.ApplyOperationsResponse(revision=7))
    request = memory_pb.ApplyOperationsRequest(bank_id="b")
    with serving({methods.APPLY_OPERATIONS: apply}) as address, MemoryClient.connect(address) as client:
        assert client.apply_operations(request).revision == 7
    ids = [call.request_id for call in apply.calls]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert len(ids[0]) == 36
    assert request.request_id == ""


def test_a_request_id_of_the_callers_own_is_kept() -> None:
    apply = Failing(0, gone(), memory_pb.ApplyOperationsResponse())
    with serving({methods.APPLY_OPERATIONS: apply}) as address, MemoryClient.connect(address) as client:
        client.apply_operations(memory_pb.ApplyOperationsRequest(bank_id="b", request_id="mine"))
    assert [call.request_id for call in apply.calls] == ["mine"]


async def test_a_call_that_would_count_twice_is_not_repeated() -> None:
    report = Failing(1, gone(), memory_pb.ReportChunkFailureResponse())
    with serving({methods.REPORT_CHUNK_FAILURE: report}) as address:
        async with AsyncMemoryClient.connect(address) as client:
            with pytest.raises(UnavailableError, match="going down") as raised:
                await client.report_chunk_failure(memory_pb.ReportChunkFailureRequest(bank_id="b"))
    assert raised.value.reason == "SHUTTING_DOWN"
    assert len(report.calls) == 1


def test_an_error_of_the_service_arrives_as_the_same_exception() -> None:
    def apply(request) -> Never:
        raise make(ConflictError, "CURSOR_MOVED", "cursor_token: the cursor is at 4", cursor=4)

    with (
        serving({methods.APPLY_OPERATIONS: apply}) as address,
        MemoryClient.connect(address) as client,
        pytest.raises(ConflictError, match="the cursor is at 4") as raised,
    ):
        client.apply_operations(memory_pb.ApplyOperationsRequest(bank_id="b"))
    assert (raised.value.reason, raised.value.metadata) == ("CURSOR_MOVED", {"cursor": "4"})


@pytest.mark.parametrize("exists", [True, False])
def test_ensure_bank_creates_a_bank_only_if_there_is_none(exists) -> None:
    get = Failing(0 if exists else 1, missing(), memory_pb.GetBankResponse(bank=pb.Bank(bank_uid="old")))
    create = Failing(0, gone(), memory_pb.CreateBankResponse(bank=pb.Bank(bank_uid="new")))
    with (
        serving({methods.GET_BANK: get, methods.CREATE_BANK: create}) as address,
        MemoryClient.connect(address) as client,
    ):
        assert client.ensure_bank("b").bank_uid == ("old" if exists else "new")


def test_ensure_bank_takes_the_bank_of_somebody_who_was_faster() -> None:
    get = Failing(1, missing(), memory_pb.GetBankResponse(bank=pb.Bank(bank_uid="theirs")))
    taken = make(AlreadyExistsError, "BANK_ALREADY_EXISTS", "bank b exists")
    create = Failing(1, taken, memory_pb.CreateBankResponse())
    with (
        serving({methods.GET_BANK: get, methods.CREATE_BANK: create}) as address,
        MemoryClient.connect(address) as client,
    ):
        assert client.ensure_bank("b").bank_uid == "theirs"


async def test_vectors_and_embedders_go_to_the_bank_that_is_meant() -> None:
    vector = memory_pb.MemoryVector(memory_id=3, update_revision=7, embedding_f32_le=b"12345678")
    embedder = pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id="m", dimensions=2)
    put = Failing(1, gone(), memory_pb.PutVectorsResponse(unembedded_count=5))
    setting = Failing(1, gone(), memory_pb.SetEmbedderResponse(bank=pb.Bank(bank_id="b")))
    with serving({methods.PUT_VECTORS: put, methods.SET_EMBEDDER: setting}) as address:
        with MemoryClient.connect(address) as client:
            assert client.put_vectors("b", [vector], "m", "uid").unembedded_count == 5
            assert client.set_embedder("b", embedder, "uid").bank_id == "b"
        async with AsyncMemoryClient.connect(address) as client:
            assert (await client.put_vectors("b", [vector], "m", "uid")).unembedded_count == 5
            assert (await client.set_embedder("b", embedder, "uid")).bank_id == "b"
    # Each was sent again by the first client, whose first call found the service going down.
    handed = memory_pb.PutVectorsRequest(bank_id="b", bank_uid="uid", embedder_id="m", vectors=[vector])
    assert put.calls == [handed] * 3
    assert setting.calls == [memory_pb.SetEmbedderRequest(bank_id="b", bank_uid="uid", embedder=embedder)] * 3


async def test_lists_can_be_of_what_lacks_vectors_on_every_page() -> None:
    asked: list[Any] = []

    def banks(request):
        asked.append(request)
        return memory_pb.ListBanksResponse(next_page_token="" if request.page_token else "p2")

    def memories(request):
        asked.append(request)
        return memory_pb.ListMemoriesResponse(next_page_token="" if request.page_token else "p2")

    with serving({methods.LIST_BANKS: banks, methods.LIST_MEMORIES: memories}) as address:
        with MemoryClient.connect(address) as client:
            list(client.banks(unembedded_only=True))
            list(client.memories("b", unembedded_only=True))
        async with AsyncMemoryClient.connect(address) as client:
            _ = [bank async for bank in client.banks(unembedded_only=True)]
            _ = [memory async for memory in client.memories("b", unembedded_only=True)]
    assert [request.unembedded_only for request in asked] == [True] * 8


def test_nobody_at_the_address_is_found_out_before_the_deadline() -> None:
    with (
        MemoryClient.connect(NOBODY) as client,
        pytest.raises(UnavailableError, match=f"no service at {NOBODY}") as caught,
    ):
        client.get_bank("b")
    assert caught.value.reason == "UNAVAILABLE"


def test_a_service_that_comes_back_is_found_by_the_same_client() -> None:
    reply = memory_pb.GetBankResponse(bank=pb.Bank(bank_id="b"))
    with serving({methods.GET_BANK: lambda _: reply}) as address:
        client = MemoryClient.connect(address)
        client.get_bank("b")
    with pytest.raises(UnavailableError):
        client.get_bank("b")
    with serving({methods.GET_BANK: lambda _: reply}, port=int(address.rpartition(":")[2])):
        give_up = time.monotonic() + 5
        while True:
            try:
                assert client.get_bank("b").bank_id == "b"
                break
            except UnavailableError:
                assert time.monotonic() < give_up
    client.close()


def test_the_deadline_grows_with_what_there_is_to_store() -> None:
    chunk = pb.Chunk(text="x" * 3 * 2**20)
    small = memory_pb.AppendChunksRequest(bank_id="b")
    assert deadline(small) == pytest.approx(5, abs=0.001)
    # Three MiB at two seconds each on top of five.
    assert deadline(memory_pb.AppendChunksRequest(chunks=[chunk])) == pytest.approx(11, abs=0.001)


def test_a_request_over_the_message_limit_is_refused_before_it_is_sent() -> None:
    chunks = [pb.Chunk(chunk_id=str(n), text="x" * 2**20) for n in range(17)]
    with (
        MemoryClient.connect(NOBODY) as client,
        pytest.raises(OutOfRangeError, match="at most 16777216") as raised,
    ):
        client.append_chunks("b", chunks)
    assert raised.value.reason == "MESSAGE_TOO_LARGE"


async def test_no_more_calls_are_in_flight_than_a_channel_bears() -> None:
    inside, most, lock = [0], [0], threading.Lock()

    def get_bank(request):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        with lock:
            inside[0] -= 1
        return memory_pb.GetBankResponse(bank=pb.Bank(bank_id=request.bank_id))

    names = [str(n) for n in range(1500)]
    with serving({methods.GET_BANK: get_bank}, threads=400) as address:
        async with AsyncMemoryClient.connect(address) as client:
            banks = await asyncio.gather(*(client.get_bank(name) for name in names))
    assert [bank.bank_id for bank in banks] == names
    assert most[0] <= MAX_IN_FLIGHT


def pieces(_request=None):
    policy = policy_pb.PolicyIdentity(policy_id="scripted-1")
    yield policy_pb.GenerateResponse(text="one ", policy=policy)
    yield policy_pb.GenerateResponse(
        text="two",
        policy=policy,
        finish_reason=policy_pb.FINISH_REASON_STOP,
        usage=policy_pb.Usage(prompt_tokens=3, completion_tokens=2),
    )


async def test_a_completion_is_its_pieces_joined() -> None:
    with serving({methods.GENERATE: pieces}) as address:
        with PolicyClient.connect(address) as client:
            blocking = client.generate(policy_pb.GenerateRequest())
        async with AsyncPolicyClient.connect(address) as client:
            assert await client.generate(policy_pb.GenerateRequest()) == blocking
    assert (blocking.text, blocking.policy.policy_id) == ("one two", "scripted-1")
    assert (blocking.finish_reason, blocking.usage.completion_tokens) == (policy_pb.FINISH_REASON_STOP, 2)


async def test_a_policy_that_fails_half_way_gives_an_error_and_no_text() -> None:
    def generate(_request):
        yield policy_pb.GenerateResponse(text="one ")
        raise ValueError("engine broke")

    with serving({methods.GENERATE: generate}) as address:
        async with AsyncPolicyClient.connect(address) as client:
            with pytest.raises(InternalError, match="engine broke"):
                await client.generate(policy_pb.GenerateRequest())


class Store:
    """The in-process door's other side."""

    def call(self, method, request):
        assert method == "GetBank"
        bank_id = memory_pb.GetBankRequest.FromString(request).bank_id
        if bank_id != "b":
            raise missing()
        return memory_pb.GetBankResponse(bank=pb.Bank(bank_id=bank_id)).SerializeToString()


async def test_the_in_process_door_gives_the_same_messages_and_errors() -> None:
    store: Any = Store()
    blocking, client = (
        MemoryClient(EmbeddedTransport(store)),
        AsyncMemoryClient(AsyncEmbeddedTransport(store)),
    )
    assert await client.get_bank("b") == blocking.get_bank("b") == pb.Bank(bank_id="b")
    with pytest.raises(NotFoundError):
        blocking.get_bank("c")
    with pytest.raises(NotFoundError):
        await client.get_bank("c")
