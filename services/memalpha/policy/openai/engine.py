"""The `openai` engine: `POST {base_url}/chat/completions`, streamed.

The endpoint is whatever answers there, so nothing is known of its weights: it has a name, no version, no
logprobs. Tools that are called in the endpoint's own way come out as text of the policy's wire format: the
agent reads one thing. A call is tried again until its first chunk is there; later failures are the
caller's, who has read a part already.

aiohttp, because a call must end with its caller, and many at once cost far less than with httpx.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import aiohttp

from memalpha.agent import wire
from memalpha.agent.tools import ToolCall
from memalpha.agent.wire import WireFormat
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.endpoint import Endpoint, Passing
from memalpha.errors import BusyError, InvalidInputError, MemalphaError, UnavailableError, make
from memalpha.policy import checks
from memalpha.policy.openai.events import Answer, BrokenStream, events, failure
from memcore import count_tokens

_FINISHES: dict[str, pb.FinishReason.ValueType] = {
    "stop": pb.FINISH_REASON_STOP,
    "tool_calls": pb.FINISH_REASON_STOP,
    "function_call": pb.FINISH_REASON_STOP,
    "length": pb.FINISH_REASON_LENGTH,
}


class OpenAIEngine:
    """One model behind one endpoint. Belongs to the event loop of its first call."""

    def __init__(self, settings: PolicySettings, wire_format: str) -> None:
        """Nothing is sent before the first `generate`.

        Raises:
            InvalidInputError: MODEL_NOT_NAMED, KEY_NOT_READABLE or UNKNOWN_WIRE_FORMAT.
        """
        if not settings.model:
            message = "policy.model must be the endpoint's name of the model; it is empty"
            raise make(InvalidInputError, "MODEL_NOT_NAMED", message)
        self._settings = settings
        self._wire = wire.get(wire_format)
        self._endpoint = Endpoint(
            kind="policy",
            url=f"{settings.base_url}/chat/completions",
            model=settings.model,
            key=settings.read_key(),
            attempts=settings.attempts,
            backoff_seconds=settings.backoff_seconds,
        )
        self._rows = asyncio.Semaphore(settings.rows)
        self._inside = 0
        self._session: aiohttp.ClientSession | None = None

    @property
    def load(self) -> tuple[int, int]:
        """Completions in work, and completions that wait."""
        at_once = min(self._inside, self._settings.rows)
        return at_once, self._inside - at_once

    @property
    def capacity(self) -> int:
        """See `BoundedEngine`."""
        return self._settings.rows + self._settings.waiting

    def describe(self) -> pb.GetPolicyResponse:
        """See `Engine`."""
        return pb.GetPolicyResponse(
            policy=self._identity(),
            engine="openai",
            max_context_tokens=self._settings.context_tokens or 0,
            wire_format=self._wire.name,
            model=self._settings.model,
        )

    async def generate(self, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        """See `Engine`.

        Raises:
            InvalidInputError: INVALID_PROMPT, or POLICY_REFUSED by the endpoint.
            UnsupportedError: POLICY_UNAUTHORIZED.
            NotFoundError: POLICY_NOT_FOUND: no such model or address.
            BusyError: POLICY_OVERLOADED, here or there, after all tries.
            UnavailableError: POLICY_UNAVAILABLE, POLICY_BAD_REPLY: the stream broke off or is none.
        """
        body = self._body(request)
        limit = self.capacity
        if self._inside >= limit:
            message = f"completions at once: at most {limit}; try again"
            raise make(BusyError, "POLICY_OVERLOADED", message, limit=limit)
        self._inside += 1
        try:
            async with self._rows:
                async for piece in self._streamed(body):
                    yield piece
        finally:
            self._inside -= 1

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _streamed(self, body: dict[str, Any]) -> AsyncIterator[pb.GenerateResponse]:
        reply, chunks, first = await self._endpoint.tried(lambda: self._begun(body))
        answer, said = Answer(), []
        try:
            async for text in self._texts(answer, chunks, first):
                said.append(text)
                yield pb.GenerateResponse(text=text, policy=self._identity())
        except Passing as passing:
            raise passing.error from None
        finally:
            reply.close()
        yield self._last(body, answer, "".join(said))

    async def _begun(
        self, body: dict[str, Any]
    ) -> tuple[aiohttp.ClientResponse, AsyncIterator[dict[str, Any]], dict[str, Any]]:
        """A reply whose first chunk has come."""
        endpoint = self._endpoint
        try:
            reply = await self._opened().post(
                endpoint.url, json=body, headers=endpoint.headers(), allow_redirects=False
            )
        except TimeoutError:
            raise endpoint.silent(self._settings.timeout_seconds) from None
        except aiohttp.ClientError as error:
            raise endpoint.unreachable(error) from None
        chunks = events(reply.content.iter_any())
        try:
            if reply.status != HTTPStatus.OK:
                raise endpoint.failure(reply.status, reply.headers, await self._said(reply))
            return reply, chunks, await self._next(chunks) or {"choices": []}
        except BaseException:
            reply.close()
            raise

    async def _said(self, reply: aiohttp.ClientResponse) -> bytes:
        """The beginning of what comes with an error."""
        with suppress(TimeoutError, aiohttp.ClientError):
            return await reply.content.read(65536)
        return b""

    async def _texts(
        self, answer: Answer, chunks: AsyncIterator[dict[str, Any]], first: dict[str, Any]
    ) -> AsyncIterator[str]:
        event: dict[str, Any] | None = first
        while event is not None:
            try:
                text = answer.add(event)
            except BrokenStream as broken:
                raise self._broken(str(broken)) from None
            if text:
                yield text
            event = await self._next(chunks)

    async def _next(self, chunks: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
        """The next chunk; None at the end."""
        try:
            event = await anext(chunks, None)
        except TimeoutError:
            raise self._endpoint.silent(self._settings.timeout_seconds) from None
        except aiohttp.ClientError as error:
            raise self._endpoint.unreachable(error) from None
        except BrokenStream as broken:
            raise self._broken(str(broken)) from None
        failed = failure(event) if event is not None else None
        if failed is not None:
            raise self._endpoint.failure(failed[0], {}, json.dumps({"error": failed[1]}).encode())
        return event

    def _last(self, body: dict[str, Any], answer: Answer, said: str) -> pb.GenerateResponse:
        """The piece that ends a completion, with the tools that were called."""
        if answer.finish == "content_filter":
            message = f"{self._endpoint.url} filters the completion out"
            raise make(InvalidInputError, "POLICY_REFUSED", message)
        if answer.finish not in _FINISHES:
            raise self._broken("it ends before the completion does")
        calls = [ToolCall(name, arguments) for name, arguments in answer.native_calls()]
        text = written(calls, self._wire) if calls else ""
        lead = "\n" if text and said and not said.endswith("\n") else ""
        return pb.GenerateResponse(
            text=lead + text,
            finish_reason=_FINISHES[answer.finish],
            policy=self._identity(),
            usage=_usage(answer.usage, body, said + text),
        )

    def _body(self, request: pb.GenerateRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": checks.messages(request),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.chat.tools_json:
            body["tools"] = checks.tools(request.chat.tools_json)
        if request.sampling.json_schema:
            body["response_format"] = _response_format(request.sampling.json_schema)
        return body | self._sampling(request.sampling)

    def _sampling(self, sampling: pb.SamplingParams) -> dict[str, Any]:
        """What was asked for or is not the usual default; some endpoints refuse what they do not know."""
        neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
        settings = self._settings
        asked = {name: checks.chosen(sampling, name, getattr(settings, name)) for name in neutral}
        body = {
            name: value
            for name, value in asked.items()
            if sampling.HasField(cast(Any, name)) or value != neutral[name]
        }
        most = checks.chosen(sampling, "max_tokens", settings.max_tokens)
        body[settings.max_tokens_name] = most
        if sampling.HasField("seed"):
            body["seed"] = sampling.seed
        return body | ({"stop": list(sampling.stop)} if sampling.stop else {})

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            seconds = self._settings.timeout_seconds
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
            connector = aiohttp.TCPConnector(limit=self._settings.rows)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=True)
        return self._session

    def _identity(self) -> pb.PolicyIdentity:
        return pb.PolicyIdentity(policy_id=self._settings.model)

    def _broken(self, why: str) -> MemalphaError:
        message = f"{self._endpoint.url} answers with a stream that breaks off or is none: {why}"
        return make(UnavailableError, "POLICY_BAD_REPLY", message)


def written(calls: list[ToolCall], form: WireFormat) -> str:
    """Calls in a wire format; one that the format cannot say becomes a line of JSON, which is refused."""
    together = _rendered(calls, form)
    if together is not None:
        return together
    return "".join(_rendered([call], form) or _as_json(call) for call in calls)


def _rendered(calls: list[ToolCall], form: WireFormat) -> str | None:
    """Calls as the format writes them, if it reads the same ones back."""
    try:
        text = form.render(calls)
    except (KeyError, RecursionError, TypeError, ValueError):
        return None
    read = [each for each in form.parse(text) if isinstance(each, ToolCall)]
    same = [(each.name, _told(each)) for each in read] == [(each.name, _told(each)) for each in calls]
    return text if same else None


def _as_json(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": call.arguments}) + "\n"


def _told(call: ToolCall) -> dict[str, object]:
    return {name: value for name, value in call.arguments.items() if value not in (None, "")}


def _response_format(json_schema: str) -> dict[str, Any]:
    try:
        schema = json.loads(json_schema)
    except (RecursionError, ValueError):
        message = "sampling.json_schema must be JSON"
        raise make(InvalidInputError, "INVALID_SAMPLING", message) from None
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _usage(told: dict[str, Any], body: dict[str, Any], text: str) -> pb.Usage:
    """As the endpoint counts; in o200k tokens if it does not say."""
    try:
        cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return pb.Usage(
            prompt_tokens=told["prompt_tokens"],
            completion_tokens=told["completion_tokens"],
            cached_tokens=cached,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        prompt = sum(count_tokens(message["content"]) for message in body["messages"])
        return pb.Usage(prompt_tokens=prompt, completion_tokens=count_tokens(text))
