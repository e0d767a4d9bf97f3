"""From words on the command line to a comparison, both when a run begins and when it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from memalpha.agent import preset
from memalpha.errors import CorruptionError, InvalidInputError, make
from memalpha_evals import readers, replicas, suites, systems
from memalpha_evals.datasets import Dataset
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.protocols import Reader
from memalpha_evals.readers import ReaderOptions
from memalpha_evals.runs.comparison import Comparison
from memalpha_evals.systems import SystemOptions

READER_FORMS = "a reader's name, policy:SPEC, choice:SPEC, openai:MODEL, transformers:FOLDER or HOST:PORT"


@dataclass(frozen=True, slots=True)
class Plan:
    """The words. All that decides the rows; how fast they are made stands elsewhere.

    Attributes:
        suite: Of `suites.SUITES`.
        data: File or folder; empty: below the folder that `MEMALPHA_DATA` names.
        systems: Of `systems.NAMES`, each once.
        policy: What writes memory; see `endpoints.FORMS`, replicas separated by commas. Empty: nothing does.
        reader: What answers; see `READER_FORMS`.
        preset: How `memalpha` reads.
        budget: o200k tokens of a context.
        chunk_tokens: o200k tokens read at once, at most.
        conversations: Most, the first of the suite; 0: all.
        questions: Most over all conversations, drawn by `draw_seed`; 0: all.
        seed: Of every call to a model.
        draw_seed: Of the draw: which questions are asked, and of what else the suite draws.
    """

    suite: str
    data: str
    systems: tuple[str, ...]
    policy: str
    reader: str
    preset: str
    budget: int
    chunk_tokens: int
    conversations: int
    questions: int
    seed: int
    draw_seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the manifest has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            CorruptionError: DAMAGED_MANIFEST.
        """
        try:
            return cls(**{**raw, "systems": tuple(raw["systems"])})
        except (KeyError, TypeError) as error:
            message = f"the manifest's plan does not say what to run: {error}"
            raise make(CorruptionError, "DAMAGED_MANIFEST", message) from None

    def dataset(self) -> Dataset:
        """The part of the suite that is read and asked.

        Raises:
            DatasetError: It cannot be read.
        """
        draw = Draw(conversations=self.conversations, questions=self.questions, seed=self.draw_seed)
        return suites.load(self.suite, Path(self.data) if self.data else None, draw=draw)


@asynccontextmanager
async def composed(plan: Plan) -> AsyncIterator[Comparison]:
    """The comparison of a plan, with its policy and its reader open.

    Raises:
        DatasetError: The suite cannot be read.
        MemalphaError: A system, the policy or the reader cannot be had.
    """
    agent = preset(plan.preset)
    async with AsyncExitStack() as stack:
        policy = await _opened(plan.policy, stack, agent.wire_format)
        options = SystemOptions(
            budget=plan.budget,
            policy=policy.policy if policy else None,
            description=policy.description if policy else None,
            agent=agent,
            prompt_packs=policy.prompt_packs if policy else (),
            seed=plan.seed,
        )
        made = tuple(systems.create(name, options) for name in plan.systems)
        reader, asked = await _reader(plan, policy, stack)
        dataset = await asyncio.to_thread(plan.dataset)
        at = {"policy_at": plan.policy, "reader_at": reader_parts(plan.reader)[1]}
        opened = [each for each in (policy, asked) if each]
        away = tuple(dict.fromkeys(name for each in opened for name in each.left_out))
        yield Comparison(dataset, made, reader, plan.budget, plan.chunk_tokens, **at, left_out=away)


async def _opened(spec: str, stack: AsyncExitStack, wire_format: str = "") -> Endpoint | None:
    return await stack.enter_async_context(replicas.opened(spec, wire_format)) if spec else None


async def _reader(
    plan: Plan, policy: Endpoint | None, stack: AsyncExitStack
) -> tuple[Reader, Endpoint | None]:
    """The reader, and whom it asks."""
    name, spec = reader_parts(plan.reader)
    # One engine in this process is enough for writing and for answering.
    found = policy if policy and spec == policy.spec else await _opened(spec, stack)
    if found is None:
        return readers.create(name, ReaderOptions(seed=plan.seed)), None
    return readers.create(name, ReaderOptions(found.policy, found.description, seed=plan.seed)), found


def reader_parts(text: str) -> tuple[str, str]:
    """The reader's name and the endpoint that it asks, empty if it is a rule.

    Raises:
        InvalidInputError: READER_SPEC.
    """
    name, _, rest = text.partition(":")
    if name in ("policy", "choice") and rest:
        return name, rest
    if name in readers.NAMES and not rest:
        return name, ""
    if name == "openai" and rest:
        return name, text
    if rest and name not in readers.NAMES:
        return "policy", text
    message = f"reader must be {READER_FORMS}, with a name of {', '.join(readers.NAMES)}; not {text!r}"
    raise make(InvalidInputError, "READER_SPEC", message, reader=text)
