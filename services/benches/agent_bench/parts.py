"""What is measured, part by part; each part gives named runs, every one of which is made several times.

- `loops`: the agent's order against lock step, on a stub that takes its time.
- `doors`: what the agent costs a chunk, with all in one process and with services in their own.
- `layouts`: what two prompts of a bank share, by prompt pack and view. Nothing is timed, so once is enough.
- `models`: tiny models behind policy services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent_bench import children, models, prefixes
from agent_bench.loops import Loop
from agent_bench.runs import Run, Setup, run
from agent_bench.stub import StubEngine
from agent_bench.workload import Kind, Size, Workload
from memalpha.agent import AgentSettings, preset
from memalpha.policy.engine import InProcessPolicy

Named = AsyncIterator[tuple[str, list[Run]]]
KINDS: tuple[Kind, ...] = ("fixed", "log-normal")
LOOPS: tuple[Loop, ...] = ("free", "lockstep")
_SEED = 7
_SIZE = Size(banks=64, chunks=(5, 25), words=800, inserts=3)
_SMALL = Size(banks=8, chunks=(4, 8), words=240, inserts=2)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        repeats: Runs of each row.
        rows: Of the stub.
        median: Seconds of its completions.
        size: Of its workload.
        small: Of the models' workloads.
        model_rows: Of the models.
        new_tokens: Most that a model writes for a chunk.
    """

    repeats: int = 3
    rows: int = 32
    median: float = 0.25
    size: Size = _SIZE
    small: Size = _SMALL
    model_rows: int = 4
    new_tokens: int = 48

    def workload(self, kind: Kind, wire_format: str = "hermes") -> Workload:
        """The stub's."""
        return Workload(self.size, kind, self.median, wire_format, _SEED)


QUICK = Scale(
    repeats=1,
    rows=4,
    median=0.02,
    size=Size(8, (2, 6), 200, 2),
    small=Size(3, (2, 3), 100, 1),
    model_rows=2,
    new_tokens=8,
)


async def loops(scale: Scale) -> Named:
    """Both loops on both kinds of latencies."""
    for kind in KINDS:
        workload = scale.workload(kind)
        for loop in LOOPS:
            setup = replace(_stubbed(workload, scale, AgentSettings()), subtract=False)
            yield f"{kind}, {loop}", [await run(loop, setup) for _ in range(scale.repeats)]


async def doors(scale: Scale, folder: Path) -> Named:
    """All in this process; then memory and policy as services."""
    workload = scale.workload("log-normal")
    here = _stubbed(workload, scale, AgentSettings())
    yield "one process, banks in RAM", [await run("free", here) for _ in range(scale.repeats)]
    async with (
        children.memory_service(folder / "memory") as memory,
        children.stub_service(workload, scale.rows, folder) as policy,
    ):
        there = replace(here, policy=policy, memory=memory)
        yield "services, banks on disk", [await run("free", there) for _ in range(scale.repeats)]


async def layouts(scale: Scale, folder: Path) -> Named:
    """What prompts share, by prompt pack and view."""
    moved = prefixes.memory_first(folder / "memory-first")
    for name, pack in (("instructions first", "default"), ("memory first", moved)):
        for view in ("relevant", "recent"):
            settings = AgentSettings(prompt_pack=pack, view=view)
            yield f"{name}, {view} view", [await _at_once(scale, settings, "hermes")]
    yield "the paper's pack, recent view", [await _at_once(scale, preset("paper"), "qwen_agent")]


async def model(scale: Scale, engine: str, folder: Path, say: Callable[[str], None]) -> Named:
    """A tiny model behind a policy service, by layout where it caches prefixes."""
    workload = Workload(scale.small, "fixed", 0.0, "hermes", _SEED)
    checkpoint = models.made(folder, workload)
    policy = {"model": str(checkpoint), "rows": scale.model_rows, "device": "cpu"}
    packs = {"instructions first": "default"}
    if engine == "vllm":
        packs["memory first"] = prefixes.memory_first(folder / "memory-first")
    async with children.policy_service(engine, "hermes", policy, folder) as client:
        say(f"{engine} is ready")
        for name, pack in packs.items():
            settings = AgentSettings(prompt_pack=pack, max_new_tokens=scale.new_tokens)
            setup = Setup(client, scale.model_rows, workload, settings, dictate=True, subtract=False)
            # Another seed each time: a run whose prompts were seen before would find all of them cached. And
            # one run more, which is left out: engines compile at their first steps.
            seeds = range(_SEED, _SEED + scale.repeats + 1)
            runs = [await run("free", setup.but(replace(workload, seed=seed))) for seed in seeds]
            yield f"{engine}, {name}", runs[1:]


def _stubbed(workload: Workload, scale: Scale, settings: AgentSettings) -> Setup:
    return Setup(InProcessPolicy(StubEngine(workload, scale.rows)), scale.rows, workload, settings)


async def _at_once(scale: Scale, settings: AgentSettings, wire_format: str) -> Run:
    workload = replace(scale.workload("fixed", wire_format), median=0.0)
    return await run("free", replace(_stubbed(workload, scale, settings), subtract=False))
