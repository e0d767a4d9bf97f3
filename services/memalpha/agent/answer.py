"""Answers: a reader is shown what a bank knows about a question, and its text is traced back to memories.

The reader is a policy like the writer, often the same one. It has to be a model: rules that pick sentences do
not answer questions. Nothing is written, so an answer can be asked for again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import uuid4

from memalpha.agent import checks, packs, wire
from memalpha.agent.answer_prompt import ReaderPrompt, cited, render_reader_prompt
from memalpha.agent.protocols import Completion, MemoryBackend, Policy
from memalpha.agent.retrieval import Retrieved, by_okapi, by_recall
from memalpha.agent.room import most_prompt_tokens, require_fit
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors
from memalpha.agent.wire.base import answer_start
from memalpha.api.agent.v1alpha1.agent_service_pb2 import AnswerRequest, AnswerResponse, Evidence
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatPrompt,
    GenerateRequest,
    GetPolicyResponse,
    SamplingParams,
)
from memalpha.errors import OutOfRangeError, UnsupportedError, make


class Answerer:
    """Answers questions from a memory. Holds no state of any bank."""

    def __init__(
        self, memory: MemoryBackend, reader: Policy, settings: AgentSettings, vectors: Vectors
    ) -> None:
        """Over a memory and a reader.

        Raises:
            InvalidInputError: UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK.
        """
        self._memory = memory
        self._reader = reader
        self._settings = settings
        self._vectors = vectors
        self._pack = packs.load(settings.prompt_pack)

    async def answer(self, request: AnswerRequest) -> AnswerResponse:
        """Answers one question.

        Raises:
            InvalidInputError: A parameter breaks its rule.
            NotFoundError: There is no such bank.
            UnsupportedError: UNIMPLEMENTED, if the reader is no model.
            OutOfRangeError: PROMPT_TOO_LONG, though next to nothing of the memory would be shown.
            MemalphaError: Anything else that the memory or the reader answers.
        """
        checks.answer_request(request)
        description = await self._reader.describe()
        _require_model(description)
        too_long = make(
            OutOfRangeError, "PROMPT_TOO_LONG", "the prompt does not fit into the reader's context"
        )
        async with aclosing(self._retrieved(request)) as ever_less:
            async for found in ever_less:
                prompt = render_reader_prompt(found.shown, request.question, request.prefix, self._pack)
                try:
                    completion = await self._generate(prompt, description, request)
                except OutOfRangeError as error:
                    too_long = error
                else:
                    return self._response(found, prompt, completion, description)
        raise too_long

    def _retrieved(self, request: AnswerRequest) -> AsyncGenerator[Retrieved]:
        if self._settings.retrieval == "okapi":
            return by_okapi(self._memory, request, self._settings)
        return by_recall(self._memory, request, self._vectors)

    async def _generate(
        self, prompt: ReaderPrompt, description: GetPolicyResponse, request: AnswerRequest
    ) -> Completion:
        context = description.max_context_tokens
        most = request.max_tokens if request.HasField("max_tokens") else self._settings.max_answer_tokens
        most = min(most, context // 4) if context else most
        ours = self._settings.most_reader_prompt_tokens
        require_fit(prompt.messages, most_prompt_tokens(context, most, ours))
        sampling = SamplingParams(max_tokens=most, temperature=self._settings.temperature)
        chat = ChatPrompt(messages=prompt.messages)
        return await self._reader.generate(
            GenerateRequest(request_id=uuid4().hex, chat=chat, sampling=sampling)
        )

    def _response(
        self, found: Retrieved, prompt: ReaderPrompt, completion: Completion, description: GetPolicyResponse
    ) -> AnswerResponse:
        text = completion.text[answer_start(completion.text) :].strip()
        return AnswerResponse(
            text=text,
            evidence=_marked(prompt.evidence, cited(text)),
            core=found.core,
            finish_reason=completion.finish_reason,
            reader=completion.policy,
            usage=completion.usage,
            prompt_digest=self._pack.digest(wire.get(description.wire_format)),
            revision=found.revision,
            pending_chunks=found.pending_chunks,
            search_method=found.method,
        )


def _marked(evidence: Sequence[Evidence], names: set[str]) -> Sequence[Evidence]:
    for each in evidence:
        each.cited = each.alias in names
    return evidence


def _require_model(description: GetPolicyResponse) -> None:
    if description.model_free:
        policy = description.policy.policy_id
        message = f"reader {policy} is no model and cannot answer questions; name one with `reader_address`"
        raise make(UnsupportedError, "UNIMPLEMENTED", message, policy=policy)
