"""What the measurements of this folder share when they are shown: tables, and what they ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from memalpha_trainer.runs import environment

DOCS = Path(__file__).parents[2] / "docs"


def table(lead: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table in Markdown, after the sentence that says what it shows; each row begins with its name."""
    lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())]
    return "\n".join([lead, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def ran_on(libraries: Sequence[str]) -> dict[str, Any]:
    """The day, the code, the machine, how busy it is, and the versions of those libraries that are here.

    For the beginning of a measurement: at its end it has made the machine busy, and the code may be another.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "git": environment.describe(0, 0, {})["git"],
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), **dict(_versions(libraries))},
    }


def said_of(document: Mapping[str, Any], more: str = "") -> str:
    """The day, the code, the machine and the versions of a document that holds `ran_on`, in words."""
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return (
        f"{document['date']}, {environment.code(document['git'])}, {document['cores']} cores,"
        f" load {document['load_before']} before;{f' {more};' if more else ''} {versions}"
    )


def _versions(libraries: Sequence[str]) -> Iterator[tuple[str, str]]:
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    yield from ((name, metadata.version(name)) for name in libraries if name in installed)
