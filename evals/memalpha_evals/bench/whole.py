"""Real files whole: every conversation of a suite memorized by the extractive policy, every question asked.

The whole path runs, as in `bench.long`, from the official file to scored rows, once for each set of files, in
a process of its own: the peak is of one suite. A suite of more tokens than are wanted is loaded whole, and of
its conversations the first are read; the document says of how many. A suite that cannot be read is a row with
its error, and those behind it are read. `whole_kept` says which rows need not be made again.
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

from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import suites
from memalpha_evals.bench import long
from memalpha_evals.datasets import Conversation, Dataset
from memalpha_evals.datasets.draws import ALL
from memalpha_evals.suites import SUITES, VARIABLE
from memalpha_evals.suites.model import FOLDER, Layout
from memcore import count_tokens

POLICY, READER = "extractive", "extract"
_AGAIN = re.compile(r"-(30k|100k)$|-dev(-|$)")
"""Suites of files that another suite has too: the same contexts but longer, or only some of them."""
_CHATS = "N/chat.json"
"""How BEAM's folder is published. The suite takes the same files side by side too."""


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
        "most_tokens": most_tokens,
        **of_files(name),
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
    """`measure` in a process of its own, or a row with an `error`; its standard error is shown."""
    words = ["bench", "whole", name, "--most-tokens", str(most_tokens), "--here", "--json"]
    command = [sys.executable, "-m", "memalpha_evals", *words]
    environment = {**os.environ, VARIABLE: str(data.resolve())}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if done.stdout:
        return json.loads(done.stdout)
    return {"suite": name, "error": f"its process ended with {done.returncode}"}


def names(data: Path) -> list[str]:
    """The suites whose files a folder of all data has, but for those of the same files at greater lengths.

    One of which several files fit is among them, and its row says so.

    Raises:
        DatasetError: There is no such folder, or it has no suite's files.
    """
    if not data.is_dir():
        raise DatasetError(f"cannot read {data}: there is no such folder")
    there = (each for each in SUITES.values() if suites.present(each, data / each.folder))
    found = [each.name for each in there if not each.generated and not _AGAIN.search(each.name)]
    if not found:
        raise DatasetError(f"{data} has no suite's files: `evals suites` names their places in it")
    return found


def unseen(data: Path) -> list[str]:
    """Forms of files that suites read and a folder of all data has none of: as folder and files."""
    absent = dict.fromkeys(
        f"{suite.folder}/ {' + '.join(_CHATS if each == FOLDER else each for each in layout.patterns)}"
        for suite in SUITES.values()
        for layout in suite.layouts
        if not suite.generated and not _is_there(layout, data / suite.folder)
    )
    return list(absent)


def _is_there(layout: Layout, folder: Path) -> bool:
    if layout.patterns == (FOLDER,):
        return any(folder.glob(_CHATS.replace("N", "*")))
    try:
        return layout.find(folder) is not None
    except DatasetError:
        return True


def of_files(name: str, data: Path | None = None) -> dict[str, Any]:
    """Names and bytes of a suite's files; `data` is the folder of all data, None: that of MEMALPHA_DATA.

    Raises:
        DatasetError: There is no such suite, its files are missing, or several fit.
    """
    suite = suites.named(name)
    _, ask = suite.locate(data / suite.folder if data else None)
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
