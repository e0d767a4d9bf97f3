"""Consolidating: a bank's memories are put in order, one piece of related ones after the other.

The policy is shown a piece, without a chunk, and answers with the tools it writes memory with. A piece is
changed in one record or not at all: a merged text that is refused must not leave its parts deleted, so one
bad call, a text that was cut, or a piece of which nothing would be left, and all of it stays as it is. The
record is refused if a memory changed since it was read; if what the policy saw is still the same, the
decision stands and is handed in again, else it is made anew. A policy or a memory that is busy, or away for
a moment, is asked again after ever longer pauses, and ends the call only if it stays so. The cursor stays
where it is, so chunks are memorized meanwhile. A dry run goes the same way, has the memory judge each record,
and writes none of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import uuid4

from memalpha.agent import checks, packs, wire
from memalpha.agent.backoff import Backoff
from memalpha.agent.fit import check_bank, check_consolidation
from memalpha.agent.guided import call_list
from memalpha.agent.operations import cut, operations
from memalpha.agent.prompts import Prompt, render_consolidation
from memalpha.agent.protocols import Completion, MemoryBackend, Policy
from memalpha.agent.related import pieces, relatives
from memalpha.agent.room import most_prompt_tokens, require_fit
from memalpha.agent.settings import AgentSettings
from memalpha.agent.snapshot import Snapshot
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ConsolidateRequest, ConsolidateResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    MemoryType,
    Operation,
    OperationError,
    OperationResult,
    RejectedCall,
    Writer,
)
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatPrompt,
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    SamplingParams,
)
from memalpha.errors import (
    BusyError,
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)

T = TypeVar("T")

DEFAULT_PIECES = 100

# Memories whose relatives are searched for in one call.
_MOST_LEADERS = 5000
_LEAST_TO_HALVE = 4
# Tries of one call to a policy or a memory that is busy or away: most of a minute by the default pauses.
_PATIENCE = 12
# A record holds 1000; a dry run adds one.
_MOST_OPERATIONS = 999
_MOST_RAW_BYTES = 1 << 20
_CORE = MemoryType.MEMORY_TYPE_CORE
_ABORTED = OperationError.Reason.REASON_BATCH_ABORTED
_DRY_RUN = RejectedCall(
    text="dry run", error=OperationError(reason=_ABORTED, message="a dry run writes nothing")
)


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the policy made of a piece, and the contents it was shown; `refused` says why it is no good."""

    seen: Set[tuple[int, int]]
    prompt: Prompt
    completion: Completion | None
    operations: list[Operation]
    refused: str = ""


class _Stale(Exception):
    """A memory changed since the snapshot was read."""

    def __init__(self, error: MemalphaError) -> None:
        super().__init__(str(error))
        self.error = error


class _TooLong(Exception):
    """The prompt is too long, and the piece can be halved."""


class Consolidator:
    """Puts banks in order. Holds no state of any bank."""

    def __init__(self, memory: MemoryBackend, policy: Policy, settings: AgentSettings) -> None:
        """Over a memory and a policy.

        Raises:
            InvalidInputError: UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK.
        """
        self._memory = memory
        self._policy = policy
        self._settings = settings
        self._pack = packs.load(settings.prompt_pack)
        self._backoff = Backoff(settings.backoff_seconds, settings.longest_backoff_seconds)

    async def consolidate(self, request: ConsolidateRequest) -> AsyncGenerator[ConsolidateResponse]:
        """Works off a bank's pieces; yields what became of each, which stays done if a later one fails.

        Raises:
            InvalidInputError: INVALID_MAX_PIECES.
            NotFoundError: There is no such bank.
            UnsupportedError: The policy is none for this agent or this bank, or cannot put memories in order.
            ConflictError: Others changed the bank under each of `settings.attempts` tries of a piece.
            BusyError, UnavailableError: Policy or memory stayed busy or away at every try.
            MemalphaError: Anything else that the memory answers.
        """
        checks.consolidate_request(request)
        description = await self._patiently(self._policy.describe)
        check_consolidation(description, self._settings, self._pack)
        bank_id, start = request.bank_id, request.start_memory_id
        read = partial(Snapshot.read, self._memory, bank_id, start, _MOST_LEADERS)
        snapshot = await self._patiently(read)
        check_bank(description, snapshot.bank)
        leaders = set(snapshot.memories)
        queue = deque(await self._pieces(snapshot))
        most = request.max_pieces if request.HasField("max_pieces") else DEFAULT_PIECES
        done = 0
        while queue and done < most:
            ids = queue.popleft()
            try:
                response = await self._piece(snapshot, ids, description, dry_run=request.dry_run)
            except _TooLong:
                queue.extendleft((ids[len(ids) // 2 :], ids[: len(ids) // 2]))
                continue
            done += 1
            response.pieces_done, response.pieces_total = done, done + len(queue)
            response.next_memory_id = _first(queue, leaders) or snapshot.more_from
            yield response

    async def _pieces(self, snapshot: Snapshot) -> list[list[int]]:
        leaders = list(snapshot.memories.values())
        found = await self._patiently(partial(relatives, self._memory, snapshot.bank.bank_id, leaders))
        split = pieces(found.closeness, snapshot.memories, self._settings.piece)
        snapshot.memories = found.found | snapshot.memories
        return split

    async def _piece(
        self, snapshot: Snapshot, ids: Sequence[int], description: GetPolicyResponse, *, dry_run: bool
    ) -> ConsolidateResponse:
        """Puts one piece in order, or says that it has to be halved."""
        decision: _Decision | None = None
        for tries in range(self._settings.attempts):
            if decision is None or decision.seen != snapshot.state(ids):
                decision = await self._decide(snapshot, ids, description)
            try:
                return await self._carried_out(snapshot, decision, dry_run=dry_run)
            except _Stale as stale:
                if tries == self._settings.attempts - 1:
                    raise stale.error from None
            await asyncio.sleep(self._backoff.pause(tries))
            await self._patiently(partial(snapshot.refresh, self._memory))
        raise AssertionError("attempts is at least 1")

    async def _decide(
        self, snapshot: Snapshot, ids: Sequence[int], description: GetPolicyResponse
    ) -> _Decision:
        form = wire.get(description.wire_format)
        view = snapshot.view(ids)
        prompt = render_consolidation(view, form, self._pack)
        seen = snapshot.state(ids)
        if len(prompt.aliases) < 2:
            return _Decision(seen, prompt, None, [])
        can_halve = len(ids) >= _LEAST_TO_HALVE
        try:
            schema = ""
            if self._settings.guided_calls:
                schema = call_list(view, prompt.aliases, form, may_empty_core=False)
            completion = await self._generate(prompt, description, schema, can_halve=can_halve)
        except OutOfRangeError as too_long:
            if can_halve:
                raise _TooLong from None
            return _Decision(seen, prompt, None, [], str(too_long))
        except (InvalidInputError, InternalError) as refusal:
            return _Decision(seen, prompt, None, [], str(refusal))
        if completion.finish_reason == FinishReason.FINISH_REASON_LENGTH:
            tokens = completion.usage.completion_tokens
            return _Decision(seen, prompt, completion, [], f"the policy's text was cut at {tokens} tokens")
        chosen = operations(form.parse(completion.text), prompt.aliases)
        return _Decision(seen, prompt, completion, chosen, _objection(chosen, prompt))

    async def _generate(
        self, prompt: Prompt, description: GetPolicyResponse, schema: str, *, can_halve: bool
    ) -> Completion:
        context, most = description.max_context_tokens, self._settings.max_new_tokens
        most = min(most, context // 4) if context else most
        ours = self._settings.most_prompt_tokens if can_halve else 0
        require_fit(prompt.messages, most_prompt_tokens(context, most, ours))
        chat = ChatPrompt(messages=prompt.messages, tools_json=prompt.tools_json)
        temperature = self._settings.temperature
        sampling = SamplingParams(max_tokens=most, temperature=temperature, json_schema=schema)
        request = GenerateRequest(request_id=uuid4().hex, chat=chat, sampling=sampling)
        return await self._patiently(partial(self._policy.generate, request))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        for tries in range(_PATIENCE - 1):
            try:
                return await call()
            except (BusyError, UnavailableError):
                await asyncio.sleep(self._backoff.pause(tries))
        return await call()

    async def _carried_out(
        self, snapshot: Snapshot, decision: _Decision, *, dry_run: bool
    ) -> ConsolidateResponse:
        response = _response(snapshot, decision)
        if not decision.operations:
            return response
        try:
            results = await self._judged(snapshot, decision, dry_run=dry_run)
        except (InvalidInputError, OutOfRangeError) as refused:
            results = [_undone(str(refused))] * len(decision.operations)
        if bad := [each.error for each in results if each.HasField("error")]:
            first = next((each for each in bad if each.reason != _ABORTED), bad[0])
            response.refused = first.message
        response.revision = snapshot.bank.revision
        return _with_changes(response, snapshot, decision.operations, results)

    async def _judged(
        self, snapshot: Snapshot, decision: _Decision, *, dry_run: bool
    ) -> list[OperationResult]:
        """What each operation did, or would do; all of them fail if one does, and nothing is written.

        A dry run adds an operation that fails: then the memory says which of the others would, too.
        """
        if decision.refused:
            return [_undone(decision.refused)] * len(decision.operations)
        assert decision.completion is not None
        bank, policy = snapshot.bank, decision.completion.policy
        request = ApplyOperationsRequest(
            bank_id=bank.bank_id,
            bank_uid=bank.bank_uid,
            memory_revision=bank.memory_revision,
            operations=[*decision.operations, *([Operation(rejected=_DRY_RUN)] if dry_run else [])],
            atomic=True,
            writer=Writer(
                policy_id=policy.policy_id,
                policy_version=policy.policy_version,
                prompt_digest=decision.prompt.digest,
            ),
            raw_output=cut(decision.completion.text, _MOST_RAW_BYTES),
            request_id=uuid4().hex,
        )
        try:
            applied = await self._patiently(partial(self._memory.apply_operations, request))
        except (ConflictError, NotFoundError) as changed:
            raise _Stale(changed) from None
        if not dry_run:
            bank.revision, bank.memory_revision = applied.revision, applied.memory_revision
            return list(applied.results)
        results = list(applied.results)[:-1]
        if any(each.error.reason != _ABORTED for each in results):
            return results
        return _foreseen(snapshot, decision.operations)


def _first(queue: Iterable[Sequence[int]], leaders: Set[int]) -> int:
    return min((id for ids in queue for id in ids if id in leaders), default=0)


def _objection(chosen: Sequence[Operation], prompt: Prompt) -> str:
    """Why the operations must not even be tried: nothing would be left, or they are no list of changes."""
    if len(chosen) > _MOST_OPERATIONS:
        return f"more than {_MOST_OPERATIONS} operations"
    if any(each.delete.type == _CORE or _empties_core(each) for each in chosen):
        return "core memory would be empty"
    shown = {memory_id for _, memory_id in prompt.aliases.values()}
    left = shown - {each.delete.memory_id for each in chosen if each.HasField("delete")}
    return "" if left or any(each.HasField("insert") for each in chosen) else "nothing would be left"


def _empties_core(operation: Operation) -> bool:
    return operation.update.type == _CORE and not operation.update.content.strip()


def _undone(why: str) -> OperationResult:
    return OperationResult(error=OperationError(reason=_ABORTED, message=why))


def _foreseen(snapshot: Snapshot, chosen: Sequence[Operation]) -> list[OperationResult]:
    """What the operations would do one after the other."""
    later = Snapshot(snapshot.bank, snapshot.core, dict(snapshot.memories))
    results: list[OperationResult] = []
    for operation in chosen:
        results.append(later.foresee(operation))
        later.follow(operation, results[-1])
    return results


def _response(snapshot: Snapshot, decision: _Decision) -> ConsolidateResponse:
    completion = decision.completion
    return ConsolidateResponse(
        refused=decision.refused,
        memory_ids=sorted(memory_id for _, memory_id in decision.prompt.aliases.values()),
        revision=snapshot.bank.revision,
        policy=completion.policy if completion else None,
        usage=completion.usage if completion else None,
        prompt_digest=decision.prompt.digest,
    )


def _with_changes(
    response: ConsolidateResponse,
    snapshot: Snapshot,
    chosen: Sequence[Operation],
    results: Sequence[OperationResult],
) -> ConsolidateResponse:
    for operation, result in zip(chosen, results, strict=True):
        response.changes.append(snapshot.follow(operation, result))
    return response
