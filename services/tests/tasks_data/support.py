"""Small files in the official forms, and builders of instances."""

import json
from pathlib import Path

from memalpha.tasks.data import Limits
from memalpha.tasks.instance import Chunk, Instance, Question

DATA = Path(__file__).parents[4] / "shared" / "data"

SMALL = Limits(chunk_tokens=(16, 16), chunks=(1, 100), questions=(1, 100))
"""Nearly every text is a chunk of its own."""


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def document(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def multihop(number: int, *, answer: str = "", title: str = "") -> dict:
    """A row of HotpotQA's form: two articles that are needed and one that is not."""
    name = title or f"Article {number}"
    return {
        "_id": str(number),
        "question": f"Who wrote book number {number}?",
        "answer": answer or f"Writer {number}",
        "type": "bridge",
        "supporting_facts": [[name, 0], [f"Life {number}", 0]],
        "context": [
            [name, [f"This article is about the book number {number}.", " It is long."]],
            ["Oslo", ["Oslo is a city."]],
            [f"Life {number}", [f"The book {number} is by {answer or f'Writer {number}'}."]],
        ],
    }


def squad(paragraphs: int) -> dict:
    """Paragraphs with one question each."""
    entries = [
        {
            "context": f"The river number {n} flows through the town of Alba {n} to the sea.",
            "qas": [
                {
                    "question": f"Where does river {n} flow?",
                    "answers": [{"text": f"Alba {n}", "answer_start": 0}],
                }
            ],
        }
        for n in range(paragraphs)
    ]
    return {"version": "1", "data": [{"title": "Two_Rivers", "paragraphs": entries}]}


def session(id_: str, *texts: str) -> dict:
    roles = ("user", "assistant")
    return {"id": id_, "turns": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]}


def history(*sessions: dict, evidence: tuple[str, ...], answer: object = "Biscuit") -> dict:
    """A row of LongMemEval's form."""
    return {
        "question_id": "1",
        "question_type": "single-session-user",
        "question": "What is my dog called?",
        "answer": answer,
        "question_date": "2023/06/01 (Thu) 10:00",
        "haystack_session_ids": [each["id"] for each in sessions],
        "haystack_dates": [f"2023/05/{n:02} (Mon) 09:30" for n in range(1, len(sessions) + 1)],
        "haystack_sessions": [each["turns"] for each in sessions],
        "answer_session_ids": list(evidence),
    }


def instance(
    *chunks: str,
    question: str = "Where does Ada live?",
    answers: tuple[str, ...] = ("Oslo",),
    metric: str = "substring",
    evidence: tuple[int, ...] = (),
    name: str = "one",
    source: str = "squad",
) -> Instance:
    return Instance(
        name,
        source,
        tuple(Chunk(text) for text in chunks or ("Ada lives in Oslo.",)),
        (Question(question, answers, metric, evidence),),  # pyright: ignore[reportArgumentType]
    )
