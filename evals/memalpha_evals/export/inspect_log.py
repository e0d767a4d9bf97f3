"""Runs as logs of inspect_ai, which its viewer opens: one log for each system, one sample for each question.

A sample shows what the reader was given and said; its scores are the row's, and what has no place of its own
is in its metadata. What a policy wrote while it read a stream is a sample too, `STREAM/memory`: tool calls
as events, without scores, and without results, which a run does not keep. Files are written again in place:
a log is a picture of a run, never its record. Logs are passed on, so of a path on this machine they have the
last part alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from inspect_ai import log as logs  # pyright: ignore[reportMissingImports]
from inspect_ai import model as models  # pyright: ignore[reportMissingImports]
from inspect_ai.event import ToolEvent  # pyright: ignore[reportMissingImports]
from inspect_ai.scorer import Score  # pyright: ignore[reportMissingImports]
from inspect_ai.tool import ToolCallError  # pyright: ignore[reportMissingImports]

from memalpha.agent.tools import ParseError, ToolCall
from memalpha_evals.compare.facts import facts
from memalpha_evals.compare.measured import HEADLINE, value
from memalpha_evals.export.paths import without_paths
from memalpha_evals.export.tool_calls import Written, by_stream
from memalpha_evals.rows import Row
from memalpha_evals.runs import Run
from memalpha_evals.statistics import clustered_mean

_METADATA = (
    *("conversation", "category", "cluster", "unanswerable", "context_tokens", "stored_tokens"),
    *("stream_tokens", "truncated", "evidence_recall"),
)
_NO_RESULTS = "not kept: a run keeps what the policy wrote, not what came of it"
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


def write(run: Run, folder: Path) -> list[Path]:
    """Writes the logs; where they are, in the order of the run's systems."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for system in dict.fromkeys(row.system for row in run.rows):
        path = folder / f"{_UNSAFE.sub('-', system)}.eval"
        logs.write_eval_log(log(run, system), str(path), format="eval")
        paths.append(path)
    return paths


def log(run: Run, system: str) -> logs.EvalLog:
    """One system's log."""
    rows = [row for row in run.rows if row.system == system]
    about = facts(run.manifest)
    began, ended = _times(run.manifest)
    name = f"{run.folder.resolve().name}/{system}"
    read = [_stream(system, stream, written, began) for stream, written in by_stream(run, system).items()]
    return logs.EvalLog(
        status="success" if run.done else "cancelled",
        eval=logs.EvalSpec(
            created=began,
            task=about.dataset or "run",
            task_id=_UNSAFE.sub("-", name),
            run_id=run.folder.resolve().name,
            dataset=logs.EvalDataset(name=about.dataset, samples=len(rows) + len(read)),
            model=f"memalpha/{system}",
            config=logs.EvalConfig(),
            metadata={"manifest": without_paths(run.manifest)},
        ),
        plan=logs.EvalPlan(),
        results=logs.EvalResults(
            total_samples=len(rows) + len(read),
            completed_samples=sum(not row.failure for row in rows) + len(read),
            scores=list(map(_score, *zip(*_means(rows), strict=True))) if rows else [],
        ),
        stats=logs.EvalStats(started_at=began, completed_at=ended),
        samples=[*read, *map(_sample, rows)],
    )


def _times(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """When the run began and ended; a manifest without starts is of no time."""
    starts = manifest.get("starts") or [{}]
    began = starts[0].get("time", "1970-01-01T00:00:00+00:00")
    return began, starts[-1].get("ended", began)


def _means(rows: Sequence[Row]) -> list[tuple[str, list[float], list[str]]]:
    """Every score with its values and clusters, the headline first."""
    names = [HEADLINE, *sorted({name for row in rows for name in row.scores})]
    found = []
    for name in names:
        pairs = [(score, row.cluster) for row in rows if (score := value(row, name)) is not None]
        if pairs:
            found.append((name, [score for score, _ in pairs], [cluster for _, cluster in pairs]))
    return found


def _score(name: str, values: Sequence[float], clusters: Sequence[str]) -> logs.EvalScore:
    metrics = {"mean": logs.EvalMetric(name="mean", value=fmean(values))}
    if (error := clustered_mean(values, clusters).error) is not None:
        metrics["stderr"] = logs.EvalMetric(name="stderr", value=error)
    return logs.EvalScore(name=name, scorer=name, scored_samples=len(values), metrics=metrics)


def _sample(row: Row) -> logs.EvalSample:
    asked = models.ChatMessageUser(content=row.question)
    headline = {HEADLINE: found} if (found := value(row, HEADLINE)) is not None else {}
    failure = without_paths(row.failure)
    error = logs.EvalError(message=failure, traceback="", traceback_ansi="") if failure else None
    return logs.EvalSample(
        id=f"{row.conversation}/{row.question_id}",
        epoch=1,
        input=[asked],
        choices=list(row.options) or None,
        target=list(row.answers) or "(cannot be answered)",
        messages=[
            models.ChatMessageSystem(content=row.context),
            asked,
            models.ChatMessageAssistant(content=row.answer),
        ],
        output=models.ModelOutput.from_content(row.reader, row.answer),
        scores={
            name: Score(value=score, answer=row.answer) for name, score in {**headline, **row.scores}.items()
        },
        metadata={name: getattr(row, name) for name in _METADATA}
        | {"failure": failure, "details": dict(row.details)},
        error=error,
    )


def _stream(system: str, stream: str, written: Sequence[Written], began: str) -> logs.EvalSample:
    """A stream as the policy read it."""
    return logs.EvalSample(
        id=f"{stream}/memory",
        epoch=1,
        input=f"What {system} wrote while it read {stream}.",
        target="(no question)",
        events=list(_events(written, datetime.fromisoformat(began))),
        metadata={"conversation": stream, "results": _NO_RESULTS},
    )


def _events(written: Sequence[Written], began: datetime) -> Iterator[ToolEvent]:
    """In order; when each was written is not told, so that all are of the run's beginning."""
    for number, (place, call) in enumerate(written):
        yield ToolEvent(
            id=str(number),
            timestamp=began,
            working_start=0.0,
            result="",
            metadata={"chunk": place},
            **_called(call),
        )


def _called(call: ToolCall | ParseError) -> dict[str, Any]:
    if isinstance(call, ParseError):
        error = ToolCallError("parsing", call.message)
        return {"function": "(no call)", "arguments": _plain({"text": call.text}), "error": error}
    return {"function": call.name, "arguments": _plain(call.arguments)}


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Half of a surrogate pair, which models write, is in no UTF-8."""
    return json.loads(json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace"))
