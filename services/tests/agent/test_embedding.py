"""Banks with an external embedder: what is searched by vectors, what gets them, and what an outage costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

import memcore
from memalpha.agent import Agent, AgentSettings
from memalpha.agent.backfill import Backfill
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState, RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as service_pb
from memalpha.client import AsyncMemoryClient
from memalpha.errors import BusyError, InvalidInputError, MemalphaError, UnavailableError, make

from .embedding import NAME, ScriptedEmbedder, VectorMemory, vector_of
from .support import (
    QUICK,
    ScriptedPolicy,
    append,
    contents,
    insert,
    keep_all,
    request,
    update_core,
    write,
)

AWAY = make(UnavailableError, "EMBEDDER_UNAVAILABLE", "away")
WORDS, VECTOR, HYBRID = (
    service_pb.SEARCH_METHOD_WORDS,
    service_pb.SEARCH_METHOD_VECTOR,
    service_pb.SEARCH_METHOD_HYBRID,
)


@pytest.fixture
def vectors(memory: AsyncMemoryClient) -> VectorMemory:
    return VectorMemory(memory)


def agent_of(
    memory: VectorMemory, embedder: ScriptedEmbedder | None, settings: AgentSettings = QUICK
) -> Agent:
    return Agent(memory, ScriptedPolicy(keep_all), settings, embedder)


async def recalled(agent: Agent, query: str = "dog", **rest: object) -> RecallResponse:
    return await agent.recall(RecallRequest(bank_id="b", query=query, **rest))  # type: ignore[arg-type]


@asynccontextmanager
async def working(agent: Agent) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run_worker(stop))
        await asyncio.sleep(0)
        yield
        stop.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_question_is_searched_by_its_vector_too(vectors: VectorMemory) -> None:
    await write(vectors, insert("Ann has a dog"))
    reply = await recalled(agent_of(vectors, ScriptedEmbedder()))
    assert {query.embedding_f32_le for query in vectors.queries} == {vector_of("dog")}
    assert reply.search_method == HYBRID


async def test_a_question_is_embedded_once_although_its_reply_has_to_shrink(vectors: VectorMemory) -> None:
    await vectors.ensure_bank("b")
    # 20 chunks of 900 kB do not fit in one reply; 10 do.
    for number in range(20):
        await vectors.append_chunks("b", [pb.Chunk(chunk_id=f"c{number}", text="dog" + " " * 899_997)])
    embedder = ScriptedEmbedder()
    assert len((await recalled(agent_of(vectors, embedder))).hits) == 10
    assert embedder.calls == [["dog"]]


async def test_a_question_by_words_asks_for_no_vector(vectors: VectorMemory) -> None:
    await vectors.ensure_bank("b")
    embedder = ScriptedEmbedder()
    reply = await recalled(agent_of(vectors, embedder), method=WORDS)
    assert (reply.search_method, embedder.calls) == (WORDS, [])


@pytest.mark.parametrize("method", [0, VECTOR, HYBRID])
async def test_without_a_vector_a_question_is_answered_by_words_and_says_so(
    vectors: VectorMemory, method: int
) -> None:
    await write(vectors, insert("Ann has a dog"))
    with capture_logs() as logs:
        reply = await recalled(agent_of(vectors, ScriptedEmbedder(AWAY)), method=method)
    assert [hit.memory.content for hit in reply.hits] == ["Ann has a dog"]
    assert reply.search_method == WORDS
    assert [(line["event"], line["reason"]) for line in logs] == [("embedding waits", "EMBEDDER_UNAVAILABLE")]


async def test_while_the_embedder_is_away_questions_do_not_wait_for_it(vectors: VectorMemory) -> None:
    await vectors.ensure_bank("b")
    embedder = ScriptedEmbedder(*[AWAY] * 9)
    settings = QUICK.model_copy(update={"backoff_seconds": 30, "longest_backoff_seconds": 30})
    agent = agent_of(vectors, embedder, settings)
    for _ in range(5):
        await recalled(agent)
    assert len(embedder.calls) == 1


async def test_a_slow_embedder_costs_a_question_no_more_than_its_limit(vectors: VectorMemory) -> None:
    await vectors.ensure_bank("b")
    embedder = ScriptedEmbedder()
    embedder.delay = 5
    agent = agent_of(vectors, embedder, QUICK.model_copy(update={"embedding_seconds": 0.05}))
    async with asyncio.timeout(2):
        assert (await recalled(agent)).search_method == WORDS


@pytest.mark.parametrize(("id", "dimensions"), [("other-1", 2), (NAME, 3)])
async def test_a_bank_of_another_embedder_is_searched_by_words_and_the_log_says_so_once(
    memory: AsyncMemoryClient, id: str, dimensions: int
) -> None:
    foreign = VectorMemory(memory, id=id, dimensions=dimensions)
    await append(foreign, "one")
    embedder = ScriptedEmbedder()
    agent = agent_of(foreign, embedder)
    with capture_logs() as logs:
        await recalled(agent)
        await recalled(agent)
        _ = [outcome async for outcome in agent.memorize_pending("b")]
    assert await contents(memory) == ["one"]
    assert (embedder.calls, foreign.put) == ([], [])
    assert [(line["event"], line["embedder"], line["configured"]) for line in logs] == [
        ("bank searched by words: it has another embedder", f"{id} ({dimensions})", f"{NAME} (2)")
    ]


async def test_dimensions_that_turn_out_wrong_leave_the_bank_to_words(memory: AsyncMemoryClient) -> None:
    foreign = VectorMemory(memory, dimensions=3)
    await foreign.ensure_bank("b")
    agent = agent_of(foreign, ScriptedEmbedder(dimensions=0))
    with capture_logs() as logs:
        assert (await recalled(agent)).search_method == WORDS
    assert [line["event"] for line in logs] == ["bank searched by words: it has another embedder"]


async def test_the_view_is_compared_with_the_chunks_vector(vectors: VectorMemory) -> None:
    await append(vectors, "one", "three")
    agent = agent_of(vectors, ScriptedEmbedder())
    _ = [outcome async for outcome in agent.memorize_pending("b")]
    sent = [view.embedding_f32_le for view in vectors.views if view.WhichOneof("view") == "relevant"]
    # The last look finds nothing pending.
    assert sent == [vector_of("one"), vector_of("three"), b""]


async def test_the_newest_memories_are_shown_without_any_vector(vectors: VectorMemory) -> None:
    await append(vectors, "one")
    embedder = ScriptedEmbedder()
    agent = agent_of(vectors, embedder, QUICK.model_copy(update={"view": "recent"}))
    outcome = await anext(agent.memorize_pending("b"))
    assert outcome.state == ChunkState.CHUNK_STATE_MEMORIZED
    assert embedder.calls == []


async def test_new_memories_get_their_vectors_after_they_are_written(vectors: VectorMemory) -> None:
    agent = agent_of(vectors, ScriptedEmbedder())
    async with working(agent):
        await agent.memorize(request("one", "three", wait=True))
        await until(lambda: len(vectors.vectors) == 2)
    assert vectors.kept() == {1: vector_of("one"), 2: vector_of("three")}


async def test_without_a_worker_vectors_come_before_waiting_ends(vectors: VectorMemory) -> None:
    await agent_of(vectors, ScriptedEmbedder()).memorize(request("one", wait=True))
    assert vectors.kept() == {1: vector_of("one")}


async def test_core_memory_and_what_was_there_before_get_vectors_too(vectors: VectorMemory) -> None:
    await write(vectors, update_core("Ann, teacher"), insert("Ann has a dog"))
    await agent_of(vectors, ScriptedEmbedder()).embed_pending("b")
    assert vectors.kept() == {0: vector_of("Ann, teacher"), 1: vector_of("Ann has a dog")}


async def test_writing_goes_on_while_the_embedder_is_away_and_vectors_follow(
    vectors: VectorMemory,
) -> None:
    embedder = ScriptedEmbedder(*[AWAY] * 1000)
    agent = agent_of(vectors, embedder)
    with capture_logs() as logs:
        async with working(agent):
            reply = await agent.memorize(request("one", "three", wait=True))
            assert [each.state for each in reply.receipts] == [ChunkState.CHUNK_STATE_MEMORIZED] * 2
            assert vectors.put == []
            embedder.errors.clear()
            await until(lambda: len(vectors.vectors) == 2)
    assert [line["event"] for line in logs] == ["embedding waits", "embedding goes on"]


async def test_a_bank_larger_than_one_batch_gets_all_its_vectors(vectors: VectorMemory) -> None:
    # 1100 memories are four batches of 256 and one of 76, more than one turn.
    for start in range(0, 1100, 550):
        await write(vectors, *(insert(f"fact {n}") for n in range(start, start + 550)))
    embedder = ScriptedEmbedder()
    await agent_of(vectors, embedder).embed_pending("b")
    assert [len(texts) for texts in embedder.calls] == [256, 256, 256, 256, 76]
    assert len(vectors.kept()) == 1100


async def test_a_memory_that_changes_while_it_is_embedded_gets_the_vector_of_its_new_text(
    vectors: VectorMemory,
) -> None:
    await write(vectors, insert("old"))
    embedder = ScriptedEmbedder()

    async def change() -> None:
        embedder.before = None
        operation = pb.Operation(
            update=pb.UpdateOperation(type=pb.MEMORY_TYPE_SEMANTIC, memory_id=1, content="newer")
        )
        await vectors.apply_operations(service_pb.ApplyOperationsRequest(bank_id="b", operations=[operation]))

    embedder.before = change
    agent = agent_of(vectors, embedder)
    await agent.embed_pending("b")
    assert vectors.results == [service_pb.PutVectorsResponse.RESULT_STALE]
    await agent.embed_pending("b")
    assert vectors.kept() == {1: vector_of("newer")}


async def test_a_text_that_is_refused_holds_up_no_other_and_is_not_tried_for_ever(
    vectors: VectorMemory,
) -> None:
    await write(vectors, insert("one"), insert("bad"), insert("three"))
    refusal = make(InvalidInputError, "EMBEDDER_REFUSED", "no")
    embedder = ScriptedEmbedder()
    embedder.refuse = lambda text: refusal if text == "bad" else None
    agent = agent_of(vectors, embedder)
    with capture_logs() as logs:
        await agent.embed_pending("b")
        await agent.embed_pending("b")
    assert vectors.kept() == {1: vector_of("one"), 3: vector_of("three")}
    # After each refusal a harmless text tells whether the texts are to blame.
    harmless = ["hello"]
    assert embedder.calls == [["one", "bad", "three"], harmless, ["one"], ["bad"], harmless, ["three"]]
    assert [line["memory_id"] for line in logs] == [2]


async def test_an_embedder_that_refuses_everything_is_away_and_no_text_is_to_blame(
    vectors: VectorMemory,
) -> None:
    await write(vectors, insert("one"), insert("three"))
    embedder = ScriptedEmbedder()
    embedder.refuse = lambda _: make(InvalidInputError, "EMBEDDER_REFUSED", "no such model")
    agent = agent_of(vectors, embedder)
    with capture_logs() as logs:
        await agent.embed_pending("b")
    assert [line["reason"] for line in logs] == ["EMBEDDER_REFUSES_ALL"]
    embedder.refuse = lambda _: None
    await asyncio.sleep(0.02)  # longer than the longest pause
    await agent.embed_pending("b")
    assert len(vectors.kept()) == 2


async def test_a_bank_whose_embedder_changed_meanwhile_is_left_alone(vectors: VectorMemory) -> None:
    await write(vectors, insert("one"))
    embedder = ScriptedEmbedder()

    async def change() -> None:
        other = pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id="other-1", dimensions=2)
        await vectors.set_embedder("b", other)

    embedder.before = change
    with capture_logs() as logs:
        await agent_of(vectors, embedder).embed_pending("b")
    assert (vectors.kept(), logs) == ({}, [])


@pytest.mark.parametrize("error", [AWAY, make(BusyError, "OVERLOADED", "busy")])
async def test_an_outage_of_the_memory_is_waited_out(vectors: VectorMemory, error: MemalphaError) -> None:
    await write(vectors, insert("one"))
    vectors.errors = [error, error]
    stop = asyncio.Event()
    backfill = Backfill(vectors, Vectors(ScriptedEmbedder(), QUICK), QUICK)
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(backfill.run(stop))
            await until(lambda: bool(vectors.vectors))
            stop.set()
    assert logs[0]["event"] == "embedding waits"
    assert vectors.errors == []


async def test_stopping_does_not_wait_for_a_slow_embedder(vectors: VectorMemory) -> None:
    await write(vectors, insert("one"))
    embedder = ScriptedEmbedder()
    embedder.delay = 60
    async with asyncio.timeout(5), working(agent_of(vectors, embedder)):
        await until(lambda: bool(embedder.calls))
    assert vectors.put == []


async def test_a_bug_in_the_embedder_ends_the_worker_loudly(vectors: VectorMemory) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    await write(vectors, insert("one"))
    embedder = ScriptedEmbedder()
    embedder.before = broken
    with pytest.raises(ExceptionGroup) as caught:
        await agent_of(vectors, embedder).run_worker(asyncio.Event())
    assert caught.group_contains(ZeroDivisionError)


async def test_a_bank_that_is_deleted_meanwhile_is_no_outage(vectors: VectorMemory) -> None:
    await write(vectors, insert("one"), bank="a")
    await write(vectors, insert("three"), bank="b")
    embedder = ScriptedEmbedder()

    async def delete() -> None:
        embedder.before = None
        await vectors.delete_bank("a")

    embedder.before = delete
    with capture_logs() as logs:
        async with working(agent_of(vectors, embedder)):
            await until(lambda: bool(vectors.kept("b")))
    assert logs == []


async def test_new_banks_have_the_configured_embedder(vectors: VectorMemory) -> None:
    await agent_of(vectors, ScriptedEmbedder(dimensions=0)).memorize(request("one"))
    assert [each.embedder for each in vectors.created_with if each] == [vectors.embedder]


async def test_new_banks_have_no_vectors_if_they_are_switched_off(vectors: VectorMemory) -> None:
    await agent_of(vectors, None, QUICK.model_copy(update={"vectors": False})).memorize(request("one"))
    none = pb.Embedder(kind=pb.EMBEDDER_KIND_NONE)
    assert [each.embedder for each in vectors.created_with if each] == [none]


async def test_an_old_bank_is_written_although_the_embedder_was_never_there(vectors: VectorMemory) -> None:
    await vectors.ensure_bank("b")
    agent = agent_of(vectors, ScriptedEmbedder(*[AWAY] * 99, dimensions=0))
    reply = await agent.memorize(request("one", wait=True))
    assert [each.state for each in reply.receipts] == [ChunkState.CHUNK_STATE_MEMORIZED]


@pytest.mark.skipif(not hasattr(memcore.Bank, "put_vectors"), reason="this memcore takes no vectors yet")
async def test_a_real_memory_is_searched_by_the_vectors_that_the_agent_hands_over(
    memory: AsyncMemoryClient,
) -> None:
    agent = Agent(memory, ScriptedPolicy(keep_all), QUICK, ScriptedEmbedder())
    async with working(agent):
        await agent.memorize(request("x", "yyyyyyyyyyyyyyyyyyyy", wait=True))
        async with asyncio.timeout(10):
            while (await memory.get_bank("b")).stats.unembedded_count:
                await asyncio.sleep(0.01)
    # No word in common: only the vector (20, 1) finds (20, 1) before (1, 1).
    reply = await recalled(agent, "z" * 20)
    assert reply.search_method == HYBRID
    assert reply.hits[0].memory.content == "yyyyyyyyyyyyyyyyyyyy"
    assert reply.hits[0].vector_rank == 1
    assert not reply.hits[0].HasField("words_rank")
