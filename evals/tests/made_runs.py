"""Finished runs made of nothing but answers that are right or wrong as told."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from memalpha_evals.protocols import Usage
from memalpha_evals.rows import Row
from memalpha_evals.scorers import score

CATEGORIES = ("multi-hop", "temporal", "single-hop", "adversarial")

Right = Callable[[int, int], bool]
"""Whether a system answers question `q` of conversation `c` rightly."""


def often(share: float, seed: int = 0) -> Right:
    return lambda c, q: random.Random(f"{seed} {c} {q}").random() < share


def row(*, system="memalpha", conversation=0, question=0, right=True, **more: Any) -> Row:
    """A row of a LoCoMo-like run; every fourth question cannot be answered."""
    category = CATEGORIES[question % 4]
    none = category == "adversarial"
    answer = ("no answer" if none else "in Lake Orta") if right else "Lake Como"
    made = Row(
        dataset="locomo-dev",
        system=system,
        reader="extract",
        conversation=f"conv-{conversation}",
        question_id=str(question),
        category=category,
        cluster=f"conv-{conversation}",
        question=f"Where does Bo swim, {question}?",
        answers=("Lake Orta",),
        unanswerable=none,
        answer=answer,
        context="Bo: I swim in Lake Orta.",
        context_tokens=8,
        stored_tokens=100,
        stream_tokens=1000,
        built=Usage(10, 1000, 0, 200),
        read=Usage(1, 50, 0, 5),
        evidence_recall=1.0,
    )
    made = replace(made, **more)
    return replace(made, scores=score(made))


def rows(systems: Mapping[str, Right], *, conversations=6, questions=12, **more: Any) -> list[Row]:
    return [
        row(system=system, conversation=c, question=q, right=right(c, q), **more)
        for system, right in systems.items()
        for c in range(conversations)
        for q in range(questions)
    ]


def manifest(systems, *, state="done", query_aware=(), model_free=True, **what: Any) -> dict[str, Any]:
    data = {
        "name": "locomo-dev",
        "sha256": "79fa87e9" * 8,
        "licence": "CC BY-NC 4.0",
        "caveats": ["Some right answers are wrong."],
        "apart": ["adversarial"],
    }
    described = [
        {"name": name, "about": f"about {name}", "query_aware": name in query_aware, "identity": {}}
        for name in systems
    ]
    reader = {"name": "extract", "about": "a rule", "model_free": model_free, "identity": {}}
    content = {
        "data": data,
        "streams": {"sha256": "ab" * 32},
        "chunk_tokens": 1024,
        "budget": 4096,
        "systems": described,
        "reader": reader,
    }
    start = {"time": "2026-11-26T10:00:00+00:00", "ended": "2026-11-26T10:01:00+00:00", "state": state}
    return {"format": 1, "what": content | what, "plan": {}, "starts": [start]}


def write(folder: Path, made: list[Row], **described: Any) -> Path:
    folder.mkdir()
    systems = list(dict.fromkeys(each.system for each in made))
    (folder / "manifest.json").write_text(json.dumps(manifest(systems, **described)))
    (folder / "rows.jsonl").write_text("".join(json.dumps(each.to_dict()) + "\n" for each in made))
    return folder
