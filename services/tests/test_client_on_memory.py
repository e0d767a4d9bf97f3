"""The memory client on a real store: every method, through both doors, with the same outcome."""

import struct

import pytest

import memcore
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as memory_pb
from memalpha.client import AsyncMemoryClient, MemoryClient
from memalpha.errors import ConflictError, NotFoundError
from memalpha.transport import AsyncEmbeddedTransport, AsyncGrpcTransport, EmbeddedTransport, GrpcTransport

DOORS = ["grpc", "embedded"]


@pytest.fixture
def store():
    with memcore.Store.in_memory() as opened:
        yield opened


@pytest.fixture
def address(store):
    with memcore.serve(store, "127.0.0.1:0") as server:
        yield server.address


@pytest.fixture(params=DOORS)
def client(request, store, address):
    door = GrpcTransport(address) if request.param == "grpc" else EmbeddedTransport(store)
    with MemoryClient(door) as opened:
        yield opened


def chunks(*texts):
    return [pb.Chunk(chunk_id=f"c{n}", text=text) for n, text in enumerate(texts)]


def insert(content):
    return pb.Operation(insert=pb.InsertOperation(type=pb.MEMORY_TYPE_SEMANTIC, content=content))


def read(client):
    return client.get_writer_view(memory_pb.GetWriterViewRequest(bank_id="b"))


def write(view, *operations):
    return memory_pb.ApplyOperationsRequest(
        bank_id="b",
        bank_uid=view.bank.bank_uid,
        cursor_token=view.bank.cursor_token,
        memory_revision=view.bank.memory_revision,
        operations=operations,
        advance_to=view.bank.cursor + 1,
        writer=pb.Writer(policy_id="person"),
    )


def test_a_chunk_goes_in_and_a_memory_comes_out(client) -> None:
    uid = client.create_bank("b").bank_uid
    assert [bank.bank_uid for bank in client.banks()] == [uid]
    assert client.ensure_bank("b").bank_uid == uid
    client.append_chunks("b", chunks("Biscuit is a dog", "Lisbon is a city"))
    again = client.append_chunks("b", chunks("Biscuit is a dog"), uid)
    assert [result.already_stored for result in again.results] == [True]
    (pending,) = client.pending_banks()
    assert (pending.bank_id, pending.pending_chunks) == ("b", 2)

    view = read(client)
    assert view.next_chunk.text == "Biscuit is a dog"
    unknown = pb.Operation(delete=pb.DeleteOperation(type=pb.MEMORY_TYPE_SEMANTIC, memory_id=99))
    reply = client.apply_operations(write(view, insert("Caroline has a dog, Biscuit"), unknown))
    outcomes = [result.WhichOneof("result") for result in reply.results]
    assert outcomes == ["memory", "error"]
    with pytest.raises(ConflictError):
        client.apply_operations(write(view, insert("too late")))

    query = memory_pb.SearchQuery(text="dog Lisbon", include_pending=True)
    (hits,) = client.search("b", [query]).results
    assert [hit.memory.content for hit in hits.memories] == ["Caroline has a dog, Biscuit"]
    assert [hit.chunk.text for hit in hits.pending] == ["Lisbon is a city"]
    assert [chunk.position for chunk in client.chunks("b", pending_only=True)] == [1]
    assert [memory.type for memory in client.memories("b")] == [pb.MEMORY_TYPE_CORE, pb.MEMORY_TYPE_SEMANTIC]
    assert [memory.id for memory in client.memories("b", pb.MEMORY_TYPE_SEMANTIC)] == [1]
    history = [event.WhichOneof("event") for event in client.events("b", chunk_position=0)]
    assert history == ["chunk_appended", "operation_applied", "operation_applied", "cursor_moved"]
    assert [event.operation_applied.result.memory.id for event in client.events("b", memory_id=1)] == [1]


def test_a_chunk_that_fails_is_parked_and_skipped(client) -> None:
    client.create_bank("b", pb.BankSettings(max_chunk_failures=1))
    client.append_chunks("b", chunks("poison"))
    token = client.get_bank("b").cursor_token
    report = memory_pb.ReportChunkFailureRequest(bank_id="b", cursor_token=token, message="refused")
    assert client.report_chunk_failure(report).failures.parked
    assert client.resolve_parked_chunk("b", memory_pb.PARKED_CHUNK_ACTION_SKIP).cursor == 1


def test_a_deleted_bank_is_not_taken_for_its_namesake(client) -> None:
    uid = client.create_bank("b").bank_uid
    client.delete_bank("b", uid)
    assert client.create_bank("b").bank_uid != uid
    with pytest.raises(NotFoundError):
        client.append_chunks("b", chunks("for the old one"), uid)


def test_lists_longer_than_a_page_are_complete(client) -> None:
    client.create_bank("b")
    client.append_chunks("b", chunks(*(f"text {n}" for n in range(450))))
    assert [chunk.position for chunk in client.chunks("b", start=3)] == list(range(3, 450))


def test_a_list_larger_than_a_message_is_complete(client) -> None:
    client.create_bank("b", pb.BankSettings(durability=pb.DURABILITY_VOLATILE))
    # 20 chunks of 902 kB are 18 MB, over the 16 MiB of one message, and go in as two.
    large = chunks(*("so it goes " * 82_000 for _ in range(20)))
    client.append_chunks("b", large[:10])
    client.append_chunks("b", large[10:])
    assert [chunk.position for chunk in client.chunks("b")] == list(range(20))


@pytest.mark.skipif(not hasattr(memcore.Bank, "put_vectors"), reason="this memcore takes no vectors yet")
def test_a_bank_gets_an_embedder_and_its_memories_their_vectors(client) -> None:
    bank = client.create_bank("b")
    client.append_chunks("b", chunks("Biscuit is a dog"))
    client.apply_operations(write(read(client), insert("Caroline has a dog, Biscuit")))
    embedder = pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id="m", dimensions=2)
    stats = client.set_embedder("b", embedder, bank.bank_uid).stats
    assert (stats.embedded_count, stats.unembedded_count) == (0, 1)
    assert [bank.bank_id for bank in client.banks(unembedded_only=True)] == ["b"]
    (memory,) = client.memories("b", unembedded_only=True)

    def vector(revision):
        numbers = struct.pack("<2f", 3, 4)
        return memory_pb.MemoryVector(memory_id=1, update_revision=revision, embedding_f32_le=numbers)

    with pytest.raises(ConflictError):
        client.put_vectors("b", [vector(memory.update_revision)], "another")
    reply = client.put_vectors("b", [vector(999), vector(memory.update_revision)], "m", bank.bank_uid)
    stale, stored = memory_pb.PutVectorsResponse.RESULT_STALE, memory_pb.PutVectorsResponse.RESULT_STORED
    assert (list(reply.results), reply.unembedded_count) == ([stale, stored], 0)
    query = memory_pb.SearchQuery(
        text="puppy", method=memory_pb.SEARCH_METHOD_VECTOR, embedding_f32_le=struct.pack("<2f", 6, 8)
    )
    (hits,) = client.search("b", [query]).results
    # The same direction: cosine 1.
    assert [(hit.memory.id, round(hit.score, 6)) for hit in hits.memories] == [(1, 1.0)]
    assert list(client.banks(unembedded_only=True)) == []


@pytest.mark.parametrize("door", DOORS)
async def test_the_asynchronous_client_does_the_same(door, store, address) -> None:
    transport = AsyncGrpcTransport(address) if door == "grpc" else AsyncEmbeddedTransport(store)
    async with AsyncMemoryClient(transport) as client:
        await client.create_bank("b")
        await client.append_chunks("b", chunks("Biscuit is a dog"))
        view = await client.get_writer_view(memory_pb.GetWriterViewRequest(bank_id="b"))
        await client.apply_operations(write(view, insert("Caroline has a dog, Biscuit")))
        contents = [memory.content async for memory in client.memories("b", pb.MEMORY_TYPE_SEMANTIC)]
        assert contents == ["Caroline has a dog, Biscuit"]
        assert [pending async for pending in client.pending_banks()] == []
        with pytest.raises(NotFoundError, match="nobody"):
            await client.get_bank("nobody")
