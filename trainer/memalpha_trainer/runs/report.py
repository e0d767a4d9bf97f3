"""What a run came to: `report.md` in its folder, with curves, and the same in one screen.

Everything is read from the folder but the held-out results, which the caller measured. What a run does not
show stands beside what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memalpha.files import replace
from memalpha_trainer.config import Config
from memalpha_trainer.evaluation import Result
from memalpha_trainer.runs import curves
from memalpha_trainer.runs.columns import COLUMNS, Column, Line, duration, mean
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.runs.toml import flat

HeldOut = Mapping[str, Mapping[str, float | str]]
"""Rows by name, such as `before, 4x`; of each its columns. Numbers get three digits, text stays as it is."""

REPORT, CURVES = "report.md", "curves.png"
_DROPPED = "rows/dropped_"
# Between the same weights in the same precision; more says that one side has others.
_USUAL_MISMATCH = 1e-2


def held_out_rows(results: Mapping[str, Mapping[str, Result]]) -> HeldOut:
    """Results by time (`before`, `after`) and row as rows of a table, times of a row together."""
    names = dict.fromkeys(name for each in results.values() for name in each)
    return {
        f"{name}, {when}": _result(found[name])
        for name in names
        for when, found in results.items()
        if name in found
    }


def write_report(run: RunFiles, held_out: HeldOut) -> Path:
    """Writes `report.md` and `curves.png` into the run's folder; where the report is.

    Raises:
        CorruptionError: A file of the folder is damaged.
    """
    lines, config = run.metrics(), run.config
    drawn = curves.draw(lines, run.path / CURVES)
    parts = [
        f"# Run {config.name}",
        _how_it_went(run, lines),
        "## Held out\n\n" + _held_out(held_out),
        "## Over the steps\n\n" + _changes(lines) + (f"\n\n![Curves]({CURVES})" if drawn else ""),
        "## What went missing\n\n" + _list(missing(lines)),
        "## What this shows, and what not\n\n" + _list(limits(run, lines, held_out)),
        "## Settings\n\n" + _settings(config),
        "## Ran on\n\n" + _starts(run.starts),
    ]
    path = run.path / REPORT
    replace(path, "\n\n".join(parts) + "\n")
    return path


def summary(run: RunFiles, held_out: HeldOut) -> str:
    """The report's head in at most a screen of text."""
    lines = run.metrics()
    first, last = ends(lines)
    rows = [
        f"  {column.head:<10} {_of(column, first):>9} → {_of(column, last)}"
        for column in COLUMNS[:5]
        if mean(lines, column.key) is not None
    ]
    found = [f"  {name}: {_cells(columns)}" for name, columns in list(held_out.items())[:8]]
    changes = [f"first {len(first)} steps → last {len(last)}", *rows] if rows else []
    return "\n".join(
        [
            _how_it_went(run, lines),
            *changes,
            *(["held out", *found] if found else []),
            f"report: {run.path / REPORT}",
        ]
    )


def ends(lines: Sequence[Line]) -> tuple[Sequence[Line], Sequence[Line]]:
    """The first and the last tenth of the steps, no fewer than five each, and half of them at most."""
    count = min(max(len(lines) // 10, 5), len(lines) // 2)
    return lines[:count], lines[len(lines) - count :]


def missing(lines: Sequence[Line]) -> list[str]:
    """Sentences about what was made and not trained on."""
    reasons = sorted({key for line in lines for key in line if key.startswith(_DROPPED)})
    made = _sum(lines, "rows/made")
    dropped = [f"{reason.removeprefix(_DROPPED)} {_sum(lines, reason):.0f}" for reason in reasons]
    alike = mean(lines, "frac_zero_std_groups")
    return [
        f"Rows made: {made:.0f}; masked: {_sum(lines, 'rows/masked'):.0f}; "
        f"samples that became no rows: {', '.join(dropped) or 'none'}.",
        f"Rollouts that ended early: {mean(lines, 'rollouts/failed') or 0:.1%}; "
        f"completions cut at the token limit: {mean(lines, 'completion/truncated') or 0:.1%}.",
        *([f"Groups whose rollouts all earned the same and taught nothing: {alike:.1%}."] if alike else []),
    ]


def limits(run: RunFiles, lines: Sequence[Line], held_out: HeldOut) -> list[str]:
    """Sentences about what may be concluded, and what may not."""
    config = run.config
    said = [
        f"One run, seed {config.seed}: how far another seed ends from it is not known from here.",
        "The curves are of sampled rollouts on streams that were trained on; what was learned for other"
        " streams stands under “Held out”.",
    ]
    if not held_out:
        said.append("Nothing was held out: whether the policy does better on other streams is not known.")
    if config.rewards.shuffled:
        said.append(
            "A control: rewards were exchanged within groups, so that a rise is not learned from them."
        )
    if config.policy.tiny is not None:
        said.append("The policy is a tiny model that began untrained; nothing follows for larger ones.")
    if config.task.kind != "data":
        said.append("Streams are generated by a grammar; nothing follows for other text.")
    status = run.status()
    if status.step < status.of:
        said.append(f"The run ended at step {status.step} of {status.of}.")
    worst = max((line.get("mismatch/max") or 0.0 for line in lines), default=0.0)
    if worst > _USUAL_MISMATCH:
        said.append(
            f"Policy and trainer differed by up to {worst:.3g} in a logprob: at some step they did not have"
            " the same weights or precision, and gradients are off by as much."
        )
    return said


def _result(result: Result) -> dict[str, float | str]:
    between = result.interval
    range_ = f" ({between.low:.3f} to {between.high:.3f})" if between else ""
    scores = result.scores
    row: dict[str, float | str] = {
        "score": f"{result.mean:.3f}{range_}{', normalised' if result.normalised else ''}",
        "memory tokens": f"{scores.memory_tokens:.0f}",
        "calls": f"{scores.calls:.1f}",
        "carried out": scores.applied,
    }
    return row if scores.reward is None else {**row, "reward": scores.reward}


def _how_it_went(run: RunFiles, lines: Sequence[Line]) -> str:
    status, config = run.status(), run.config
    spent = sum(line.get("seconds/step") or 0.0 for line in lines)
    resumed = [str(start["step"]) for start in run.starts[1:]]
    again = f", resumed at step {', '.join(resumed)}" if resumed else ""
    start = config.policy.model or "a tiny untrained model"
    return (
        f"{config.name}: {status.state} at step {status.step} of {status.of}{again};"
        f" {duration(spent)} in steps; {config.task.kind} from {start}, credit {config.credit.mode},"
        f" seed {config.seed}."
    )


def _held_out(held_out: HeldOut) -> str:
    if not held_out:
        return "Nothing was measured."
    columns = list(dict.fromkeys(name for row in held_out.values() for name in row))
    rows = ([name, *(_cell(row.get(column, "")) for column in columns)] for name, row in held_out.items())
    return _table(["", *columns], rows)


def _changes(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return "There are no two steps to compare."
    first, last = ends(lines)
    rows = (
        [
            column.head,
            f"`{column.key}`",
            _of(column, first),
            _of(column, last),
        ]
        for column in COLUMNS
        if mean(lines, column.key) is not None
    )
    return _table(["mean", "key", f"first {len(first)} steps", f"last {len(last)} steps"], rows)


def _settings(config: Config) -> str:
    """Those that are not the default; all of them stand in `config.toml`."""
    changed = flat(config.model_dump(mode="json", exclude_defaults=True))
    rows = ([f"`{key}`", f"`{value}`"] for key, value in changed.items())
    return "All settings: [config.toml](config.toml). Those that are not the default:\n\n" + _table(
        ["setting", "value"], rows
    )


def _starts(starts: Sequence[Mapping[str, Any]]) -> str:
    return _list(
        f"{each['time']}, from step {each['step']}{_replayed(each)}: {_code(each['git'])}, "
        f"{each['cpu']} ({each['cores']} cores), {each['platform']}, Python {each['python']}, "
        + ", ".join(f"{name} {version}" for name, version in each["packages"].items())
        for each in starts
    )


def _replayed(start: Mapping[str, Any]) -> str:
    file = start.get("replay")
    return f", on the rollouts of {file} (SHA-256 {start['replay_digest'][:12]})" if file else ""


def _of(column: Column, lines: Sequence[Line]) -> str:
    return column.cell(mean(lines, column.key))


def _code(git: Mapping[str, Any] | None) -> str:
    if git is None:
        return "code of no repository"
    return f"commit {git['commit'][:12]}{' with changes' if git['changed'] else ''}"


def _sum(lines: Iterable[Line], key: str) -> float:
    return sum(line.get(key) or 0.0 for line in lines)


def _cells(row: Mapping[str, float | str]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in row.items())


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
