"""A table's document as an earlier command left it: what the rows of its runs cannot tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.errors import CorruptionError, make
from memalpha_evals.seed_table.plans import Settings
from memalpha_evals.seed_table.who import Who

DOCUMENT = "seed-table.json"


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier table.

    Attributes:
        settings: Its words, without places.
        reasons: Of each of its cells; empty: it has none.
        plumbing: Its reader was a rule, or a model for tests.
        has_figures: Any cell has one.
        writers: Who wrote the memory of its runs; nobody if it has no figures.
        readers: Who answered.
    """

    settings: Settings
    reasons: dict[str, str]
    plumbing: bool
    has_figures: bool
    writers: tuple[Who, ...]
    readers: tuple[Who, ...]


def earlier(out: Path) -> Before | None:
    """The table of a folder, if there is one.

    Raises:
        CorruptionError: DAMAGED_TABLE.
    """
    path = out / DOCUMENT
    try:
        content = json.loads(path.read_bytes())
        return _before(content)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError) as error:
        message = f"{path} must be a table's document, but lacks {error}"
        raise make(CorruptionError, "DAMAGED_TABLE", message, path=path) from None
    except (ValueError, OSError) as error:
        message = f"{path} is damaged: {error}"
        raise make(CorruptionError, "DAMAGED_TABLE", message, path=path) from None


def _before(content: dict[str, Any]) -> Before:
    return Before(
        settings=_settings(content["settings"]),
        reasons={each["name"]: str(each["reason"]) for each in content["cells"]},
        plumbing=bool(content["plumbing"]),
        has_figures=any(each["ours"] for each in content["cells"]),
        writers=tuple(Who(**each) for each in content["writers"]),
        readers=tuple(Who(**each) for each in content["readers"]),
    )


def _settings(raw: dict[str, Any]) -> Settings:
    data = Path(raw["data"]) if raw["data"] else None
    return Settings(**{**raw, "data": data, "systems": tuple(raw["systems"])})
