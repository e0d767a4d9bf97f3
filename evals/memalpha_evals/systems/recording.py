"""Model calls on record, so that what a step did can be done again without a model.

A step's record is the digest of its chunk and, for each call in order, the digest of the prompt and what came
back: text, why it ended, or the refusal. Replaying runs the same code over the same bank and hands out what
is on record instead of asking; a prompt of another digest, a call too many or one too few is a `ReplayError`.
So a replayed memory is the live one, or it says that it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from memalpha.agent import Completion, Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse, PolicyIdentity
from memalpha.api.policy.v1alpha1.policy_service_pb2 import Usage as PolicyUsage
from memalpha.errors import OutOfRangeError, make
from memalpha_evals.prompts import call_seed
from memalpha_evals.protocols import NO_USAGE, Context, ReplayError, Step, Usage
from memalpha_evals.streams import AskedQuestion, Stream, StreamChunk

if TYPE_CHECKING:
    from memalpha_evals.systems.base import Memory

_DIGITS = 16


class Calls:
    """A policy whose answers are kept, or given again: an agent's `Policy`. Belongs to one session."""

    def __init__(
        self, policy: Policy | None, description: GetPolicyResponse | None, seed: int | None, stream: str
    ) -> None:
        """Over a policy that was described so; `seed` and stream decide the seed of each call."""
        self._policy = policy
        self._description = description or GetPolicyResponse()
        self._seed = seed
        self._stream = stream
        self._place = 0
        self._made: list[dict[str, Any]] = []
        self._given: list[Mapping[str, Any]] | None = None
        self._usage = NO_USAGE

    def begin(self, place: int, given: Sequence[Mapping[str, Any]] | None = None) -> None:
        """A step begins: with calls to the policy, or with those that are `given`."""
        self._place = place
        self._made, self._usage = [], NO_USAGE
        self._given = None if given is None else list(given)

    @property
    def made(self) -> list[dict[str, Any]]:
        """The step's calls so far, as plain values."""
        return self._made

    @property
    def usage(self) -> Usage:
        """What they took."""
        return self._usage

    async def describe(self) -> GetPolicyResponse:
        """See `Policy`; what was said when the run began."""
        return self._description

    async def generate(self, request: GenerateRequest) -> Completion:
        """See `Policy`.

        Raises:
            ReplayError: Replaying, and this call is not on record.
        """
        digest = _prompt_digest(request)
        if self._given is not None:
            return self._again(digest)
        assert self._policy is not None
        try:
            completion = await self._policy.generate(self._seeded(request))
        except OutOfRangeError as error:
            # The caller may go on with a shorter prompt; every other error ends the step.
            refusal = {"reason": error.reason, "message": str(error), "metadata": dict(error.metadata)}
            self._made.append({"prompt": digest, "refused": refusal})
            raise
        self._made.append({"prompt": digest, **_to_record(completion)})
        self._usage += _usage(completion.usage)
        return completion

    def _again(self, digest: str) -> Completion:
        if not self._given:
            raise ReplayError(f"step {self._place} makes more calls than its record has")
        call = self._given.pop(0)
        if call.get("prompt") != digest:
            message = f"step {self._place} asks with prompt {digest}, its record with {call.get('prompt')}"
            raise ReplayError(message)
        if "refused" in call:
            refused = call["refused"]
            raise make(OutOfRangeError, refused["reason"], refused["message"], **refused["metadata"])
        return _from_record(call)

    def finish_replay(self) -> None:
        """The step is done; all that was given must have been asked for.

        Raises:
            ReplayError: It was not.
        """
        if self._given:
            raise ReplayError(f"step {self._place} makes {len(self._given)} calls fewer than its record has")
        self._given = None

    def _seeded(self, request: GenerateRequest) -> GenerateRequest:
        if self._seed is None:
            return request
        seeded = GenerateRequest()
        seeded.CopyFrom(request)
        seeded.sampling.seed = call_seed(self._seed, self._stream, self._place, len(self._made))
        return seeded


class RecordedSession:
    """A `Session` over a memory and the calls that it makes."""

    def __init__(self, stream: Stream, memory: Memory, calls: Calls) -> None:
        """Before the first chunk."""
        self._chunks = stream.chunks
        self._memory = memory
        self._calls = calls

    async def step(self, place: int) -> Step:
        """See `Session.step`."""
        self._calls.begin(place)
        await self._memory.read(place)
        record = {"chunk": _chunk_digest(self._chunks[place]), "calls": self._calls.made}
        return Step(record, self._calls.usage)

    async def replay(self, place: int, step: Step) -> None:
        """See `Session.replay`."""
        chunk = _chunk_digest(self._chunks[place])
        if step.record.get("chunk") != chunk:
            message = f"step {place} reads chunk {chunk}, its record is of {step.record.get('chunk')}"
            raise ReplayError(message)
        self._calls.begin(place, step.record.get("calls", ()))
        await self._memory.read(place)
        self._calls.finish_replay()

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        """See `Session.context`."""
        return await self._memory.context(asked, budget)

    async def close(self) -> None:
        """See `Session.close`."""
        await self._memory.close()


def _prompt_digest(request: GenerateRequest) -> str:
    digest = sha256(request.chat.tools_json.encode())
    for message in request.chat.messages:
        digest.update(f"\0{message.role}\0".encode())
        digest.update(message.content.encode())
    return digest.hexdigest()[:_DIGITS]


def _chunk_digest(chunk: StreamChunk) -> str:
    return sha256(f"{chunk.event_time}\0{chunk.text}".encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _to_record(completion: Completion) -> dict[str, Any]:
    return {
        "text": completion.text,
        "finish": int(completion.finish_reason),
        "policy": completion.policy.policy_id,
        "version": completion.policy.policy_version,
    }


def _from_record(call: Mapping[str, Any]) -> Completion:
    identity = PolicyIdentity(policy_id=call["policy"], policy_version=call["version"])
    return Completion(call["text"], call["finish"], identity, PolicyUsage())


def _usage(usage: PolicyUsage) -> Usage:
    return Usage(1, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
