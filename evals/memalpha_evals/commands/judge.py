"""Commands of judges: `evals judge calibrate` and `evals judge run`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from memalpha.cli.style import plural
from memalpha.errors import InvalidInputError, make
from memalpha.tasks.stats import Interval
from memalpha_evals import reports, runs
from memalpha_evals.endpoints import FORMS, endpoint
from memalpha_evals.judges import audit, judging, prompts, verdicts
from memalpha_evals.judges.calibration import Calibration, Judged, Rate, calibration
from memalpha_evals.judges.cases import score_names
from memalpha_evals.judges.judge import Judge
from memalpha_evals.rescore import rewrite
from memalpha_evals.rows import Row
from memalpha_evals.runs import folder
from memalpha_evals.scheduler import Outage
from memalpha_evals.statistics import Mean, clustered_mean

T = TypeVar("T")

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
    run: Annotated[
        Path | None, typer.Option(help="A run that this judge has judged: the accuracy behind its scores.")
    ] = None,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="A judged score to correct.")] = None,
    error: Annotated[
        float | None, typer.Option(min=0, help="Its clustered standard error; unset: no interval.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--verdicts",
            dir_okay=False,
            help="Where verdicts are kept; unset: beside the first file of answers, as NAME.verdicts.jsonl.",
        ),
    ] = None,
) -> None:
    """How many right and wrong answers a judge accepts, and what its scores are worth, as JSON.

    Verdicts are kept, each with its case: a second call asks for none that is there, and can be checked.

    Example: evals judge calibrate --audit errors.json --answers v1.json --answers v2.json --policy openai:M
    """
    words = prompts.load(prompt)
    known = audit.known(answers, audit_file)
    kept = kept or answers[0].with_name(f"{answers[0].stem}.{verdicts.FILE}")

    async def judged(advance: judging.Progress) -> list[Judged]:
        async with endpoint(policy) as served:
            judge = Judge(served.policy, words, votes, temperature, served.identity)
            if run:
                _require_judge(run, judge)
            return await judging.judge_known(judge, known, advance, kept)

    scored = _scored(run, words) if run else {}
    with _progress(len(known)) as advance:
        found = calibration(_finished(judged(advance)))
    content = {"judge": policy, "prompt": words.name, "prompt_sha256": words.sha256, "votes": votes}
    content |= {"verdicts": str(kept), **_rates(found)}
    if score is not None:
        content |= _corrected(found, score, error)
    if run:
        content["systems"] = {
            name: {
                **_corrected(found, mean.value, mean.error),
                "rows": mean.questions,
                "clusters": mean.clusters,
            }
            for name, mean in scored.items()
        }
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

    Verdicts are kept in the run's folder: stopped or failed, the same command goes on. Prompt `rubric` grades
    each nugget of BEAM's rubrics with 1, 0.5 or 0, and the score is their mean. Prompt `order` scores BEAM's
    questions about the order of events as its code does, by Kendall's tau-b between lines and nuggets, and,
    as `judge.order_complete`, by that times the F1 of the events. Options are judged by their texts.

    Example: evals judge run runs/a --policy openai:MODEL
    """
    words = prompts.load(prompt)
    names = score_names(words)

    async def judged(rows: list[Row], advance: judging.Progress) -> list[Row]:
        async with endpoint(policy) as served:
            judge = Judge(served.policy, words, votes, temperature, served.identity)
            found = await judging.judge_rows(judge, rows, advance, run / verdicts.FILE)
        for name in names:
            folder.note_judge(run, name, judge.identity)
        return found

    def changed(rows: list[Row]) -> list[Row]:
        with _progress(judging.count(words, rows)) as advance:
            return _finished(judged(rows, advance))

    rewrite(run, changed)
    scored = sum(names[0] in row.scores for row in runs.rows(run))
    print(f"{plural(scored, 'row')} judged as {' and '.join(names)}; {reports.write(run)}")


def _finished(judging_all: Coroutine[Any, Any, T]) -> T:
    """What comes of judging; an outage ends the command."""
    try:
        return asyncio.run(judging_all)
    except Outage as outage:
        print(outage, file=sys.stderr)
        raise typer.Exit(1) from None


def _require_judge(run: Path, judge: Judge) -> None:
    """What one judge gets wrong corrects no other's scores.

    Raises:
        InvalidInputError: NOT_JUDGED.
    """
    name = score_names(judge.prompt)[0]
    if folder.read_manifest(run).get("judges", {}).get(name) != judge.identity:
        message = (
            f"{run} has its scores {name} of another judge: model, prompt, votes and temperature must be its"
        )
        raise make(InvalidInputError, "NOT_JUDGED", message, path=run)


def _scored(run: Path, prompt: prompts.JudgePrompt) -> dict[str, Mean]:
    """Each system's mean score by a judge, over all rows that it judged.

    Raises:
        InvalidInputError: NOT_JUDGED.
    """
    name, rows = score_names(prompt)[0], runs.read(run).rows
    judged = [row for row in rows if name in row.scores]
    if not judged:
        message = f"{run} has no scores {name}: make them with `evals judge run {run} --prompt {prompt.name}`"
        raise make(InvalidInputError, "NOT_JUDGED", message, path=run)
    systems = dict.fromkeys(row.system for row in judged)
    by_system = {each: [row for row in judged if row.system == each] for each in systems}
    return {
        each: clustered_mean([row.scores[name] for row in found], [row.cluster for row in found])
        for each, found in by_system.items()
    }


def _rates(found: Calibration) -> dict[str, Any]:
    return {
        "true_positive_rate": _rate(found.right),
        "false_positive_rate": _rate(found.wrong),
        "false_positive_rate_by_source": {name: _rate(each) for name, each in found.by_source.items()},
        "unread_votes": found.unread,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    sizes = {"answers": rate.judged, "clusters": rate.clusters}
    return {"rate": rate.share, "interval": _plain(rate.interval), **sizes}


def _corrected(found: Calibration, score: float, error: float | None) -> dict[str, Any]:
    corrected = found.corrected(score, error)
    return {"score": score, "accuracy": corrected.value, "interval": _plain(corrected.interval)}


def _plain(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answers", total=total)
        yield lambda count: bar.advance(task, count)
