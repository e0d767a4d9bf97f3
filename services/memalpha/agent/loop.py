"""One chunk's way: view, prompt, generation, calls, operations, one record.

A chunk is memorized exactly once: its operations and the movement of the cursor are one record, and that
record is refused if the bank was re-created, the cursor moved or a memory changed since the view was read.
Then everything is read and generated again. A policy that cannot be had is not the chunk's fault and leaves
no trace; a policy that refuses the chunk's prompt counts as its failure, and at the bank's limit the chunk is
parked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from memalpha.agent import packs, wire
from memalpha.agent.backoff import Backoff
from memalpha.agent.fit import check_bank, check_policy
from memalpha.agent.guided import call_list
from memalpha.agent.operations import cut, operations
from memalpha.agent.prompts import Prompt, render_prompt
from memalpha.agent.protocols import Completion, MemoryBackend, Policy
from memalpha.agent.room import most_prompt_tokens, require_fit
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Operation, OperationResult, Writer
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    ApplyOperationsRequest,
    GetWriterViewRequest,
    GetWriterViewResponse,
    RecentView,
    ReportChunkFailureRequest,
)
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatPrompt,
    GenerateRequest,
    GetPolicyResponse,
    SamplingParams,
)
from memalpha.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    OutOfRangeError,
    UnsupportedError,
)

_REFUSALS = (InvalidInputError, OutOfRangeError, InternalError)
_MOST_RAW_BYTES = 1 << 20
_MOST_FAILURE_BYTES = 4096

T = TypeVar("T")


class PolicyOutage(Exception):
    """The policy cannot be had now; no chunk is to blame. `error` says what it answered."""

    def __init__(self, error: MemalphaError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What became of one try of a chunk.

    Attributes:
        state: Memorized; pending if it failed and will be tried again; parked if it failed too often.
        prompt: What the policy was shown.
        completion: What it wrote; None if it refused.
        operations: One for each call and each piece that was no call.
        results: One for each operation; empty unless memorized.
        revision: The bank's revision afterwards.
        pending_chunks: Chunks of the bank still to memorize, as of the view.
        failure: Why it failed; empty if memorized.
    """

    bank_id: str
    chunk: Chunk
    state: ChunkState.ValueType
    prompt: Prompt
    completion: Completion | None
    operations: list[Operation]
    results: list[OperationResult]
    revision: int
    pending_chunks: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Attempt:
    view: GetWriterViewResponse
    prompt: Prompt
    most_new_tokens: int


class _Stale(Exception):
    """The bank is not what the view showed any more."""

    def __init__(self, error: MemalphaError) -> None:
        super().__init__(str(error))
        self.error = error


class Memorizer:
    """Memorizes the next chunk of a bank. Holds no state of any bank."""

    def __init__(
        self,
        memory: MemoryBackend,
        policy: Policy,
        settings: AgentSettings,
        vectors: Vectors | None = None,
    ) -> None:
        """Over a memory and a policy; without `vectors` it hands none to the memory.

        Raises:
            InvalidInputError: UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK.
        """
        self._memory = memory
        self._policy = policy
        self._settings = settings
        self._vectors = vectors or Vectors(None, settings)
        self._pack = packs.load(settings.prompt_pack)
        self._backoff = Backoff(settings.backoff_seconds, settings.longest_backoff_seconds)

    async def next_chunk(self, bank_id: str) -> ChunkOutcome | None:
        """Tries the chunk at the bank's cursor once; None if nothing is pending or the bank is parked.

        Raises:
            PolicyOutage: The policy cannot be had, or is none for this agent.
            UnsupportedError: It is none for this bank.
            ConflictError: Others changed the bank under each of `settings.attempts` tries.
            MemalphaError: Anything else that the memory answers.
        """
        for retries in range(self._settings.attempts - 1):
            try:
                return await self._try(bank_id)
            except _Stale:
                await asyncio.sleep(self._backoff.pause(retries))
        try:
            return await self._try(bank_id)
        except _Stale as stale:
            raise stale.error from None

    async def _try(self, bank_id: str) -> ChunkOutcome | None:
        """One try, with an ever smaller view while the prompt is too long."""
        description = await _or_outage(self._policy.describe())
        try:
            check_policy(description, self._settings, self._pack)
        except (InvalidInputError, UnsupportedError) as unfit:
            raise PolicyOutage(unfit) from None
        vector = await self._chunk_vector(bank_id)
        halvings = 0
        while True:
            attempt = await self._attempt(bank_id, description, halvings, vector)
            if attempt is None:
                return None
            check_bank(description, attempt.view.bank)
            smaller = halvings < self._settings.most_halvings()
            try:
                completion = await self._generate(attempt, description, can_shrink=smaller)
            except OutOfRangeError as too_long:
                if not smaller:
                    return await self._failed(attempt, None, str(too_long))
                halvings += 1
            except (InvalidInputError, InternalError) as refusal:
                return await self._failed(attempt, None, str(refusal))
            else:
                return await self._apply(attempt, completion, description)

    async def _chunk_vector(self, bank_id: str) -> bytes:
        """The vector of the chunk at the cursor, if the view compares by one.

        Should the cursor move before the view is read, the view shows what matches the chunk before.
        """
        if not self._vectors.configured or self._settings.view != "relevant":
            return b""
        nothing = RecentView(semantic=0, episodic=0)
        view = await self._memory.get_writer_view(GetWriterViewRequest(bank_id=bank_id, recent=nothing))
        if not view.HasField("next_chunk") or view.bank.failures.parked:
            return b""
        return await self._vectors.of_text(view.bank, view.next_chunk.text)

    async def _attempt(
        self, bank_id: str, description: GetPolicyResponse, halvings: int, vector: bytes
    ) -> _Attempt | None:
        request = self._settings.view_request(bank_id, halvings, vector)
        view = await self._memory.get_writer_view(request)
        if not view.HasField("next_chunk") or view.bank.failures.parked:
            return None
        prompt = render_prompt(view, wire.get(description.wire_format), self._pack)
        context = description.max_context_tokens
        most = self._settings.max_new_tokens
        return _Attempt(view, prompt, min(most, context // 4) if context else most)

    async def _generate(
        self, attempt: _Attempt, description: GetPolicyResponse, *, can_shrink: bool
    ) -> Completion:
        context, most = description.max_context_tokens, attempt.most_new_tokens
        # Beyond our own limit a prompt is only long; beyond the policy's it is lost.
        ours = self._settings.most_prompt_tokens if can_shrink else 0
        require_fit(attempt.prompt.messages, most_prompt_tokens(context, most, ours))
        sampling = SamplingParams(max_tokens=most, temperature=self._settings.temperature)
        if self._settings.guided_calls:
            form = wire.get(description.wire_format)
            sampling.json_schema = call_list(attempt.view, attempt.prompt.aliases, form)
        request = GenerateRequest(
            request_id=uuid4().hex,
            chat=ChatPrompt(messages=attempt.prompt.messages, tools_json=attempt.prompt.tools_json),
            sampling=sampling,
        )
        return await _or_outage(self._policy.generate(request))

    async def _apply(
        self, attempt: _Attempt, completion: Completion, description: GetPolicyResponse
    ) -> ChunkOutcome:
        view, prompt = attempt.view, attempt.prompt
        found = wire.get(description.wire_format).parse(completion.text)
        chosen = operations(found, prompt.aliases)
        request = ApplyOperationsRequest(
            bank_id=view.bank.bank_id,
            bank_uid=view.bank.bank_uid,
            cursor_token=view.bank.cursor_token,
            memory_revision=view.bank.memory_revision,
            operations=chosen,
            advance_to=view.bank.cursor + 1,
            writer=_writer(completion, prompt),
            raw_output=cut(completion.text, _MOST_RAW_BYTES),
            request_id=uuid4().hex,
        )
        try:
            applied = await self._memory.apply_operations(request)
        except (ConflictError, NotFoundError) as changed:
            raise _Stale(changed) from None
        except (InvalidInputError, OutOfRangeError) as refused:
            return await self._failed(attempt, completion, str(refused))
        return ChunkOutcome(
            bank_id=view.bank.bank_id,
            chunk=view.next_chunk,
            state=ChunkState.CHUNK_STATE_MEMORIZED,
            prompt=prompt,
            completion=completion,
            operations=chosen,
            results=list(applied.results),
            revision=applied.revision,
            pending_chunks=view.bank.stats.pending_chunks - 1,
        )

    async def _failed(self, attempt: _Attempt, completion: Completion | None, message: str) -> ChunkOutcome:
        bank = attempt.view.bank
        request = ReportChunkFailureRequest(
            bank_id=bank.bank_id,
            bank_uid=bank.bank_uid,
            cursor_token=bank.cursor_token,
            message=cut(message, _MOST_FAILURE_BYTES),
            raw_output=cut(completion.text, _MOST_RAW_BYTES) if completion else "",
        )
        try:
            reported = await self._memory.report_chunk_failure(request)
        except (ConflictError, NotFoundError) as changed:
            raise _Stale(changed) from None
        parked = reported.failures.parked
        return ChunkOutcome(
            bank_id=bank.bank_id,
            chunk=attempt.view.next_chunk,
            state=ChunkState.CHUNK_STATE_PARKED if parked else ChunkState.CHUNK_STATE_PENDING,
            prompt=attempt.prompt,
            completion=completion,
            operations=[],
            results=[],
            revision=reported.revision,
            pending_chunks=bank.stats.pending_chunks,
            failure=message,
        )


def _writer(completion: Completion, prompt: Prompt) -> Writer:
    policy = completion.policy
    return Writer(
        policy_id=policy.policy_id, policy_version=policy.policy_version, prompt_digest=prompt.digest
    )


async def _or_outage(call: Awaitable[T]) -> T:
    """What the policy answers; everything but a refusal of this very prompt is an outage."""
    try:
        return await call
    except _REFUSALS:
        raise
    except MemalphaError as error:
        raise PolicyOutage(error) from error
