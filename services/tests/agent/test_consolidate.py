from collections.abc import Awaitable, Callable, Sequence

import pytest

from memalpha.agent import Agent, AgentSettings, preset
from memalpha.agent.consolidate import Consolidator
from memalpha.agent.operations import operations
from memalpha.agent.prompts import PromptView, read_consolidation
from memalpha.agent.protocols import Completion
from memalpha.agent.tools import ToolCall
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ConsolidateRequest, ConsolidateResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest, ApplyOperationsResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    TrainedWith,
    Usage,
)
from memalpha.client import AsyncMemoryClient
from memalpha.errors import (
    BusyError,
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
    UnsupportedError,
    make,
)

from .support import (
    CORE,
    HERMES,
    QUICK,
    SEMANTIC,
    PlainPolicy,
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

Step = str | MemalphaError | Sequence[ToolCall] | Callable[[PromptView], Sequence[ToolCall]]


class Librarian:
    """Answers with one step after the other, the last one repeated; `before` runs while it thinks."""

    def __init__(
        self,
        *script: Step,
        before: Callable[[], Awaitable[None]] | None = None,
        finish: FinishReason.ValueType = FinishReason.FINISH_REASON_STOP,
        max_context_tokens: int = 0,
    ) -> None:
        self.seen: list[PromptView] = []
        self._script, self._before, self._finish = list(script), before, finish
        self._description = GetPolicyResponse(
            policy=PolicyIdentity(policy_id="librarian-1", policy_version=3),
            wire_format="hermes",
            max_context_tokens=max_context_tokens,
        )

    async def generate(self, request: GenerateRequest) -> Completion:
        view = read_consolidation(request.chat.messages[-1].content)
        assert view is not None
        self.seen.append(view)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if self._before is not None:
            await self._before()
        if isinstance(step, MemalphaError):
            raise step
        text = step if isinstance(step, str) else HERMES.render(step(view) if callable(step) else step)
        return Completion(text, self._finish, self._description.policy, Usage(completion_tokens=9))

    async def describe(self) -> GetPolicyResponse:
        return self._description


async def consolidated(
    memory: AsyncMemoryClient,
    policy: Librarian | PlainPolicy,
    settings: AgentSettings = QUICK,
    *,
    dry_run: bool = False,
    max_pieces: int | None = None,
    start: int = 0,
) -> list[ConsolidateResponse]:
    request = ConsolidateRequest(bank_id="b", dry_run=dry_run, max_pieces=max_pieces, start_memory_id=start)
    return [piece async for piece in Consolidator(memory, policy, settings).consolidate(request)]


def outline(pieces: Sequence[ConsolidateResponse]) -> list[tuple]:
    """What pieces say, without the ids, times and revisions that only a real record has."""
    return [
        (
            list(piece.memory_ids),
            piece.refused,
            [
                (
                    change.operation,
                    change.before.content,
                    change.result.memory.content,
                    change.result.memory.token_count,
                    change.result.error.reason,
                )
                for change in piece.changes
            ],
        )
        for piece in pieces
    ]


async def by_hand(memory: AsyncMemoryClient, call: ToolCall, memory_id: int) -> None:
    """What a person does to the semantic memory that a call names `x`."""
    edit = operations([call], {"x": (SEMANTIC, memory_id)})
    await memory.apply_operations(ApplyOperationsRequest(bank_id="b", operations=edit))


MERGE = [update("a", "Ann has a dog named Biscuit"), delete("b")]


async def two_dogs(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("Ann has a dog"), insert("Ann's dog is named Biscuit"))


async def test_a_piece_is_changed_in_one_record_that_says_who_chose_it(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    before = await memory.get_bank("b")
    (piece,) = await consolidated(memory, Librarian(MERGE))
    assert await contents(memory) == ["Ann has a dog named Biscuit"]
    after = await memory.get_bank("b")
    assert (after.revision, piece.revision) == (before.revision + 1, before.revision + 1)
    assert [change.before.content for change in piece.changes] == [
        "Ann has a dog",
        "Ann's dog is named Biscuit",
    ]
    assert (list(piece.memory_ids), piece.refused, piece.next_memory_id) == ([1, 2], "", 0)
    (kept,) = await memories(memory)
    writer = kept.provenance.writer
    assert (writer.policy_id, writer.policy_version, len(writer.prompt_digest)) == ("librarian-1", 3, 64)
    assert writer.prompt_digest == piece.prompt_digest
    assert not kept.provenance.chunk_id


async def test_chunks_that_wait_are_memorized_as_before(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    await append(memory, "Ann: hi")
    await consolidated(memory, Librarian(MERGE))
    bank = await memory.get_bank("b")
    assert (bank.cursor, bank.stats.pending_chunks) == (0, 1)
    async for _ in Agent(memory, ScriptedPolicy(keep_all), QUICK).memorize_pending("b"):
        pass
    assert await contents(memory) == ["Ann has a dog named Biscuit", "Ann: hi"]


@pytest.mark.parametrize(
    "calls",
    [
        MERGE,
        [insert("Ann has a dog named Biscuit"), delete("a"), delete("b")],
        [update("a", "x"), update("a", "y"), delete("b"), update_core("Ann, of the dog")],
        [],
        # Refused: the merged text is there already, the memory is not shown, the text is no call.
        [update("a", "Ann's dog is named Biscuit"), delete("b")],
        [delete("a"), delete("z")],
        [delete("a"), delete("b")],
        "<tool_call>oops</tool_call>",
    ],
)
async def test_a_dry_run_writes_nothing_and_says_what_a_real_one_does(
    memory: AsyncMemoryClient, calls: Step
) -> None:
    await two_dogs(memory)
    before, held = await memory.get_bank("b"), await memories(memory)
    foreseen = await consolidated(memory, Librarian(calls), dry_run=True)
    assert await memory.get_bank("b") == before
    assert await memories(memory) == held
    assert [piece.revision for piece in foreseen] == [before.revision]
    done = await consolidated(memory, Librarian(calls))
    assert outline(foreseen) == outline(done)
    # The control: without `dry_run` the very same calls do write, unless they are refused.
    changes = any(piece.changes and not piece.refused for piece in done)
    assert ((await memory.get_bank("b")).revision > before.revision) == changes
    assert (await memories(memory) != held) == changes


async def test_a_dry_run_shows_the_next_piece_what_the_one_before_would_leave(
    memory: AsyncMemoryClient,
) -> None:
    await write(memory, *(insert(f"Ann has {animal}") for animal in ("a dog", "a dog!", "a dog?", "a dog…")))
    settings = QUICK.model_copy(update={"piece": 2})
    policy = Librarian([update_core("Ann")], [])
    await consolidated(memory, policy, settings, dry_run=True)
    assert [view.core for view in policy.seen] == ["", "Ann"]
    assert not [each.content async for each in memory.memories("b", CORE) if each.content]


async def test_core_memory_that_would_be_cut_is_said_to_be(memory: AsyncMemoryClient) -> None:
    await memory.ensure_bank("b", BankSettings(core_token_limit=4))
    await two_dogs(memory)
    long = "Ann, of the dog, the cat and the lake"
    for dry_run in (True, False):
        (piece,) = await consolidated(memory, Librarian([update_core(long)]), dry_run=dry_run)
        assert piece.changes[0].result.truncated
    (piece,) = await consolidated(memory, Librarian([update_core("Ann")]), dry_run=True)
    assert not piece.changes[0].result.truncated


async def test_one_bad_call_undoes_the_whole_piece(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    revision = (await memory.get_bank("b")).revision
    (piece,) = await consolidated(memory, Librarian([*MERGE, delete("c")]))
    assert await contents(memory) == ["Ann has a dog", "Ann's dog is named Biscuit"]
    assert "memory_id must be one of those shown, not 'c'" in piece.refused
    assert [change.result.HasField("error") for change in piece.changes] == [True] * 3
    assert (await memory.get_bank("b")).revision == revision
    await consolidated(memory, Librarian(MERGE))
    assert await contents(memory) == ["Ann has a dog named Biscuit"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<tool_call>" * 2000, "call"),
        (HERMES.render([delete("a")]) + "<tool_call>{", "call"),
        (HERMES.render([delete("a"), delete("b")]), "nothing would be left"),
        (
            HERMES.render([update_core("Ann"), delete("a"), delete("b")]),
            "nothing would be left",
        ),
        (HERMES.render([*MERGE, delete("a")]), "nothing would be left"),
        (HERMES.render([ToolCall("memory_delete", {"memory_type": "core_memory"})]), "core memory would be"),
        (
            HERMES.render([ToolCall("memory_update", {"memory_type": "core_memory", "new_content": " \n"})]),
            "core memory would be",
        ),
        (HERMES.render([delete("a", kind="episodic_memory")]), "was not shown as"),
        (
            HERMES.render([ToolCall("memory_delete", {"memory_type": "semantic_memory", "memory_id": "3"})]),
            "3",
        ),
        (HERMES.render([update("a", "x" * 70_000)]), ""),
        (HERMES.render([insert("\0")]), ""),
        (HERMES.render([insert("\ud800")]), ""),
        (HERMES.render([delete("a")] * 5000), ""),
        (HERMES.render([insert(f"lie {count}") for count in range(1000)]), "more than 999 operations"),
        (HERMES.render([insert(f"lie {count}") for count in range(998)] + [delete("nobody")]), "nobody"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_whatever_a_policy_writes_a_piece_is_sound_or_untouched(
    memory: AsyncMemoryClient, text: str, why: str, dry_run: bool
) -> None:
    await two_dogs(memory)
    await write(memory, update_core("Ann, a teacher"), insert("Zed wrote a paper on glaciers"))
    before, held = await memory.get_bank("b"), await memories(memory)
    settings = QUICK.model_copy(update={"piece": 2})
    (piece,) = await consolidated(memory, Librarian(text), settings, dry_run=dry_run)
    assert piece.refused
    assert why in piece.refused
    assert (await memory.get_bank("b"), await memories(memory)) == (before, held)


async def test_a_text_that_was_cut_changes_nothing(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    cut = Librarian([delete("a")], finish=FinishReason.FINISH_REASON_LENGTH)
    (piece,) = await consolidated(memory, cut)
    assert piece.refused == "the policy's text was cut at 9 tokens"
    assert len(await contents(memory)) == 2
    await consolidated(memory, Librarian([delete("a")]))
    assert len(await contents(memory)) == 1


async def test_a_decision_stands_if_only_other_memories_changed(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    rounds = 0

    async def interfere() -> None:
        nonlocal rounds
        rounds += 1
        await write(memory, insert(f"Zed wrote paper {rounds}"))

    policy = Librarian(MERGE, before=interfere)
    await consolidated(memory, policy)
    assert (rounds, len(policy.seen)) == (1, 1)
    assert await contents(memory) == ["Ann has a dog named Biscuit", "Zed wrote paper 1"]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_piece_that_changed_meanwhile_is_decided_on_anew(
    memory: AsyncMemoryClient, dry_run: bool
) -> None:
    await two_dogs(memory)

    async def interfere() -> None:
        if len(policy.seen) == 1:
            await by_hand(memory, update("x", "Ann's dog is named Rex"), 2)

    def merge(view: PromptView) -> list[ToolCall]:
        name = view.semantic[1].content.rsplit(" ", 1)[1]
        return [update("a", f"Ann has a dog named {name}"), delete("b")]

    policy = Librarian(merge, before=interfere)
    (piece,) = await consolidated(memory, policy, dry_run=dry_run)
    assert [view.semantic[1].content[-7:] for view in policy.seen] == ["Biscuit", "med Rex"]
    assert piece.changes[0].result.memory.content == "Ann has a dog named Rex"
    assert await contents(memory) == (
        ["Ann has a dog", "Ann's dog is named Rex"] if dry_run else ["Ann has a dog named Rex"]
    )


async def test_a_piece_that_changes_under_every_try_is_a_conflict(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    rounds = 0

    async def interfere() -> None:
        nonlocal rounds
        rounds += 1
        await by_hand(memory, update("x", f"Ann's dog is named Rex {rounds}"), 2)

    settings = QUICK.model_copy(update={"attempts": 3})
    with pytest.raises(ConflictError) as raised:
        await consolidated(memory, Librarian(MERGE, before=interfere), settings)
    assert (raised.value.reason, rounds) == ("MEMORY_CHANGED", 3)
    assert await contents(memory) == ["Ann has a dog", "Ann's dog is named Rex 3"]


async def test_a_bank_that_was_made_anew_meanwhile_is_left_alone(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)

    async def replace() -> None:
        await memory.delete_bank("b")
        await two_dogs(memory)

    with pytest.raises(NotFoundError, match="created again meanwhile"):
        await consolidated(memory, Librarian(MERGE, before=replace))
    assert len(await contents(memory)) == 2


async def test_memories_that_are_gone_by_then_are_not_asked_about(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)

    async def remove() -> None:
        await by_hand(memory, delete("x"), 2)

    policy = Librarian(MERGE, before=remove)
    (piece,) = await consolidated(memory, policy)
    assert (len(policy.seen), list(piece.memory_ids), list(piece.changes)) == (1, [1], [])
    assert await contents(memory) == ["Ann has a dog"]


async def dogs(memory: AsyncMemoryClient, count: int) -> None:
    """So many memories that are near copies of one another."""
    await write(memory, *(insert(f"Ann has a dog named Biscuit{'!' * n}") for n in range(count)))


async def test_a_prompt_that_is_too_long_is_halved_until_it_fits(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 8)
    refuses = make(OutOfRangeError, "PROMPT_TOO_LONG", "too long")
    policy = Librarian(refuses, refuses, [])
    pieces = await consolidated(memory, policy)
    # 8 are too many, and so are the first 4: 2, 2 and the other 4 are shown.
    assert [len(piece.memory_ids) for piece in pieces] == [2, 2, 4]
    assert [(piece.pieces_done, piece.pieces_total) for piece in pieces] == [(1, 3), (2, 3), (3, 3)]
    assert sorted(id for piece in pieces for id in piece.memory_ids) == list(range(1, 9))


async def test_a_prompt_beyond_our_own_limit_is_halved_but_never_given_up(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 8)
    for most, sizes in ((64, [2, 2, 2, 2]), (100_000, [8])):
        settings = QUICK.model_copy(update={"most_prompt_tokens": most})
        pieces = await consolidated(memory, Librarian([]), settings)
        assert [(len(piece.memory_ids), piece.refused) for piece in pieces] == [(size, "") for size in sizes]


async def test_what_cannot_be_halved_is_left_as_it_is(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 4)
    pieces = await consolidated(memory, Librarian([delete("a")], max_context_tokens=400))
    assert [len(piece.memory_ids) for piece in pieces] == [2, 2]
    assert all("prompt must have at most 300 tokens" in piece.refused for piece in pieces)
    assert len(await contents(memory)) == 4


async def test_a_policy_that_refuses_a_piece_is_asked_about_the_next(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 4)
    refuses = make(InternalError, "INTERNAL", "stumbled")
    settings = QUICK.model_copy(update={"piece": 2})
    pieces = await consolidated(memory, Librarian(refuses, [delete("a")]), settings)
    assert [piece.refused for piece in pieces] == ["stumbled", ""]
    assert len(await contents(memory)) == 3


@pytest.mark.parametrize("error", [UnavailableError, BusyError])
async def test_a_policy_that_is_busy_or_away_for_a_moment_is_asked_again(
    memory: AsyncMemoryClient, error: type[MemalphaError]
) -> None:
    await dogs(memory, 4)
    away = [make(error, "TRY_AGAIN", "not now")] * 3
    policy = Librarian([delete("a")], *away, [delete("a")])
    pieces = await consolidated(memory, policy, QUICK.model_copy(update={"piece": 2}))
    assert [len(piece.changes) for piece in pieces] == [1, 1]
    assert len(policy.seen) == 5
    assert len(await contents(memory)) == 2


async def test_a_memory_that_is_busy_for_a_moment_is_handed_the_same_record_again(
    memory: AsyncMemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dogs(memory, 2)
    asked, apply = list[str](), memory.apply_operations

    async def busy(request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        asked.append(request.request_id)
        if len(asked) < 3:
            raise make(BusyError, "TOO_MANY_WRITES", "not now")
        return await apply(request)

    monkeypatch.setattr(memory, "apply_operations", busy)
    policy = Librarian([delete("a")])
    (piece,) = await consolidated(memory, policy)
    assert (len(piece.changes), len(policy.seen)) == (1, 1)
    assert len(asked) == 3
    assert len(set(asked)) == 1


@pytest.mark.parametrize("method", ["get_writer_view", "search"])
async def test_what_is_read_before_the_first_piece_is_asked_for_again_too(
    memory: AsyncMemoryClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    await dogs(memory, 2)
    policy = Librarian([delete("a")])
    tries = [stumbling(monkeypatch, memory, method), stumbling(monkeypatch, policy, "describe")]
    (piece,) = await consolidated(memory, policy)
    assert len(piece.changes) == 1
    assert min(map(len, tries)) >= 3


def stumbling(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Has a method be away at its first two calls; returns all calls as they come."""
    calls, method = list[str](), getattr(owner, name)

    async def away(*arguments: object, **more: object) -> object:
        calls.append(name)
        if len(calls) < 3:
            raise make(UnavailableError, "SHUTTING_DOWN", "going down")
        return await method(*arguments, **more)

    monkeypatch.setattr(owner, name, away)
    return calls


async def test_what_was_done_before_an_outage_stays_done(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 4)
    gone = make(UnavailableError, "SHUTTING_DOWN", "going down")
    settings = QUICK.model_copy(update={"piece": 2})
    with pytest.raises(UnavailableError):
        await consolidated(memory, Librarian([delete("a")], gone), settings)
    assert len(await contents(memory)) == 3


async def test_calls_one_after_the_other_come_to_every_memory_once(memory: AsyncMemoryClient) -> None:
    await dogs(memory, 9)
    settings = QUICK.model_copy(update={"piece": 2})
    shown, start = list[int](), 0
    for _ in range(9):
        (piece,) = await consolidated(memory, Librarian([]), settings, max_pieces=1, start=start)
        assert piece.next_memory_id == 0 or piece.next_memory_id > start
        shown += piece.memory_ids
        start = piece.next_memory_id
        if not start:
            break
    assert start == 0
    assert set(shown) == set(range(1, 10))


async def test_a_bank_of_more_memories_than_one_call_looks_at_says_where_to_go_on(
    memory: AsyncMemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memalpha.agent.consolidate._MOST_LEADERS", 3)
    await dogs(memory, 5)
    settings = QUICK.model_copy(update={"piece": 5})
    (piece,) = await consolidated(memory, Librarian([]), settings)
    # The other two are there as relatives, but have not led yet.
    assert (list(piece.memory_ids), piece.next_memory_id) == ([1, 2, 3, 4, 5], 4)
    (piece,) = await consolidated(memory, Librarian([]), settings, start=4)
    assert piece.next_memory_id == 0


@pytest.mark.parametrize("texts", [[], ["Ann has a dog"]])
async def test_a_bank_without_anything_to_put_in_order_costs_no_completion(
    memory: AsyncMemoryClient, texts: list[str]
) -> None:
    await write(memory, update_core("Ann"), *map(insert, texts))
    policy = Librarian(MERGE)
    assert await consolidated(memory, policy) == []
    assert policy.seen == []


async def test_a_bank_that_is_not_there_and_a_bad_number_are_said_to_be(memory: AsyncMemoryClient) -> None:
    with pytest.raises(NotFoundError):
        await consolidated(memory, Librarian([]))
    with pytest.raises(InvalidInputError, match="max_pieces must be between 1 and 10000, got 0"):
        await consolidated(memory, Librarian([]), max_pieces=0)


async def test_a_policy_that_does_not_fit_is_refused_before_it_is_asked(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    reads_defaults = PlainPolicy("", model_free=True, wire_format="qwen_agent")
    with pytest.raises(UnsupportedError, match="is no model"):
        await consolidated(memory, reads_defaults, preset("paper"))
    trained = PlainPolicy("", trained_with=TrainedWith(core_token_limit=64))
    with pytest.raises(UnsupportedError, match="core_token_limit 64"):
        await consolidated(memory, trained)
    assert reads_defaults.requests + trained.requests == []


async def test_the_papers_pack_shows_the_memories_to_a_model(memory: AsyncMemoryClient) -> None:
    await two_dogs(memory)
    policy = PlainPolicy("Done", wire_format="qwen_agent")
    (piece,) = await consolidated(memory, policy, preset("paper", backoff_seconds=0.001))
    assert (list(piece.changes), piece.refused) == ([], "")
    assert "Ann's dog is named Biscuit" in policy.requests[0].chat.messages[0].content
    assert "CONSOLIDATING MODE" in policy.requests[0].chat.messages[0].content
