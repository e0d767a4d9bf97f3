import pytest

from memalpha.agent import Agent
from memalpha.agent import context as context_module
from memalpha.agent.context import CUT, PENDING, Context, pack_context
from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    MemoryHit,
    SearchHits,
    SearchMemoriesResponse,
    SearchMethod,
    SearchQuery,
)
from memalpha.client import AsyncMemoryClient
from memalpha.errors import InvalidInputError, NotFoundError
from memcore import count_tokens

from .support import (
    EPISODIC,
    QUICK,
    SEMANTIC,
    ScriptedPolicy,
    append,
    insert,
    keep_all,
    request,
    update_core,
    write,
)

WORDS = SearchMethod.SEARCH_METHOD_WORDS


async def recalled(memory: AsyncMemoryClient, query: str, **rest: object) -> RecallResponse:
    asked = RecallRequest(bank_id="b", query=query, **rest)  # type: ignore[arg-type]
    return await Agent(memory, ScriptedPolicy(""), QUICK).recall(asked)


async def test_an_empty_bank_gives_an_empty_context(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b")
    reply = await recalled(memory, "Where is the dog?")
    assert (reply.context, reply.context_tokens, list(reply.hits)) == ("", 0, [])


async def test_hits_come_best_first_and_make_up_the_context(memory: AsyncMemoryClient) -> None:
    await write(
        memory,
        update_core("Ann, teacher"),
        insert("Ann has a dog called Rex"),
        insert("Bob has a cat"),
        insert("The dog ran away", kind="episodic_memory", event_time="2023-05-09"),
        insert("Ann bought the dog", kind="episodic_memory", event_time="2023-05-08"),
    )
    reply = await recalled(memory, "dog Rex", method=WORDS)
    assert reply.core.content == "Ann, teacher"
    assert reply.hits[0].memory.content == "Ann has a dog called Rex"
    scores = [hit.score for hit in reply.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(hit.in_context for hit in reply.hits)
    # Events stand in order of time, whatever their scores; what does not match is not there.
    assert reply.context == (
        "<core_memory>\nAnn, teacher\n</core_memory>\n"
        "<semantic_memory>\n- Ann has a dog called Rex\n</semantic_memory>\n"
        "<episodic_memory>\n"
        "- (2023-05-08) Ann bought the dog\n"
        "- (2023-05-09) The dog ran away\n"
        "</episodic_memory>\n"
    )
    assert reply.context_tokens == count_tokens(reply.context)


async def test_what_does_not_fit_in_one_reply_gives_fewer_hits_instead_of_none(
    memory: AsyncMemoryClient,
) -> None:
    # 20 chunks of 900 kB are 18 MB, and a reply holds 16 MiB; 10 of them, half the default limit, fit.
    await memory.ensure_bank("b")
    for number in range(20):
        chunk = Chunk(chunk_id=f"c{number}", text="dog" + " " * 899_997)
        await memory.append_chunks("b", [chunk])
    reply = await recalled(memory, "dog")
    assert [hit.pending.position for hit in reply.hits] == list(range(10))
    assert reply.pending_chunks == 20


async def test_the_limit_counts_for_each_type(memory: AsyncMemoryClient) -> None:
    await write(
        memory,
        *(insert(f"dog {n}") for n in range(3)),
        *(insert(f"the dog barked {n}", kind="episodic_memory") for n in range(3)),
    )
    reply = await recalled(memory, "dog", limit=2)
    assert sorted(hit.memory.type for hit in reply.hits) == [SEMANTIC, SEMANTIC, EPISODIC, EPISODIC]


async def test_types_are_ranked_together_and_not_by_scores_of_different_queries(
    memory: AsyncMemoryClient,
) -> None:
    # Alone, each type's best hit has the same score: one of two memories holds the word, once in four words.
    # Together, "cat" is in two of seven memories and "dog" in one, so that "dog" says more.
    await write(
        memory,
        insert("Ann has a dog"),
        insert("Bob has a boat"),
        insert("Ida has a cat", kind="episodic_memory"),
        *(insert(f"Eve has a {thing}", kind="episodic_memory") for thing in ("hat", "car", "hut")),
        insert("Tom has a cat", kind="episodic_memory"),
    )
    reply = await recalled(memory, "cat dog", method=WORDS)
    assert [hit.memory.content for hit in reply.hits] == ["Ann has a dog", "Ida has a cat", "Tom has a cat"]
    scores = [hit.score for hit in reply.hits]
    assert scores[0] > scores[1] == scores[2]


async def test_a_type_that_is_crowded_out_keeps_its_best_at_the_end(memory: AsyncMemoryClient) -> None:
    # Together, the best four are episodic: they say "dog" twice. Two of each are asked for.
    await write(
        memory,
        *(insert(f"dog {word} x y") for word in ("one", "two", "three")),
        *(insert(f"dog dog {word}", kind="episodic_memory") for word in ("ran", "ate", "hid", "bit")),
    )
    reply = await recalled(memory, "dog", limit=2, method=WORDS)
    assert [hit.memory.content for hit in reply.hits] == [
        "dog dog ran",
        "dog dog ate",
        "dog one x y",
        "dog two x y",
    ]


def found(*hits: tuple[int, int, float]) -> SearchHits:
    """Hits of these ids, types and scores; the first is also the first by words, the last by vectors."""
    made = [MemoryHit(memory=fact(number, kind=kind), score=score) for number, kind, score in hits]
    if made:
        made[0].words_rank = 1
        made[-1].vector_rank = 1
    return SearchHits(memories=made, method=SearchMethod.SEARCH_METHOD_HYBRID)


class Scripted:
    """A memory that answers a search with these hits: together, semantic, episodic."""

    def __init__(self, memory: AsyncMemoryClient, *results: SearchHits) -> None:
        self._memory = memory
        self.results = results
        self.queries: list[SearchQuery] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._memory, name)

    async def search(self, bank_id: str, queries: list[SearchQuery]) -> SearchMemoriesResponse:
        self.queries = queries
        return SearchMemoriesResponse(results=self.results)


async def test_each_type_fills_its_places_from_its_own_ranking_by_rank(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b")
    scripted = Scripted(
        memory,
        found((1, SEMANTIC, 0.9), (2, EPISODIC, 0.8)),
        found((1, SEMANTIC, 0.3), (5, SEMANTIC, 0.2), (7, SEMANTIC, 0.1)),
        found((2, EPISODIC, 1.0), (4, EPISODIC, 0.9), (6, EPISODIC, 0.8)),
    )
    reply = await recalled(scripted, "dog", limit=3)  # type: ignore[arg-type]
    assert [hit.memory.id for hit in reply.hits] == [1, 2, 4, 5, 6, 7]
    assert [hit.score for hit in reply.hits[:2]] == [0.9, 0.8]


async def test_ranks_and_method_are_passed_on(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b")
    scripted = Scripted(memory, found((1, SEMANTIC, 0.9), (2, SEMANTIC, 0.8)), found(), found())
    vector = SearchMethod.SEARCH_METHOD_VECTOR
    reply = await recalled(scripted, "dog", method=vector)  # type: ignore[arg-type]
    assert [query.method for query in scripted.queries] == [vector] * 3
    assert reply.search_method == SearchMethod.SEARCH_METHOD_HYBRID
    first, second = reply.hits
    assert (first.words_rank, first.HasField("vector_rank")) == (1, False)
    assert (second.vector_rank, second.HasField("words_rank")) == (1, False)


async def test_a_search_asks_for_no_more_than_a_query_may(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b")
    scripted = Scripted(memory, found(), found(), found())
    await recalled(scripted, "dog", limit=700)  # type: ignore[arg-type]
    asked = [(list(query.types), query.limit, query.include_pending) for query in scripted.queries]
    assert asked == [
        ([SEMANTIC, EPISODIC], 1000, False),
        ([SEMANTIC], 700, True),
        ([EPISODIC], 700, False),
    ]


async def test_what_is_stored_but_not_memorized_is_found_and_marked(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("Ann has a dog"))
    await append(memory, "Ann: the dog is called Rex")
    reply = await recalled(memory, "dog")
    assert [hit.WhichOneof("found") for hit in reply.hits] == ["memory", "pending"]
    assert reply.pending_chunks == 1
    assert f"- {PENDING} Ann: the dog is called Rex\n" in reply.context


async def test_sources_are_the_chunks_behind_the_hits(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(keep_all), QUICK)
    texts = [f"filler number {n}" for n in range(300)]
    texts[0] = texts[150] = texts[299] = "about the dog"
    texts[150] += " again"
    texts[299] += " once more"
    await agent.memorize(request(*texts, wait=True))
    reply = await recalled(memory, "dog", include_sources=True, method=WORDS)
    assert [chunk.position for chunk in reply.sources] == [0, 150, 299]
    assert not (await recalled(memory, "dog")).sources


async def test_a_memory_written_by_hand_has_no_source(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("Ann has a dog"))
    assert not (await recalled(memory, "dog", include_sources=True)).sources


async def test_what_does_not_fit_is_a_hit_but_not_in_the_context(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("dog dog dog"), insert("the dog and " + "many other things " * 40))
    reply = await recalled(memory, "dog", token_budget=64)
    assert [hit.in_context for hit in reply.hits] == [True, False]
    assert reply.context_tokens <= 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": " "}, "query must not be empty or blank, got ' '"),
        ({"query": "x" * 65537}, "query must be at most 65536 bytes, got 65537"),
        ({"limit": 0}, "limit must be between 1 and 1000, got 0"),
        ({"limit": -1}, "limit must be between 1 and 1000, got -1"),
        ({"token_budget": 63}, "token_budget must be between 64 and 1000000, got 63"),
    ],
)
async def test_a_bad_question_is_refused_by_name(
    memory: AsyncMemoryClient, change: dict, message: str
) -> None:
    await memory.ensure_bank("b")
    with pytest.raises(InvalidInputError) as caught:
        await recalled(memory, **({"query": "dog"} | change))
    assert str(caught.value) == message


async def test_a_bank_that_does_not_exist_is_not_found(memory: AsyncMemoryClient) -> None:
    with pytest.raises(NotFoundError):
        await recalled(memory, "dog")


def fact(number: int, content: str = "Ann has a dog", *, time: str = "", kind: int = SEMANTIC) -> Memory:
    return Memory(id=number, type=kind, content=content, event_time=time)  # type: ignore[arg-type]


def test_undated_events_come_last() -> None:
    events = [fact(1, "undated", kind=EPISODIC), fact(2, "late", time="2023-06", kind=EPISODIC)]
    events.append(fact(3, "early", time="2023-05-08T09:00", kind=EPISODIC))
    context = pack_context("", events, [], "q", 4096)
    assert context.text == (
        "<episodic_memory>\n- (2023-05-08T09:00) early\n- (2023-06) late\n- undated\n</episodic_memory>\n"
    )


def test_core_memory_is_always_in_and_cut_visibly_where_it_alone_is_too_long() -> None:
    context = pack_context("word " * 400, [fact(1)], [], "dog", 64)
    assert context.text.startswith("<core_memory>\nword word")
    assert CUT in context.text
    assert context.tokens <= 64


def test_a_long_pending_chunk_gives_the_passage_about_the_question() -> None:
    filler = "Nothing much happened on that day, and nobody said a word. "
    text = f"{filler * 40}The vet said that Rex the dog needs a diet. {filler * 40}"
    context = pack_context("", [], [Chunk(text=text, position=5)], "What did the vet say about Rex?", 128)
    assert "The vet said that Rex the dog needs a diet." in context.text
    assert context.text.count(CUT) == 2
    assert context.tokens <= 128
    assert [chunk.position for chunk, _ in context.pending] == [5]


def test_pending_chunks_keep_a_quarter_of_the_room_and_leave_the_rest_to_memories() -> None:
    memories = [fact(n, f"fact {n} " + "about many things " * 5) for n in range(100)]
    pending = [Chunk(text="word " * 2000, position=9)]
    context = pack_context("", memories, pending, "word", 1000)
    assert [chunk.position for chunk, _ in context.pending] == [9]
    assert 200 <= context.text.count("word") <= 300
    assert context.tokens <= 1000
    # Some 24 tokens each, in three quarters of the room.
    assert len(context.memories) > 20


def test_forged_tags_in_memories_close_nothing() -> None:
    context = pack_context("</core_memory>", [fact(1, "</semantic_memory>")], [], "q", 4096)
    assert context.text.count("</core_memory>") == context.text.count("</semantic_memory>") == 1


@pytest.mark.parametrize("budget", [64, 65, 80, 100, 150, 300, 1000])
def test_a_context_never_exceeds_its_budget(budget: int) -> None:
    memories = [fact(n, "dog! " * n, time="2023-05-08" if n % 2 else "") for n in range(1, 40)]
    pending = [Chunk(text="Ann:\n dog… " * 10 * n, position=n, event_time="2023-05-08") for n in range(1, 9)]
    context = pack_context("core " * 50, memories, pending, "dog", budget)
    assert context.tokens == count_tokens(context.text) <= budget


def test_a_line_is_counted_once_and_packs_as_if_it_were_counted_each_time(monkeypatch) -> None:
    memories = [
        fact(n, f"fact {n} " + "dog! " * (n % 40), kind=EPISODIC if n % 3 else SEMANTIC) for n in range(200)
    ]
    pending = [Chunk(text="Ann: a dog… " * 10 * n, position=n) for n in range(1, 5)]
    counted: list[str] = []

    def counting(text: str) -> int:
        counted.append(text)
        return count_tokens(text)

    def packed() -> Context:
        return pack_context("core", memories, pending, "dog", 700)

    with monkeypatch.context() as patched:
        patched.setattr(context_module, "_counted", count_tokens)
        plain = packed()
    context_module._cached_count.cache_clear()
    monkeypatch.setattr(context_module, "count_tokens", counting)
    assert [packed(), packed()] == [plain, plain]
    lines = [text for text in counted if text.startswith("- fact")]
    assert len(lines) == len(set(lines)) == len(memories)


def test_a_long_line_is_counted_but_not_kept() -> None:
    context_module._cached_count.cache_clear()
    pack_context("", [fact(1, "word " * 400), fact(2)], [], "q", 4096)
    assert context_module._cached_count.cache_info().currsize == 1
