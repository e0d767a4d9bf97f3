"""An engine that takes its time and computes nothing: so many rows, and a line before them.

`serve` puts it behind a policy service in this process, for a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agent_bench.workload import Workload, key_of
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FINISH_REASON_STOP,
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
    PolicyIdentity,
)
from memalpha.services import policy

CONTEXT = 32_768
"""Tokens, as a small model has them; the agent sees to it that prompts fit."""

_GRACE_SECONDS = 1.0


class StubEngine:
    """Writes what a workload says, after the time that it says; see `memalpha.policy.engine.Engine`."""

    def __init__(self, workload: Workload, rows: int) -> None:
        """Works on `rows` completions at once; others wait in order."""
        self._workload = workload
        self._rows = asyncio.Semaphore(rows)
        self._identity = PolicyIdentity(policy_id="stub", policy_version=1)
        # Drawn now, so that no completion pays for it.
        _ = workload.texts

    def describe(self) -> GetPolicyResponse:
        """See `Engine`."""
        return GetPolicyResponse(
            policy=self._identity,
            engine="stub",
            wire_format=self._workload.wire_format,
            max_context_tokens=CONTEXT,
        )

    async def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        """See `Engine`."""
        messages = request.chat.messages
        async with self._rows:
            await asyncio.sleep(self._workload.seconds[key_of(messages)])
        text = self._workload.written(messages)
        yield GenerateResponse(text=text, finish_reason=FINISH_REASON_STOP, policy=self._identity)


def serve(workload: Workload, rows: int, address: str) -> int:
    """Is the stub's policy service until it is told to stop; returns the exit status."""

    async def run() -> int:
        return await policy.run(StubEngine(workload, rows), address, _GRACE_SECONDS)

    return asyncio.run(run())
