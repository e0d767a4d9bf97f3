"""Real files whole: every conversation of a suite memorized by the extractive policy, every question asked.

The whole path runs, as in `bench.long`, from the official file to scored rows, once for each set of files, in
a process of its own: the peak is of one suite. A suite of more tokens than are wanted is loaded whole, and of
its conversations the first are read; the document says of how many. A suite that a day's document has is not
run again, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from memalpha.errors import InternalError, make
from memalpha_evals import suites
from memalpha_evals.bench import long
from memalpha_evals.datasets import Conversation, Dataset
from memalpha_evals.datasets.draws import ALL
from memalpha_evals.suites import SUITES, VARIABLE, Suite
from memalpha_evals.suites.model import FOLDER
from memcore import count_tokens

POLICY, READER = "extractive", "extract"
_AGAIN = re.compile(r"-(30k|100k)$|-dev(-|$)")
"""Suites of files that another suite has too: the same contexts but longer, or only some of them."""


async def measure(name: str, most_tokens: int) -> dict[str, Any]:
    """A suite of the folder that MEMALPHA_DATA names.

    Args:
        name: Of the suite.
        most_tokens: o200k tokens of turns that are read, but at least one conversation.

    Raises:
        DatasetError: There is no such suite, or its files are missing or not of its form.
        MemalphaError: As `evals run`.
    """
    begun = perf_counter()
    dataset = suites.load(name, draw=ALL)
    loaded = perf_counter()
    part = replace(dataset, conversations=tuple(_first(dataset.conversations, most_tokens)))
    cut = perf_counter()
    async with long.compared(part, suites.named(name).protocol, POLICY) as comparison:
        with TemporaryDirectory() as folder:
            found = await long.run(comparison, Path(folder))
    return {
        "suite": name,
        **_of_files(suites.named(name)),
        "sha256": dataset.sha256,
        "conversations": len(dataset.conversations),
        "conversations_read": len(part.conversations),
        "questions": _questions(dataset),
        "questions_asked": comparison.row_count,
        "tokens": sum(each.tokens for each in comparison.streams),
        "chunks": sum(len(each.chunks) for each in comparison.streams),
        "seconds_loading": loaded - begun,
        "seconds": perf_counter() - cut,
        "cpu_seconds": process_time(),
        "failed": found["failed"],
        "peak_mb": long.peak_mb(),
    }


def apart(name: str, data: Path, most_tokens: int) -> dict[str, Any]:
    """`measure` in a process of its own; what it prints to standard error is shown.

    Raises:
        InternalError: SUITE_FAILED.
    """
    words = ["bench", "whole", name, "--most-tokens", str(most_tokens), "--here", "--json"]
    command = [sys.executable, "-m", "memalpha_evals", *words]
    environment = {**os.environ, VARIABLE: str(data.resolve())}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if done.returncode:
        raise make(InternalError, "SUITE_FAILED", f"{name} ended with {done.returncode}", suite=name)
    return json.loads(done.stdout)


def names(data: Path) -> list[str]:
    """The suites whose files a folder of all data has, but for those of the same files at greater lengths."""
    there = (each for each in SUITES.values() if suites.present(each, data / each.folder))
    return [each.name for each in there if not each.generated and not _AGAIN.search(each.name)]


def unseen(data: Path) -> list[str]:
    """Forms of files that suites read and a folder of all data has none of: as folder and files."""
    absent = dict.fromkeys(
        f"{suite.folder}/ {' + '.join(each if each != FOLDER else 'N/chat.json' for each in layout.patterns)}"
        for suite in SUITES.values()
        for layout in suite.layouts
        if not suite.generated and layout.find(data / suite.folder) is None
    )
    return list(absent)


def _of_files(suite: Suite) -> dict[str, Any]:
    _, ask = suite.locate(None)
    paths = [path for each in ask.paths for path in (sorted(each.iterdir()) if each.is_dir() else [each])]
    return {"files": [path.name for path in paths], "bytes": sum(path.stat().st_size for path in paths)}


def _first(conversations: Iterable[Conversation], most_tokens: int) -> Iterator[Conversation]:
    kept = list(conversations)
    ends = accumulate(sum(count_tokens(turn.text) for turn in each.turns) for each in kept)
    for place, (each, end) in enumerate(zip(kept, ends, strict=False)):
        if place and end > most_tokens:
            return
        yield each


def _questions(dataset: Dataset) -> int:
    return sum(len(each.questions) for each in dataset.conversations)
