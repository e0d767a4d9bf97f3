import pytest

from memalpha.agent.loop import ChunkOutcome, Memorizer, PolicyOutage
from memalpha.agent.prompts import PromptView
from memalpha.agent.settings import AgentSettings
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState
from memalpha.api.memory.v1alpha1.memory_pb2 import BankEvent, BankSettings, OperationError
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    ApplyOperationsRequest,
    ApplyOperationsResponse,
    ParkedChunkAction,
)
from memalpha.client import AsyncMemoryClient
from memalpha.errors import (
    BusyError,
    ConflictError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
    make,
)

from .support import (
    CORE,
    QUICK,
    ScriptedPolicy,
    append,
    contents,
    delete,
    insert,
    keep_all,
    memories,
    update,
    update_core,
    write,
)


async def memorized(
    memory: AsyncMemoryClient, policy: ScriptedPolicy, settings: AgentSettings = QUICK
) -> ChunkOutcome | None:
    return await Memorizer(memory, policy, settings).next_chunk("b")


def reasons(outcome: ChunkOutcome | None) -> list[str]:
    assert outcome is not None
    return [
        OperationError.Reason.Name(result.error.reason) if result.HasField("error") else "done"
        for result in outcome.results
    ]


async def moves(memory: AsyncMemoryClient) -> list[BankEvent]:
    return [event async for event in memory.events("b") if event.WhichOneof("event") == "cursor_moved"]


async def test_a_chunk_becomes_memories_that_know_where_they_come_from(memory: AsyncMemoryClient) -> None:
    await append(memory, "Ann: I have a dog", "Ann: Bye")
    policy = ScriptedPolicy([insert("Ann has a dog"), update_core("Ann")])
    outcome = await memorized(memory, policy)
    assert outcome is not None
    assert outcome.state == ChunkState.CHUNK_STATE_MEMORIZED
    assert (outcome.chunk.chunk_id, outcome.pending_chunks) == ("c0", 1)
    (kept,) = await memories(memory)
    assert (kept.provenance.chunk_id, kept.provenance.chunk_position) == ("c0", 0)
    assert (kept.provenance.writer.policy_id, kept.provenance.writer.policy_version) == ("scripted-1", 7)
    assert kept.provenance.writer.prompt_digest == outcome.prompt.digest
    assert [each.content async for each in memory.memories("b", CORE)] == ["Ann"]


async def test_the_raw_output_and_refused_calls_are_kept_in_the_history(memory: AsyncMemoryClient) -> None:
    await append(memory, "x")
    text = 'I think… <tool_call>{"name": "forget", "arguments": {}}</tool_call> <tool_call>oops</tool_call>'
    outcome = await memorized(memory, ScriptedPolicy(text))
    assert reasons(outcome) == ["REASON_MALFORMED_CALL", "REASON_MALFORMED_CALL"]
    (move,) = await moves(memory)
    assert move.cursor_moved.raw_output.text == text


async def test_nothing_pending_is_no_outcome(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b")
    policy = ScriptedPolicy("")
    assert await memorized(memory, policy) is None
    assert policy.seen == []


async def test_a_policy_that_writes_nothing_moves_on(memory: AsyncMemoryClient) -> None:
    await append(memory, "Ann: Hello!")
    outcome = await memorized(memory, ScriptedPolicy(""))
    assert reasons(outcome) == []
    assert (await memory.get_bank("b")).cursor == 1


async def test_aliases_lead_back_to_the_memories_that_were_shown(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("Ann likes coffee"), insert("Ann moved", kind="episodic_memory"))
    await append(memory, "Ann: coffee? I prefer tea now, since I moved")
    policy = ScriptedPolicy(
        [update("a", "Ann likes tea"), delete("b", kind="episodic_memory"), update("z", "x")]
    )
    outcome = await memorized(memory, policy)
    assert reasons(outcome) == ["done", "done", "REASON_NOT_IN_VIEW"]
    assert await contents(memory) == ["Ann likes tea"]


async def test_another_writer_between_view_and_record_makes_the_chunk_be_read_again(
    memory: AsyncMemoryClient,
) -> None:
    await append(memory, "Ann: my dog is called Rex")
    interfered = False

    async def interfere(view: PromptView) -> None:
        nonlocal interfered
        if not interfered:
            interfered = True
            await write(memory, insert("Ann has a dog"))

    def decide(view: PromptView) -> list:
        return [update("a", "Ann's dog is called Rex")] if view.semantic else [insert("a dog called Rex")]

    policy = ScriptedPolicy(decide, before=interfere)
    await memorized(memory, policy)
    # The first decision, made without the other writer's memory, left no trace.
    assert [len(view.semantic) for view in policy.seen] == [0, 1]
    assert await contents(memory) == ["Ann's dog is called Rex"]
    assert len(await moves(memory)) == 1


async def test_a_record_names_the_very_bank_and_state_it_was_decided_on(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    bank = await memory.get_bank("b")
    sent: list[ApplyOperationsRequest] = []

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(memory, name)

        async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
            sent.append(request)
            return await memory.apply_operations(request)

    await Memorizer(Spy(), ScriptedPolicy(""), QUICK).next_chunk("b")  # type: ignore[arg-type]
    assert (sent[0].bank_uid, sent[0].cursor_token) == (bank.bank_uid, bank.cursor_token)
    assert (sent[0].memory_revision, sent[0].advance_to) == (bank.memory_revision, 1)


async def test_chunks_appended_meanwhile_are_no_conflict(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    policy = ScriptedPolicy(keep_all, before=lambda view: append(memory, "one", "two"))
    await memorized(memory, policy)
    assert len(policy.seen) == 1
    assert await contents(memory) == ["one"]


async def test_a_bank_that_was_created_anew_meanwhile_is_read_again(memory: AsyncMemoryClient) -> None:
    await append(memory, "old text")
    replaced = False

    async def replace(view: PromptView) -> None:
        nonlocal replaced
        if not replaced:
            replaced = True
            await memory.delete_bank("b")
            await append(memory, "new text")

    await memorized(memory, ScriptedPolicy(keep_all, before=replace))
    assert await contents(memory) == ["new text"]


async def test_two_workers_on_one_bank_memorize_each_chunk_once(memory: AsyncMemoryClient) -> None:
    await append(memory, "one", "two")
    other = ScriptedPolicy(keep_all)
    stolen = False

    async def steal(view: PromptView) -> None:
        nonlocal stolen
        if not stolen:
            stolen = True
            await memorized(memory, other)

    outcome = await memorized(memory, ScriptedPolicy(keep_all, before=steal))
    assert outcome is not None
    assert outcome.chunk.chunk_id == "c1"
    assert await contents(memory) == ["one", "two"]


async def test_after_its_attempts_a_contested_chunk_stays_pending(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    policy = ScriptedPolicy(keep_all, before=lambda view: write(memory, insert(f"n{len(policy.seen)}")))
    settings = QUICK.model_copy(update={"attempts": 3})
    with pytest.raises(ConflictError):
        await memorized(memory, policy, settings)
    assert len(policy.seen) == 3
    assert (await memory.get_bank("b")).cursor == 0


@pytest.mark.parametrize("error", [UnavailableError, BusyError])
async def test_an_outage_of_the_policy_is_not_the_chunks_fault(
    memory: AsyncMemoryClient, error: type
) -> None:
    await append(memory, "one")
    with pytest.raises(PolicyOutage):
        await memorized(memory, ScriptedPolicy(make(error, "AWAY", "away")))
    bank = await memory.get_bank("b")
    assert (bank.cursor, bank.failures.count) == (0, 0)


async def test_an_unknown_wire_format_is_the_policys_fault(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    with pytest.raises(PolicyOutage, match="wire_format"):
        await memorized(memory, ScriptedPolicy("", wire_format="morse"))


@pytest.mark.parametrize("error", [InvalidInputError, OutOfRangeError, InternalError])
async def test_a_refused_prompt_counts_as_the_chunks_failure(memory: AsyncMemoryClient, error: type) -> None:
    await append(memory, "one")
    outcome = await memorized(memory, ScriptedPolicy(make(error, "NO", "no such thing")))
    assert outcome is not None
    assert (outcome.state, outcome.failure) == (ChunkState.CHUNK_STATE_PENDING, "no such thing")
    failures = (await memory.get_bank("b")).failures
    assert (failures.count, failures.message, failures.parked) == (1, "no such thing", False)


async def test_a_chunk_that_fails_too_often_is_parked_and_can_be_retried_or_skipped(
    memory: AsyncMemoryClient,
) -> None:
    await memory.create_bank("b", BankSettings(max_chunk_failures=2))
    await append(memory, "bad", "good")
    broken = ScriptedPolicy(make(InternalError, "CRASHED", "crashed"))
    states = [outcome.state for outcome in [await memorized(memory, broken) for _ in range(2)] if outcome]
    assert states == [ChunkState.CHUNK_STATE_PENDING, ChunkState.CHUNK_STATE_PARKED]
    working = ScriptedPolicy(keep_all)
    assert await memorized(memory, working) is None

    await memory.resolve_parked_chunk("b", ParkedChunkAction.PARKED_CHUNK_ACTION_RETRY)
    for _ in range(2):
        await memorized(memory, broken)
    await memory.resolve_parked_chunk("b", ParkedChunkAction.PARKED_CHUNK_ACTION_SKIP)
    await memorized(memory, working)
    assert await contents(memory) == ["good"]


async def test_a_prompt_that_is_too_long_is_shown_fewer_memories(memory: AsyncMemoryClient) -> None:
    await write(memory, *(insert(f"fact {n} about the dog " + "and so on " * 60) for n in range(8)))
    await append(memory, "the dog")
    settings = QUICK.model_copy(update={"semantic": 8, "episodic": 8})
    all_shown, fewer = ScriptedPolicy(""), ScriptedPolicy("", max_context_tokens=2000)
    await Memorizer(memory, all_shown, settings).next_chunk("b")
    await append(memory, "the dog", "the dog again")
    await Memorizer(memory, fewer, settings).next_chunk("b")
    assert len(all_shown.seen[0].semantic) == 8
    # 8 memories of some 190 tokens do not fit beside the instructions; 8 is halved until they do.
    assert len(fewer.seen[0].semantic) in (4, 2, 1)


async def test_a_policy_that_finds_the_prompt_too_long_is_asked_with_a_smaller_view(
    memory: AsyncMemoryClient,
) -> None:
    await write(memory, *(insert(f"dog {n}") for n in range(3)))
    await append(memory, "dog")
    policy = ScriptedPolicy(make(OutOfRangeError, "PROMPT_TOO_LONG", "too long"), "")
    settings = QUICK.model_copy(update={"semantic": 3, "episodic": 0})
    outcome = await memorized(memory, policy, settings)
    assert outcome is not None
    assert outcome.state == ChunkState.CHUNK_STATE_MEMORIZED
    assert [len(view.semantic) for view in policy.seen] == [3, 1]


async def test_a_chunk_that_fits_with_no_view_fails_and_says_by_how_much(memory: AsyncMemoryClient) -> None:
    await append(memory, "word " * 900)
    policy = ScriptedPolicy("", max_context_tokens=1000)
    outcome = await memorized(memory, policy)
    assert outcome is not None
    # A quarter of the context is kept for the answer.
    assert outcome.failure.startswith("prompt must have at most 750 tokens")
    assert policy.seen == []


async def test_the_recent_view_shows_the_newest(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("dog one"), insert("dog two"), insert("cat"))
    await append(memory, "dog")
    recent, relevant = ScriptedPolicy(""), ScriptedPolicy("")
    sizes = {"semantic": 2, "episodic": 0}
    await memorized(memory, relevant, QUICK.model_copy(update=sizes))
    await append(memory, "dog", "dog again")
    await memorized(memory, recent, QUICK.model_copy(update={**sizes, "view": "recent"}))
    assert [item.content for item in relevant.seen[0].semantic] == ["dog one", "dog two"]
    assert [item.content for item in recent.seen[0].semantic] == ["dog two", "cat"]


async def test_a_bank_that_does_not_exist_is_an_error(memory: AsyncMemoryClient) -> None:
    with pytest.raises(NotFoundError):
        await memorized(memory, ScriptedPolicy(""))


async def test_a_policy_is_told_how_much_it_may_write(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    policy = ScriptedPolicy("")
    await memorized(memory, policy)
    assert policy.requests[0].sampling.max_tokens == 2048
