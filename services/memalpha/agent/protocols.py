"""The three faces of the outside world that the agent knows.

The same loop runs in the service, in training rollouts and in evaluations; what differs is who stands behind
these protocols: engines and a store in this process, or clients of their services. Calls raise
`memalpha.errors.MemalphaError` and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    AppendChunksResponse,
    ApplyOperationsRequest,
    ApplyOperationsResponse,
    GetWriterViewRequest,
    GetWriterViewResponse,
    MemoryVector,
    PendingBank,
    PutVectorsResponse,
    ReportChunkFailureRequest,
    ReportChunkFailureResponse,
    SearchMemoriesResponse,
    SearchQuery,
)
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
    PolicyIdentity,
    Usage,
)


class MemoryBackend(Protocol):
    """What the agent needs of a memory. `memalpha.client.AsyncMemoryClient` is one.

    The worker keeps up to `AgentSettings.concurrency` banks in work, with one call each at a time.
    """

    async def ensure_bank(self, bank_id: str, settings: BankSettings | None = None) -> Bank:
        """Called once per `memorize` that may create its bank."""
        ...

    async def get_bank(self, bank_id: str) -> Bank:
        """Called by `memorize`, and again and again while it waits."""
        ...

    async def append_chunks(
        self, bank_id: str, chunks: Sequence[Chunk], bank_uid: str = ""
    ) -> AppendChunksResponse:
        """Called with at most 1000 chunks and 12 MiB at a time; safe to repeat."""
        ...

    def chunks(self, bank_id: str, start: int = 0, pending_only: bool = False) -> AsyncIterator[Chunk]:
        """Called by `recall` for sources, a few chunks from each start."""
        ...

    def pending_banks(self) -> AsyncIterator[PendingBank]:
        """Called by the worker at every poll."""
        ...

    async def get_writer_view(self, request: GetWriterViewRequest) -> GetWriterViewResponse:
        """Called once per try of a chunk, more often if the prompt has to shrink, and once per recall."""
        ...

    async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        """Called once per try of a chunk."""
        ...

    async def report_chunk_failure(self, request: ReportChunkFailureRequest) -> ReportChunkFailureResponse:
        """Called when a chunk failed for its own sake."""
        ...

    async def search(self, bank_id: str, queries: Sequence[SearchQuery]) -> SearchMemoriesResponse:
        """Called once per recall."""
        ...

    def banks(self, unembedded_only: bool = False) -> AsyncIterator[Bank]:
        """Called at every poll for memories without vectors, if there is an embedder."""
        ...

    def memories(
        self, bank_id: str, type: MemoryType.ValueType | None = None, unembedded_only: bool = False
    ) -> AsyncIterator[Memory]:
        """Called for each bank whose memories lack vectors of the embedder."""
        ...

    async def put_vectors(
        self, bank_id: str, vectors: Sequence[MemoryVector], embedder_id: str, bank_uid: str = ""
    ) -> PutVectorsResponse:
        """Called with at most 256 vectors at a time; safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole completion: what the pieces of one `Generate` add up to.

    Attributes:
        policy: Who wrote the last piece.
        prompt_token_ids: The prompt as the model saw it; empty, as the next three, unless asked for.
        token_ids: The new tokens.
        logprobs: Theirs, under the distribution that was sampled from.
        versions: Of the weights that drew them; they differ if weights were exchanged meanwhile.
    """

    text: str
    finish_reason: FinishReason.ValueType
    policy: PolicyIdentity
    usage: Usage
    prompt_token_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    versions: tuple[int, ...] = ()

    @classmethod
    def joined(cls, pieces: Sequence[GenerateResponse]) -> Completion:
        """The pieces of one completion; the last one says who wrote it, why it ended and what it cost."""
        last = pieces[-1] if pieces else GenerateResponse()
        return cls(
            text="".join(piece.text for piece in pieces),
            finish_reason=last.finish_reason,
            policy=last.policy,
            usage=last.usage,
            prompt_token_ids=tuple(chain.from_iterable(piece.prompt_token_ids for piece in pieces)),
            token_ids=tuple(chain.from_iterable(piece.token_ids for piece in pieces)),
            logprobs=tuple(chain.from_iterable(piece.logprobs for piece in pieces)),
            versions=tuple(piece.policy.policy_version for piece in pieces for _ in piece.token_ids),
        )


class Policy(Protocol):
    """What writes tool calls. `memalpha.client.AsyncPolicyClient` is one, an engine in process another."""

    async def generate(self, request: GenerateRequest) -> Completion:
        """Completes one prompt. Called once per try of a chunk, for many banks at once.

        `InvalidInputError`, `OutOfRangeError` and `InternalError` mean that it refuses this very prompt;
        every other error means that the policy is not to be had now.
        """
        ...

    async def describe(self) -> GetPolicyResponse:
        """Identity, limits and wire format. Called for each try of a chunk: a policy may be exchanged."""
        ...


class Embedder(Protocol):
    """What makes vectors of texts, for banks whose embedder is external. Belongs to one event loop."""

    @property
    def id(self) -> str:
        """Name of the model and its version: what a bank's settings call its embedder."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector; 0 as long as that is not known, which ends with the first `embed`."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Vectors of the texts, in order: 32-bit floats, little-endian, packed; finite and not all zero.

        Called once for each recall and for each try of a chunk, and with up to 256 texts for stored memories;
        many calls at once. `InvalidInputError` means that it refuses one of these very texts; every other
        error, that the embedder is not to be had now.
        """
        ...
