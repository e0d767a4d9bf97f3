"""Commands of judges: `evals judge calibrate` and `evals judge run`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from memalpha.cli.style import plural
from memalpha_evals import reports
from memalpha_evals.endpoints import FORMS, endpoint
from memalpha_evals.judges import audit, judging, prompts
from memalpha_evals.judges.calibration import Calibration, Judged, Rate, calibration
from memalpha_evals.judges.judge import Judge
from memalpha_evals.rescore import rewrite
from memalpha_evals.rows import Row

judge_app = typer.Typer(name="judge", help="Models as judges, and how they err.", no_args_is_help=True)

PolicySpec = Annotated[str, typer.Option("--policy", help=f"The model: {FORMS}.")]
PromptName = Annotated[str, typer.Option("--prompt", help=f"Of {', '.join(prompts.BUILT_IN)}, or a file.")]
Votes = Annotated[int, typer.Option(help="An odd number; above one they need a temperature.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="Of the votes.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(judge_app)


@judge_app.command("calibrate")
def calibrate(
    answers: Annotated[
        list[Path], typer.Option(help="Known answers: LoCoMo audit's wrong answers, or JSON lines; repeat.")
    ],
    policy: PolicySpec,
    audit_file: Annotated[
        Path | None, typer.Option("--audit", help="The audit's errors.json: questions to leave out.")
    ] = None,
    prompt: PromptName = "strict",
    votes: Votes = 1,
    temperature: Temperature = 0.0,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="A judged score to correct.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Questions that the score is over.")] = 1540,
) -> None:
    """How many right and wrong answers a judge accepts, and what a score of it is worth, as JSON.

    Example: evals judge calibrate --audit errors.json --answers v1.json --answers v2.json --policy openai:M
    """
    words = prompts.load(prompt)
    known = audit.known(answers, audit_file)

    async def judged(advance: judging.Progress) -> list[Judged]:
        async with endpoint(policy) as served:
            judge = Judge(served.policy, words, votes, temperature)
            return await judging.judge_known(judge, known, advance)

    with _progress(len(known)) as advance:
        found = calibration(asyncio.run(judged(advance)))
    content = {"judge": policy, "prompt": words.name, "prompt_sha256": words.sha256, "votes": votes}
    content |= _rates(found)
    if score is not None:
        content |= _corrected(found, score, rows)
    print(json.dumps(content, indent=1, ensure_ascii=False))


@judge_app.command("run")
def judge_run(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    policy: PolicySpec,
    prompt: PromptName = "strict",
    votes: Votes = 1,
    temperature: Temperature = 0.0,
) -> None:
    """Adds a judge's scores, `judge.PROMPT`, to a finished run; no headline ever is one.

    Example: evals judge run runs/a --policy openai:MODEL
    """
    words = prompts.load(prompt)

    async def judged(rows: list[Row], advance: judging.Progress) -> list[Row]:
        async with endpoint(policy) as served:
            judge = Judge(served.policy, words, votes, temperature)
            return await judging.judge_rows(judge, rows, advance)

    def changed(rows: list[Row]) -> list[Row]:
        with _progress(len(rows)) as advance:
            return asyncio.run(judged(rows, advance))

    done = rewrite(run, changed)
    print(f"{plural(done.rows, 'row')} judged as judge.{words.name}; {reports.write(run)}")


def _rates(found: Calibration) -> dict[str, Any]:
    return {
        "true_positive_rate": _rate(found.right),
        "false_positive_rate": _rate(found.wrong),
        "false_positive_rate_by_source": {name: _rate(each) for name, each in found.by_source.items()},
        "unread_votes": found.unread,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    interval = rate.interval
    return {"rate": rate.share, "interval": [interval.low, interval.high], "answers": rate.judged}


def _corrected(found: Calibration, score: float, rows: int) -> dict[str, Any]:
    corrected = found.corrected(score, (score * (1 - score) / rows) ** 0.5)
    interval = corrected.interval
    return {"score": score, "accuracy": corrected.value, "interval": [interval.low, interval.high]}


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answers", total=total)
        yield lambda count: bar.advance(task, count)
