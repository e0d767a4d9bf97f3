"""What one very long conversation takes: conversations of a suite said one after another, then questions.

The whole path runs, as `evals run` has it: chunks, the policy's calls, the bank, contexts, the reader, rows,
scores. Time is from the first chunk cut to the last row; memory is the process's peak, Python included.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from memalpha.errors import InvalidInputError, make
from memalpha_evals import readers, suites, systems
from memalpha_evals.datasets import Conversation, Dataset, Question
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.endpoints import endpoint
from memalpha_evals.readers import ReaderOptions
from memalpha_evals.runs import Comparison, Execution, RunFolder, manifest, rows
from memalpha_evals.runs.progress import console, shown
from memalpha_evals.scheduler import Limits
from memalpha_evals.systems import SystemOptions
from memcore import count_tokens

_MARGIN = 1.5
_SEED = 0
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


async def measure(suite: str, data: Path | None, tokens: int, questions: int, policy: str) -> dict[str, Any]:
    """The measurement.

    Args:
        suite: Whose conversations are joined.
        data: Where it lies; None: as for `evals run`.
        tokens: o200k tokens of turns, at least.
        questions: Asked at the end, drawn from those about what was said.
        policy: What writes memory.

    Raises:
        InvalidInputError: SUITE_TOO_SHORT.
        MemalphaError: As `evals run`.
    """
    long = joined(_enough(suite, data, tokens), tokens, questions)
    begun = perf_counter()
    async with compared(long, suites.named(suite).protocol, policy) as comparison:
        cut = perf_counter()
        with TemporaryDirectory() as name:
            found = await run(comparison, Path(name))
    return {
        "suite": suite,
        "sha256": long.sha256,
        "policy": policy,
        "tokens": sum(each.tokens for each in comparison.streams),
        "chunks": sum(len(each.chunks) for each in comparison.streams),
        "questions": comparison.row_count,
        "seconds": perf_counter() - begun,
        "seconds_cutting": cut - begun,
        "peak_mb": peak_mb(),
        **found,
    }


@asynccontextmanager
async def compared(dataset: Dataset, protocol: suites.Protocol, policy: str) -> AsyncIterator[Comparison]:
    """Memory by a policy, answers by the reader `extract`, of a data set that is cut into chunks already."""
    async with endpoint(policy) as opened:
        options = SystemOptions(protocol.budget, opened.policy, opened.description, seed=_SEED)
        system = systems.create("memalpha", options)
        reader = readers.create("extract", ReaderOptions())
        comparison = Comparison(dataset, (system,), reader, protocol.budget, protocol.chunk_tokens)
        _ = comparison.streams
        yield comparison


async def run(comparison: Comparison, path: Path) -> dict[str, Any]:
    """Runs it in a new folder, and shows how far it is on standard error.

    Numbers of the run; of its first conversation what is stored and built.
    """
    with RunFolder.create(path, manifest.describe(comparison, {})) as folder:
        execution = Execution(comparison, folder, Limits())
        async with shown(execution.counts, console()):
            report = await execution.run()
    row = next(rows(path))
    return {
        "seconds_running": report.seconds,
        "failed": execution.counts.failures,
        "stored_tokens": row.stored_tokens,
        "built_calls": row.built.calls,
        "steps_bytes": (path / "steps.jsonl").stat().st_size,
    }


def peak_mb() -> float:
    """Of this process, Python included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 1e6


def _enough(suite: str, data: Path | None, tokens: int) -> Dataset:
    """As many conversations as should do, going by the first one; a generated suite has no end."""
    first = suites.load(suite, data, draw=Draw(conversations=1, seed=_SEED))
    count = 1 + math.ceil(_MARGIN * tokens / max(1, _said(first.conversations[0])))
    return suites.load(suite, data, draw=Draw(conversations=count, seed=_SEED))


def joined(dataset: Dataset, tokens: int, questions: int) -> Dataset:
    """The first conversations as one, and some of the questions about them, all asked at its end.

    Raises:
        InvalidInputError: SUITE_TOO_SHORT.
    """
    parts, said = list[Conversation](), 0
    for conversation in dataset.conversations:
        if said >= tokens:
            break
        parts.append(conversation)
        said += _said(conversation)
    if said < tokens:
        message = f"{dataset.name} has only {said:,} tokens, and {tokens:,} are wanted"
        raise make(InvalidInputError, "SUITE_TOO_SHORT", message, tokens=said)
    turns = tuple(replace(turn, id=f"{part.id} {turn.id}") for part in parts for turn in part.turns)
    asked = [_asked(part, question) for part in parts for question in part.questions]
    asked = Random(_SEED).sample(asked, min(questions, len(asked)))
    named = tuple(replace(question, id=str(place)) for place, question in enumerate(asked))
    return replace(dataset, conversations=(Conversation("joined", turns, named),))


def _asked(part: Conversation, question: Question) -> Question:
    evidence = frozenset(f"{part.id} {turn}" for turn in question.evidence)
    return replace(question, evidence=evidence, until=None)


def _said(conversation: Conversation) -> int:
    return sum(count_tokens(turn.text) for turn in conversation.turns)
