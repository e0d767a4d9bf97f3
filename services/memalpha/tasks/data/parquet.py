"""The official parquet form of Mem-alpha's data, read as it is and written so that its readers take it.

Columns: `instance_id` (a number), `prompt`, `chunks` and `questions_and_answers` as JSON, `data_source`,
`metadata` as JSON, `num_chunks`, `num_questions`. What the form has no place for (metrics, evidence, times)
goes into `metadata` under `memalpha`, so that a file that is written and read gives the same instances. In an
official file a question's metric follows from its source, as in the paper's table of metrics, and a chunk's
time from its first line.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from memalpha.errors import InvalidInputError
from memalpha.tasks.data.readers.files import DatasetError
from memalpha.tasks.instance import Chunk, Instance, Metric, Question

MOST_QUESTIONS = 100
"""The official tools take no more of one instance."""
ROWS_AT_ONCE = 32

_EXTRA = "memalpha"
_PROMPT = (
    "You are given a stream of text, one chunk at a time. For each chunk, decide which memories to insert, "
    "update or delete so that questions can be answered later from memory alone."
)
_METRICS: Mapping[str, Metric] = {
    "squad*": "substring",
    "hotpotqa*": "substring",
    "ruler_qa*": "substring",
    "perltqa*": "parts",
    "pubmed*": "label",
    "icl_*": "label",
    "booksum*": "keywords",
    "infbench_sum*": "keywords",
    "lme_train*": "judge",
    "longmemeval*": "judge",
}
_TIME = re.compile(r"\[[^\]\n]*?(\d{4})[-/](\d\d)[-/](\d\d)(?: \(\w+\))?(?:[ T](\d\d:\d\d))?")


def read(path: Path) -> Iterator[Instance]:
    """Reads the rows of a file, some at a time.

    Raises:
        DatasetError: pyarrow is missing, or a row is not of the form; the message names the row.
    """
    arrow, parquet = _libraries()
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield _instance(row, f"{path.name}, row {number}")
    except (OSError, arrow.ArrowException) as error:
        raise DatasetError(f"cannot read {path} as parquet: {error}") from error


def write(path: Path, instances: Iterable[Instance]) -> int:
    """Writes instances in the official form; returns how many there were."""
    arrow, parquet = _libraries()
    texts = ("prompt", "chunks", "questions_and_answers", "data_source", "metadata")
    numbers = ("num_chunks", "num_questions")
    schema = arrow.schema(
        [("instance_id", arrow.int64())]
        + [(name, arrow.string()) for name in texts]
        + [(name, arrow.int64()) for name in numbers]
    )
    rows = (_row(number, instance) for number, instance in enumerate(instances))
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError("parquet needs pyarrow: it comes with the extra memalpha[data]") from error
    return pyarrow, pyarrow.parquet


def _row(number: int, instance: Instance) -> dict[str, Any]:
    if len(instance.questions) > MOST_QUESTIONS:
        asked = len(instance.questions)
        raise DatasetError(f"{instance.instance_id} has {asked} questions; the form takes {MOST_QUESTIONS}")
    pairs = [
        {
            "question": each.question,
            "answer": each.answers[0] if len(each.answers) == 1 else list(each.answers),
        }
        for each in instance.questions
    ]
    extra = {
        "instance_id": instance.instance_id,
        "event_times": [chunk.event_time for chunk in instance.chunks],
        "questions": [
            {"metric": each.metric, "evidence": list(each.evidence), "kind": each.kind, "time": each.time}
            for each in instance.questions
        ],
    }
    return {
        "instance_id": number,
        "prompt": _PROMPT,
        "chunks": json.dumps([chunk.text for chunk in instance.chunks]),
        "questions_and_answers": json.dumps(pairs),
        "data_source": instance.source,
        "metadata": json.dumps({_EXTRA: extra}),
        "num_chunks": len(instance.chunks),
        "num_questions": len(instance.questions),
    }


def _instance(row: Mapping[str, Any], where: str) -> Instance:
    try:
        texts, pairs = json.loads(row["chunks"]), json.loads(row["questions_and_answers"])
        metadata = json.loads(row.get("metadata") or "{}") or {}
        extra = metadata.get(_EXTRA)
        if extra is None:
            return _official(row, texts, pairs, metadata, where)
        return _own(row, texts, pairs, extra)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{where} is not of the official form: {error!r}") from error
    except InvalidInputError as error:
        raise DatasetError(f"{where}: {error}") from error


def _official(
    row: Mapping[str, Any], texts: list[str], pairs: list[Any], metadata: Mapping[str, Any], where: str
) -> Instance:
    source = str(row.get("sub_source") or metadata.get("sub_source") or row["data_source"])
    metric = _metric(source, where)
    chunks = tuple(Chunk(text, _time(text)) for text in texts)
    questions = tuple(Question(pair["question"], _answers(pair), metric) for pair in pairs)
    return Instance(f"{source}-{row['instance_id']}", source, chunks, questions)


def _own(row: Mapping[str, Any], texts: list[str], pairs: list[Any], extra: Mapping[str, Any]) -> Instance:
    times, asked = extra["event_times"], extra["questions"]
    questions = (
        Question(
            pair["question"],
            _answers(pair),
            each["metric"],
            tuple(each["evidence"]),
            each["kind"],
            each["time"],
        )
        for pair, each in zip(pairs, asked, strict=True)
    )
    chunks = (Chunk(text, time) for text, time in zip(texts, times, strict=True))
    return Instance(extra["instance_id"], row["data_source"], tuple(chunks), tuple(questions))


def _answers(pair: Mapping[str, Any]) -> tuple[str, ...]:
    answer = pair["answer"]
    return tuple(str(each) for each in answer) if isinstance(answer, list) else (str(answer),)


def _metric(source: str, where: str) -> Metric:
    for pattern, metric in _METRICS.items():
        if fnmatch(source, pattern):
            return metric
    known = ", ".join(_METRICS)
    raise DatasetError(f"{where}: data_source must be like {known}, not {source!r}")


def _time(text: str) -> str:
    """The time that the first line names, as official frames do; empty if it names none."""
    match = _TIME.match(text)
    if not match:
        return ""
    year, month, day, clock = match.groups()
    found = f"{year}-{month}-{day}" + (f"T{clock}" if clock else "")
    try:
        datetime.fromisoformat(found)
    except ValueError:
        return ""
    return found
