"""Steps of earlier runs of the same folder, found when they are needed: only their places are in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memalpha.errors import CorruptionError, make
from memalpha_evals.protocols import Step, Usage
from memalpha_evals.runs import lines

Key = tuple[str, str, str]
"""A reading: system, stream, and the question if the system knows it."""


def line(key: Key, place: int, step: Step, seconds: float) -> dict[str, Any]:
    """A step as `steps.jsonl` has it."""
    system, conversation, question = key
    return {
        "system": system,
        "conversation": conversation,
        "question": question,
        "place": place,
        "record": step.record,
        "usage": step.usage.to_dict(),
        "timing": {"seconds": round(seconds, 4)},
    }


class Records:
    """The steps of a file. Read while the file grows: what is added later is not seen."""

    def __init__(self, path: Path) -> None:
        """Finds all steps.

        Raises:
            CorruptionError: DAMAGED_LINE, or STEP_MISSING: a step without the one before it.
        """
        self._path = path
        self._places: dict[Key, list[int]] = {}
        for begin, found in lines.parsed(path):
            self._add(begin, found)

    def count(self, key: Key) -> int:
        """How many steps of a reading there are, from the first one on."""
        return len(self._places.get(key, ()))

    def step(self, key: Key, place: int) -> Step:
        """One of them."""
        with self._path.open("rb") as file:
            file.seek(self._places[key][place])
            found = json.loads(file.readline())
        return Step(found["record"], Usage(**found["usage"]))

    def _add(self, begin: int, found: Mapping[str, Any]) -> None:
        try:
            key = (found["system"], found["conversation"], found["question"])
            place = found["place"]
            Step(found["record"], Usage(**found["usage"]))
        except (KeyError, TypeError) as error:
            message = f"{self._path} has a step of another shape: {error}"
            raise make(CorruptionError, "DAMAGED_LINE", message, path=self._path) from None
        places = self._places.setdefault(key, [])
        if place != len(places):
            message = f"{self._path} has step {place} of {'/'.join(key)} where {len(places)} should be"
            raise make(CorruptionError, "STEP_MISSING", message, path=self._path, place=place)
        places.append(begin)
