"""What a run is, as `manifest.json` says it: enough to repeat it, to go on with it, and to doubt it.

`what` decides the rows; a run that goes on must have the same, down to the versions of the packages that make
them. `plan` are the words on the command line from which it is put together again. The rest tells where, when
and how it ran.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from memalpha.errors import ConflictError, make
from memalpha_evals.protocols import Reader, System
from memalpha_evals.runs.blind import SENTENCE
from memalpha_evals.runs.comparison import Comparison
from memalpha_evals.runs.lines import encoded

FORMAT = 1
_DECIDING = ("memalpha", "memalpha-memcore", "memalpha-evals", "numpy", "rank-bm25", "snowballstemmer")
"""Packages that every run's rows depend on."""
_ENGINES = ("torch", "transformers", "tokenizers", "sentence-transformers")
"""Packages that rows depend on where a model runs in this process."""
_PACKAGES = (
    *("memalpha", "memalpha-memcore", "memalpha-evals", "memalpha-trainer", "numpy", "openai"),
    *("torch", "transformers", "tokenizers", "sentence-transformers", "grpcio", "protobuf"),
)


def describe(comparison: Comparison, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that begins."""
    return {
        "format": FORMAT,
        "what": what(comparison),
        "plan": dict(plan),
        "timing_fields": ["timing"],
        "leak_guard": SENTENCE,
        "starts": [],
    }


def what(comparison: Comparison) -> dict[str, Any]:
    """All that the rows depend on, and what a reader of them has to know."""
    dataset, streams = comparison.dataset, comparison.streams
    return {
        "data": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "licence": dataset.licence,
            "caveats": list(dataset.caveats),
            "metric": dataset.metric,
            "unit": dataset.unit,
            "clusters": dataset.clusters,
            "apart": sorted(dataset.apart),
        },
        "streams": {
            "sha256": comparison.digest,
            "conversations": len(streams),
            "chunks": sum(len(each.chunks) for each in streams),
            "tokens": sum(each.tokens for each in streams),
            "questions": sum(len(each.questions) for each in streams),
        },
        "chunk_tokens": comparison.chunk_tokens,
        "budget": comparison.budget,
        "systems": [_system(each) for each in comparison.systems],
        "reader": _reader(comparison.reader),
        "packages": _versions([*_DECIDING, *(name for name in _ENGINES if _is_loaded(name))]),
    }


def is_one(content: Any) -> bool:
    """Whether it has the form of a manifest."""
    return (
        isinstance(content, Mapping)
        and content.get("format") == FORMAT
        and all(isinstance(content.get(name), Mapping) for name in ("what", "plan"))
        and all(isinstance(content["what"].get(name), Mapping) for name in ("data", "reader"))
        and all(isinstance(each, Mapping) and "name" in each for each in content["what"].get("systems", [0]))
        and isinstance(content.get("starts"), list)
    )


def start() -> dict[str, Any]:
    """One start of a run: when, with which command, on what."""
    return {
        "time": _now(),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": _versions(_PACKAGES),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def require_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compares what a run is with what it was when it began.

    Raises:
        ConflictError: ANOTHER_RUN; it names the first thing that differs.
    """
    old, new = _flat(before), _flat(json.loads(encoded(now)))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            message = (
                f"this run began with {name} {old.get(name)!r}, and now it is {new.get(name)!r}: "
                "begin another run"
            )
            raise make(ConflictError, "ANOTHER_RUN", message, name=name)


def ended(state: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """How a start ended: `done`, `stopped` or `failed`, and the scheduler's figures if there are any."""
    return {"ended": _now(), "state": state, **report}


def _system(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "about": system.about,
        "query_aware": system.query_aware,
        "identity": dict(system.identity),
    }


def _reader(reader: Reader) -> dict[str, Any]:
    return {
        "name": reader.name,
        "about": reader.about,
        "model_free": reader.model_free,
        "identity": dict(reader.identity),
    }


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """Leaves by their dotted names."""
    if isinstance(content, Mapping):
        pairs = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list | tuple):
        pairs = [(str(place), value) for place, value in enumerate(content)]
    else:
        return {name: content}
    found: dict[str, Any] = {} if pairs else {name: None}
    for key, value in pairs:
        found |= _flat(value, f"{name}.{key}" if name else key)
    return found


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {name: found for name in packages if (found := _version(name))}


def _is_loaded(package: str) -> bool:
    return package.replace("-", "_") in sys.modules


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
