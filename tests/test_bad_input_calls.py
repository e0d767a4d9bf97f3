"""Calls with input that they cannot take, over gRPC and in process: the same error by both, and no effect.

What a bank holds is compared before and after each call, over the connection that was refused.
"""

import grpc
import pytest
from product import BANK_ID_RULE

import memcore
from memalpha.api.agent.v1alpha1.agent_service_pb2 import MemorizeItem, MemorizeRequest, RecallRequest
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as pb
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    BankSettings,
    Chunk,
    DeleteOperation,
    MemoryType,
    Operation,
    OperationError,
    UpdateOperation,
)
from memalpha.client import methods
from memalpha.errors import (
    AlreadyExistsError,
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    OutOfRangeError,
    UnsupportedError,
    from_rpc_error,
)

MIB = 2**20
GARBAGE = b"\xff" * 40
TOO_MUCH = bytes(17 * MIB)


def chunk(chunk_id="new", text="Ada has a dog.", **fields):
    return Chunk(chunk_id=chunk_id, text=text, **fields)


def view(**sizes):
    return pb.GetWriterViewRequest(bank_id="me", relevant=pb.RelevantView(**sizes))


def apply(**fields):
    return pb.ApplyOperationsRequest(bank_id="me", **fields)


def refused(product, call, kind):
    """The error that a call gets, and that changes nothing."""
    before = product.contents("me")
    with product.memory() as memory, pytest.raises(kind) as raised:
        call(memory)
    assert type(raised.value) is kind
    assert product.contents("me") == before
    return raised.value


@pytest.mark.parametrize(
    "bank_id", ["", " ", "a/b", "a\\b", "..", ".hidden", "-a", "a b", "a\nb", "a\0b", "zoë", "x" * 129]
)
def test_a_strange_bank_name_is_refused_by_every_call(product, bank_id) -> None:
    calls = [
        lambda memory: memory.create_bank(bank_id),
        lambda memory: memory.get_bank(bank_id),
        lambda memory: memory.delete_bank(bank_id),
        lambda memory: memory.append_chunks(bank_id, [chunk()]),
        lambda memory: list(memory.events(bank_id)),
        lambda memory: memory.search(bank_id, [pb.SearchQuery(text="dog")]),
    ]
    for call in calls:
        error = refused(product, call, InvalidInputError)
        assert error.reason == "INVALID_BANK_ID"
        assert str(error).startswith(BANK_ID_RULE)


@pytest.mark.parametrize(
    ("bad", "reason", "message"),
    [
        (chunk(text=""), "EMPTY_TEXT", 'text of chunk "new" must not be empty or blank, got ""'),
        (chunk(text=" \n\t"), "EMPTY_TEXT", r'text of chunk "new" must not be empty or blank, got " \n\t"'),
        (chunk(text="a\0b"), "NUL_IN_TEXT", "text must not hold a NUL character, found one at byte 1"),
        (chunk(text="x" * (MIB + 1)), "TOO_LONG", "text must be at most 1048576 bytes, got 1048577"),
        (chunk(chunk_id=""), "EMPTY_CHUNK_ID", "chunk_id must be 1 to 256 bytes, got none"),
        (chunk(chunk_id="x" * 257), "TOO_LONG", "chunk_id must be at most 256 bytes, got 257"),
        (chunk(chunk_id="a\x1b[2J"), "CONTROL_CHARACTER", "chunk_id must not hold control characters, got"),
        (chunk(source="x" * 1025), "TOO_LONG", "source must be at most 1024 bytes, got 1025"),
        (chunk(metadata={"k": "x" * 16384}), "TOO_LONG", "metadata must be at most 16384 bytes, got 16385"),
        (
            chunk(event_time="yesterday"),
            "INVALID_EVENT_TIME",
            'such as 2023-05-08 or 2023-05-08T13:56, got "y',
        ),
    ],
)
def test_one_bad_chunk_keeps_the_good_ones_beside_it_out(product, bad, reason, message) -> None:
    error = refused(product, lambda m: m.append_chunks("me", [chunk("good"), bad]), InvalidInputError)
    assert error.reason == reason
    assert message in str(error)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m: m.get_bank("no"), NotFoundError, 'there is no bank "no"'),
        (lambda m: m.append_chunks("me", [chunk()], "0" * 32), NotFoundError, "0" * 32),
        (lambda m: m.create_bank("me"), AlreadyExistsError, 'there is a bank "me" already'),
        (
            lambda m: m.create_bank("b", BankSettings(core_token_limit=8193)),
            InvalidInputError,
            "core_token_limit must be between 1 and 8192, got 8193",
        ),
        (lambda m: m.create_bank("b", BankSettings(language="xx")), InvalidInputError, 'stemmer, got "xx"'),
        (lambda m: m.append_chunks("me", []), InvalidInputError, "chunks must hold 1 to 1000 items, got 0"),
        (
            lambda m: m.append_chunks("me", [chunk(str(n)) for n in range(1001)]),
            InvalidInputError,
            "chunks must hold 1 to 1000 items, got 1001",
        ),
        (
            lambda m: m.append_chunks("me", [chunk("a"), chunk("a", "Ada has a cat.")]),
            ConflictError,
            "",
        ),
        (
            lambda m: m.append_chunks("me", [chunk(next(m.chunks("me")).chunk_id)]),
            ConflictError,
            "",
        ),
        (lambda m: m.search("me", []), InvalidInputError, "queries must hold 1 to 1000 items, got 0"),
        (
            lambda m: m.search("me", [pb.SearchQuery(text="dog", limit=-1)]),
            InvalidInputError,
            "limit must be between 1 and 1000, got -1",
        ),
        (
            lambda m: m.search("me", [pb.SearchQuery(text="dog", limit=2**31 - 1)]),
            InvalidInputError,
            "limit must be between 1 and 1000, got 2147483647",
        ),
        (
            lambda m: m.search("me", [pb.SearchQuery(text="x" * 65537)]),
            InvalidInputError,
            "text must be at most 65536 bytes, got 65537",
        ),
        (lambda m: m.get_writer_view(view(semantic=-1)), InvalidInputError, "between 0 and 1000, got -1"),
        (lambda m: m.get_writer_view(view(episodic=1001)), InvalidInputError, "between 0 and 1000, got 1001"),
        (
            lambda m: m.apply_operations(apply()),
            InvalidInputError,
            "operations must not be empty without adv",
        ),
        (
            lambda m: m.apply_operations(apply(advance_to=1)),
            InvalidInputError,
            "advance_to needs the cursor_token that was read",
        ),
        (
            lambda m: m.apply_operations(apply(advance_to=10**6, cursor_token=m.get_bank("me").cursor_token)),
            InvalidInputError,
            "got 1000000",
        ),
        (lambda m: m.apply_operations(apply(advance_to=1, cursor_token="old")), ConflictError, "old"),
        (
            lambda m: m.resolve_parked_chunk("me", pb.PARKED_CHUNK_ACTION_UNSPECIFIED),
            InvalidInputError,
            "action must be",
        ),
    ],
)
def test_a_call_that_breaks_a_rule_is_refused_with_the_value(product, call, kind, message) -> None:
    assert message in str(refused(product, call, kind))


def test_an_operation_on_a_memory_that_is_not_there_is_reported_and_changes_none(product) -> None:
    semantic, episodic = MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC
    operations = [
        Operation(update=UpdateOperation(type=semantic, memory_id=9999, content="Ada has a cat.")),
        Operation(delete=DeleteOperation(type=episodic, memory_id=2**64 - 1)),
    ]
    with product.memory() as memory:
        before = list(memory.memories("me"))
        results = memory.apply_operations(apply(operations=operations)).results
        assert list(memory.memories("me")) == before
    assert {result.error.reason for result in results} == {OperationError.REASON_MEMORY_NOT_FOUND}
    assert "9999" in results[0].error.message


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        (methods.LIST_BANKS, pb.ListBanksRequest),
        (methods.LIST_PENDING_BANKS, pb.ListPendingBanksRequest),
        (methods.LIST_CHUNKS, pb.ListChunksRequest),
        (methods.LIST_MEMORIES, pb.ListMemoriesRequest),
        (methods.LIST_BANK_EVENTS, pb.ListBankEventsRequest),
    ],
)
def test_a_page_that_there_cannot_be_is_refused(product, method, request_type) -> None:
    of_bank = {"bank_id": "me"} if "bank_id" in request_type.DESCRIPTOR.fields_by_name else {}
    before = product.contents("me")
    with product.transport() as transport:
        foreign = transport.call(
            methods.LIST_BANK_EVENTS,
            pb.ListBankEventsRequest(bank_id="me", page_size=1, chunk_position=0),
            timeout=5,
        ).next_page_token
        token_rule = "page_token must be empty or the next_page_token of the same listing"
        bad_pages: list[tuple[dict, str]] = [
            ({"page_size": -1}, "page_size must be 0 or more, got -1"),
            ({"page_size": -(2**31)}, "page_size must be 0 or more, got -2147483648"),
            *(({"page_token": token}, token_rule) for token in ("garbage", "AAAA", foreign)),
        ]
        for fields, message in bad_pages:
            with pytest.raises(InvalidInputError) as raised:
                transport.call(method, request_type(**of_bank, **fields), timeout=5)
            assert message in str(raised.value)
    assert product.contents("me") == before


def item(**fields):
    return MemorizeRequest(bank_id="me", items=[MemorizeItem(**{"item_id": "i", "text": "Hi.", **fields})])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda agent: agent.memorize(MemorizeRequest(bank_id="me")),
            "items must hold at least one item, go",
        ),
        (lambda agent: agent.memorize(item(text="")), "items[0].text must not be empty or blank, got ''"),
        (lambda agent: agent.memorize(item(text="a\0b")), "items[0].text must not hold a NUL character, got"),
        (lambda agent: agent.memorize(item(item_id="x" * 201)), "item_id must be at most 200 bytes, got 201"),
        (lambda agent: agent.memorize(item(event_time="noon")), "2023-05-08 or 2023-05-08T13:56, got 'noon'"),
        (lambda agent: agent.memorize(item(speaker="x" * 201)), "must be at most 200 characters, got 201"),
        (
            lambda agent: agent.memorize(
                MemorizeRequest(bank_id="a/b", items=item().items, create_bank=True)
            ),
            f'{BANK_ID_RULE} "a/b"',
        ),
        (lambda agent: agent.recall(RecallRequest(bank_id="me")), "query must not be empty or blank, got ''"),
        (
            lambda agent: agent.recall(RecallRequest(bank_id="me", query="dog", limit=-1)),
            "limit must be between 1 and 1000, got -1",
        ),
        (
            lambda agent: agent.recall(RecallRequest(bank_id="me", query="dog", token_budget=2**31 - 1)),
            "token_budget must be between 64 and 1000000, got 2147483647",
        ),
    ],
)
def test_the_agent_refuses_what_breaks_a_rule(served, call, message) -> None:
    before = served.contents("me")
    with served.agent() as agent, pytest.raises(InvalidInputError) as raised:
        call(agent)
    assert message in str(raised.value)
    assert served.contents("me") == before


def test_the_agent_stores_nothing_of_a_request_with_one_bad_item(served) -> None:
    before = served.contents("me")
    items = [MemorizeItem(item_id="good", text="Hi."), MemorizeItem(item_id="bad", text="\t")]
    with served.agent() as agent, pytest.raises(InvalidInputError, match=r"items\[1\]\.text"):
        agent.memorize(MemorizeRequest(bank_id="me", items=items))
    with served.agent() as agent, pytest.raises(NotFoundError, match='there is no bank "no"'):
        agent.memorize(MemorizeRequest(bank_id="no", items=items[:1]))
    assert served.contents("me") == before


@pytest.mark.parametrize(
    ("service", "method", "request_bytes", "kind", "message"),
    [
        ("memory", methods.APPEND_CHUNKS, GARBAGE, InvalidInputError, "failed to decode"),
        ("memory", methods.APPEND_CHUNKS, TOO_MUCH, OutOfRangeError, "16777216"),
        ("agent", methods.MEMORIZE, GARBAGE, InternalError, "Error parsing message"),
        ("agent", methods.MEMORIZE, TOO_MUCH, OutOfRangeError, "16777216"),
    ],
    ids=["memory-garbage", "memory-17 MiB", "agent-garbage", "agent-17 MiB"],
)
def test_bytes_that_are_no_request_are_refused_and_the_service_goes_on(
    served, service, method, request_bytes, kind, message
) -> None:
    before = served.contents("me")
    error = answer(served.addresses[service], method.path, request_bytes)
    assert type(error) is kind
    assert message in str(error)
    assert served.contents("me") == before


def test_a_request_over_16_mebibytes_is_refused_before_it_is_sent(served) -> None:
    chunks = [chunk(text="x" * 17 * MIB)]
    error = refused(served, lambda memory: memory.append_chunks("me", chunks), OutOfRangeError)
    assert error.reason == "MESSAGE_TOO_LARGE"
    assert "at most 16777216 go in one call: send it in parts" in str(error)


def test_a_method_that_there_is_not_is_refused(served) -> None:
    error = answer(served.addresses["memory"], f"/{methods.MEMORY}/ForgetEverything", b"")
    assert (type(error), error.reason) == (UnsupportedError, "UNKNOWN_METHOD")


def answer(address: str, path: str, request: bytes) -> MemalphaError:
    """What a service answers to bytes that no client of ours would send."""
    unlimited = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, unlimited) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(request, timeout=10)
    return from_rpc_error(raised.value, address)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda store: store.create_bank("a/b"), f'{BANK_ID_RULE} "a/b"'),
        (
            lambda store: store.create_bank("b", durability="soon"),
            'durability must be synced or volatile, got "s',
        ),
        (
            lambda store: store.create_bank("b", core_token_limit=-1),
            "core_token_limit must be between 1 and 8",
        ),
        (
            lambda store: store.bank("me").search(["dog"], limit=-1),
            "limit must be between 1 and 1000, got -1",
        ),
        (lambda store: store.bank("me").search(["dog"], limit=2**62), f"and 1000, got {2**62}"),
        (lambda store: store.bank("me").search([]), "queries must hold 1 to 1000 items, got 0"),
        (lambda store: store.bank("me").search(["dog"], types=["vague"]), '"vague"'),
        (lambda store: store.bank("me").view(semantic=-1), "must be between 0 and 1000, got -1"),
        (
            lambda store: store.bank("me").append_chunks([memcore.NewChunk("c", " ")]),
            'text of chunk "c" must not be empty or blank, got " "',
        ),
        (
            lambda store: store.bank("me").append_chunks([memcore.NewChunk("c", "a\0b")]),
            "text must not hold a NUL character, found one at byte 1",
        ),
        (lambda store: store.call("ForgetEverything", b""), 'RPC of MemoryService, got "ForgetEverything"'),
        (lambda store: store.call("GetBank", b"\xff"), "request must be a valid message"),
        (
            lambda store: memcore.serve(store, "nowhere"),
            "address must be host:port, such as 127.0.0.1:50051, got",
        ),
        (lambda store: memcore.serve(store, "0.0.0.0:0"), "address must be a loopback address unless remote"),
        (
            lambda store: memcore.serve(store, max_in_flight=0),
            "max_in_flight must be between 1 and 4096, got 0",
        ),
    ],
)
def test_the_library_refuses_what_breaks_a_rule(embedded, call, message) -> None:
    before = embedded.contents("me")
    with memcore.Store.open(embedded.store) as store, pytest.raises(memcore.InvalidInputError) as raised:
        call(store)
    assert message in str(raised.value)
    assert embedded.contents("me") == before
