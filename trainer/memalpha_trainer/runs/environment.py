"""What a run ran on: enough to say, long afterwards, why its numbers differ from another's."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("memalpha", "memalpha-memcore", "memalpha-trainer", "torch", "transformers", "trl", "accelerate"),
    *("peft", "datasets", "tokenizers", "safetensors", "numpy", "pydantic", "grpcio"),
)


def describe(seed: int, step: int, origin: Mapping[str, Any]) -> dict[str, Any]:
    """One start of a run: when, with which command, versions and machine, from which step and what on."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "command": sys.argv,
        "seed": seed,
        **origin,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "git": _git(Path(__file__).parent),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def code(git: Mapping[str, Any] | None) -> str:
    """In words, of which commit the code is."""
    if git is None:
        return "no commit known"
    return f"commit {git['commit'][:10]}{', with files that differ from it' if git['changed'] else ''}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit that the code is of, and whether files differ from it; None outside of a repository."""
    commit = _output(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    # One that git could not tell may differ.
    return {"commit": commit, "changed": _output(folder, "status", "--porcelain", "-uno") != ""}


def _output(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _cpu() -> str:
    """The processor's name; Linux tells it in one file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
