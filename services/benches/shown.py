"""What the measurements of this folder share when they are shown: tables, and what they ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def table(lead: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table in Markdown, after the sentence that says what it shows; each row begins with its name."""
    lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())]
    return "\n".join([lead, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def ran_on(load: float, now: datetime, libraries: Sequence[str]) -> dict[str, Any]:
    """The day, the machine, how busy it was before, and the versions of those libraries that are here."""
    return {
        "date": now.date().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "versions": {"python": platform.python_version(), **dict(_versions(libraries))},
    }


def said_of(document: Mapping[str, Any], more: str = "") -> str:
    """The day, the machine and the versions of a document that holds `ran_on`, in words."""
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return (
        f"{document['date']}, {document['cores']} cores, load {document['load_before']} before;"
        f"{f' {more};' if more else ''} {versions}"
    )


def _versions(libraries: Sequence[str]) -> Iterator[tuple[str, str]]:
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    yield from ((name, metadata.version(name)) for name in libraries if name in installed)
