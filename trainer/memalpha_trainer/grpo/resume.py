"""Checkpoints to go on from: whole ones, between two collections, and nothing else.

A checkpoint holds weights, optimizer, schedule and random states; it does not hold the rollouts of a
collection half trained on, which is why one within a collection is refused. Saving is no single act, so that
the file `resumable.json` is written after everything else is on disk, and a folder without it is none.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from memalpha.errors import UnsupportedError, make
from memalpha.files import replace_json, sync

MARK = "resumable.json"
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints(TrainerCallback):
    """Marks a checkpoint once it is whole, and lets old ones go."""

    def __init__(self, keep: int, updates: int) -> None:
        """Keeps the newest ones.

        Args:
            keep: How many; 0: all.
            updates: Optimizer steps of a collection.
        """
        self._keep = keep
        self._updates = updates

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer on all ranks, when each has written its part."""
        PartialState().wait_for_everyone()
        if args.should_save:
            root = Path(args.output_dir)
            mark(root / f"checkpoint-{state.global_step}", state.global_step, self._updates)
            prune(root, self._keep)


def mark(folder: Path, step: int, updates: int) -> None:
    """Says of a folder that it is whole, after everything in it is on disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
    replace_json(folder / MARK, {"step": step, "updates": updates})


def latest(root: Path, updates: int) -> Path | None:
    """The newest whole checkpoint of a folder; None if there is none.

    Args:
        root: Where checkpoints stand.
        updates: Optimizer steps of a collection, as they are now.

    Raises:
        UnsupportedError: CHECKPOINT_NOT_ALIGNED: it stands within a collection.
    """
    found = [(step, folder) for step, folder in _checkpoints(root) if (folder / MARK).is_file()]
    if not found:
        return None
    step, folder = found[-1]
    if step % updates:
        message = (
            f"{folder} stands within a collection of {updates} optimizer steps, and cannot be gone on from"
        )
        raise make(UnsupportedError, "CHECKPOINT_NOT_ALIGNED", message, step=step, updates=updates)
    return folder


def step_of(folder: Path) -> int:
    """Optimizer steps behind a checkpoint."""
    return int(json.loads((folder / MARK).read_text("utf-8"))["step"])


def prune(root: Path, keep: int) -> None:
    """Removes all but the newest whole checkpoints (0: none of them), and torn ones before the newest."""
    checkpoints = [folder for _, folder in _checkpoints(root)]
    whole = [folder for folder in checkpoints if (folder / MARK).is_file()]
    kept = set(whole[-keep:] if keep else whole)
    for folder in checkpoints[: checkpoints.index(whole[-1])] if whole else ():
        if folder not in kept:
            shutil.rmtree(folder)


def _checkpoints(root: Path) -> list[tuple[int, Path]]:
    folders = root.iterdir() if root.is_dir() else ()
    return sorted((int(found[1]), folder) for folder in folders if (found := _NAME.fullmatch(folder.name)))
