"""The load generator in Rust: memcore/server/examples/load.rs, built when it is first needed."""

import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from peers import UnavailableError

_ROOT = Path(__file__).parents[3]
_BUILD = ["cargo", "build", "--locked", "--release", "--package", "memcore-server", "--example", "load"]


def run_load(arguments: Sequence[str], lines: Sequence[str] = ()) -> tuple[list[float], float]:
    """The microseconds it prints, and its own CPU microseconds."""
    program = _program()
    before = _children_cpu()
    done = subprocess.run(
        [program, *arguments], input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True
    )
    return [float(line) for line in done.stdout.split()], _children_cpu() - before


@cache
def _program() -> str:
    if not shutil.which("cargo"):
        raise UnavailableError("no cargo to build the load generator with")
    built = subprocess.run(
        [*_BUILD, "--message-format=json-render-diagnostics"], cwd=_ROOT, stdout=subprocess.PIPE, check=True
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    [program] = [message["executable"] for message in messages if message.get("executable")]
    return program


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6
