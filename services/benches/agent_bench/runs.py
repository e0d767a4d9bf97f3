"""One run, measured: clocks around a loop over banks that are new.

CPU time is this process's, of all its threads: agent, clients and, where the banks are in RAM here, the
memory, which is timed by itself. The same calls without an agent (`loops.bare`) cost what is generation's;
the rest is the agent's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import memcore
from agent_bench import prefixes
from agent_bench.loops import Loop, bare, filled, memorized, streams
from agent_bench.metered import Metered
from agent_bench.occupancy import Occupancy
from agent_bench.workload import Workload
from memalpha.agent import AgentSettings, ChunkOutcome, Policy
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Durability, Embedder, EmbedderKind
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.memorized import InlineTransport
from memalpha.transport import Method, Q, R
from memcore import count_tokens

VOLATILE = BankSettings(
    durability=Durability.DURABILITY_VOLATILE, embedder=Embedder(kind=EmbedderKind.EMBEDDER_KIND_NONE)
)
"""Of banks in RAM, as training has them: words only."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is run.

    Attributes:
        policy: The engine's.
        rows: Of the engine.
        workload: What there is to do.
        settings: Of the agent.
        memory: At an address, or in RAM.
        dictate: Whether the policy's own text is replaced.
        subtract: Whether the calls are made again without an agent.
    """

    policy: Policy
    rows: int
    workload: Workload
    settings: AgentSettings
    memory: str = ""
    dictate: bool = False
    subtract: bool = True

    def but(self, workload: Workload) -> Setup:
        """The same with another workload."""
        return replace(self, workload=workload)


@dataclass(frozen=True, slots=True)
class Run:
    """The numbers of one run.

    Attributes:
        chunks: That were memorized.
        seconds: By the clock.
        operations: That were applied.
        prompt_tokens: Of all prompts: the engine's own, or o200k tokens where it counts none.
        new_tokens: Likewise, of completions.
        cached_tokens: Of prompt tokens, those that the engine had cached.
        busy: Share of the time in which the engine had work.
        filled: Mean of its rows in work, over all its rows.
        cpu_ms: Of this process, for each chunk.
        calls_ms: As much of it as the calls cost without an agent; 0 if that was not measured.
        memory_ms: As much of it as a memory in this process took; 0 if it is in another.
        shared: See `prefixes.shared`.
    """

    chunks: int
    seconds: float
    operations: int
    prompt_tokens: int
    new_tokens: int
    cached_tokens: int
    busy: float
    filled: float
    cpu_ms: float
    calls_ms: float
    memory_ms: float
    shared: float

    @property
    def agent_ms(self) -> float:
        """CPU of the agent for each chunk, in milliseconds."""
        return self.cpu_ms - self.calls_ms - self.memory_ms


async def run(loop: Loop, setup: Setup) -> Run:
    """Makes one run."""
    async with _memory(setup.memory) as (memory, spent):
        bank = BankSettings() if setup.memory else VOLATILE
        banks = await filled(memory, setup.workload, bank, f"bench-{uuid4().hex[:8]}")
        begin, cpu, before = time.perf_counter(), time.process_time(), spent()
        policy = Metered(
            setup.policy,
            Occupancy(setup.rows, begin),
            time.perf_counter,
            setup.workload if setup.dictate else None,
        )
        outcomes = await memorized(loop, memory, policy, setup.settings, banks, setup.rows)
        cpu, end, stored = time.process_time() - cpu, time.perf_counter(), spent() - before
    busy, filled_share = policy.occupancy.shares(end)
    calls = await _bare_cpu(setup.policy, policy) if setup.subtract else 0.0
    prompts, new, cached = _tokens(policy)
    return Run(
        chunks=len(outcomes),
        seconds=end - begin,
        operations=_applied(outcomes),
        prompt_tokens=prompts,
        new_tokens=new,
        cached_tokens=cached,
        busy=busy,
        filled=filled_share,
        cpu_ms=1000 * cpu / len(outcomes),
        calls_ms=1000 * calls / len(outcomes),
        memory_ms=1000 * stored / len(outcomes),
        shared=prefixes.shared(_prompts(policy)),
    )


@asynccontextmanager
async def _memory(address: str) -> AsyncIterator[tuple[AsyncMemoryClient, Callable[[], float]]]:
    """A memory, and how much CPU it has taken in this process so far, in seconds."""
    if address:
        async with AsyncMemoryClient.connect(address) as client:
            yield client, lambda: 0.0
        return
    with memcore.Store.in_memory() as store:
        timed = _Timed(store)
        yield AsyncMemoryClient(timed), lambda: timed.spent


class _Timed(InlineTransport):
    """Adds up the CPU seconds of its calls, which nothing interrupts."""

    spent = 0.0

    async def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        begin = time.thread_time()
        try:
            return await super().call(method, request, timeout=timeout)
        finally:
            self.spent += time.thread_time() - begin


async def _bare_cpu(policy: Policy, watched: Metered) -> float:
    before = time.process_time()
    await bare(policy, watched.requests)
    return time.process_time() - before


def _prompts(policy: Metered) -> list[list[str]]:
    """The texts of each bank's prompts, in order."""
    return [
        ["\n".join(message.content for message in request.chat.messages) for request in stream]
        for stream in streams(policy.requests)
    ]


def _tokens(policy: Metered) -> tuple[int, int, int]:
    """Tokens of prompts and of completions, and how many of the first were cached."""
    usages = [each.usage for each in policy.completions]
    if any(usage.prompt_tokens for usage in usages):
        fields = ("prompt_tokens", "completion_tokens", "cached_tokens")
        prompts, new, cached = (sum(getattr(usage, name) for usage in usages) for name in fields)
        return prompts, new, cached
    prompts = sum(count_tokens(prompt) for stream in _prompts(policy) for prompt in stream)
    return prompts, sum(count_tokens(each.text) for each in policy.completions), 0


def _applied(outcomes: list[ChunkOutcome]) -> int:
    return sum(not result.HasField("error") for outcome in outcomes for result in outcome.results)
