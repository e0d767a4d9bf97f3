"""The command line of the trainer. Torch is loaded by the commands that need it, and only then."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from memalpha.cli.style import visible
from memalpha.errors import InvalidInputError, MemalphaError, make
from memalpha_trainer.config import Config, quoted, resolve

commands = typer.Typer(
    help="Train memory policies with GRPO on the answers that their memories give.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_FAILED, _BAD_INPUT = 1, 2
_INTERRUPTED = 130
_EXTRA = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of the run; see trainer/configs.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Settings on top of it: table.key=value.", metavar="[KEY=VALUE]...", show_default=False
    ),
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]


@commands.command("train")
def train(
    config: ConfigOption = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on at the run's last checkpoint.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(help="Train on this rollouts.jsonl in place of new rollouts.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Instances to train on, as JSON lines or parquet.", show_default=False)
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(help="module:function that scores a rollout, 0 to 1.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the whole configuration and what it would take; do nothing."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only what must be read.")] = False,
) -> None:
    """Train a policy.

    Example: `python trainer/run.py --config trainer/configs/bandit.toml optim.steps=20`

    Everything goes into the run's folder, runs/NAME: settings, metrics.jsonl, rollouts.jsonl, checkpoints,
    results.json, report.md, and checkpoint/, which `memalpha up --policy transformers --model` serves. Ctrl-C
    ends it with a checkpoint.
    """
    settings = _config(config, [*_data(data, reward), *(overrides or [])])
    if dry_run:
        raise typer.Exit(_dry_run(settings))
    _prepare()
    from memalpha_trainer import session

    outcome = session.train(settings, resume=resume, replay=replay, quiet=quiet)
    if outcome.stopped:
        _say(f"stopped after step {outcome.step}; go on with --resume")
        raise typer.Exit(_INTERRUPTED)
    _say(outcome.summary)


@commands.command("warm")
def warm(
    out: Annotated[Path, typer.Argument(help="Folder of the checkpoint, which must not exist.")],
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    gates: Annotated[bool, typer.Option(help="Say at the end whether it is fit to be trained on.")] = True,
) -> None:
    """Make a warm start for the ledger: a tiny model that imitates a teacher who errs.

    Example: `memalpha-trainer warm warm`

    Takes about 20 minutes on one core, gates included. Interrupted, it goes on with what is done in OUT.work.
    """
    _prepare()
    from memalpha_trainer.warmstart import command

    raise typer.Exit(0 if command.run(out, seed, gates=gates, say=_say) else _FAILED)


@commands.command("gates")
def gates(
    model: Annotated[Path, typer.Argument(help="Folder of a checkpoint.", show_default=False)],
) -> None:
    """Measure whether a warm start is fit to be trained on, and leaves something to be learned."""
    _prepare()
    from memalpha_trainer.warmstart import command

    raise typer.Exit(0 if command.measured(model, _say) else _FAILED)


@commands.command("seal")
def seal(
    model: Annotated[
        Path, typer.Argument(help="Folder of a model, as transformers saves it.", show_default=False)
    ],
    config: ConfigOption = None,
    overrides: Overrides = None,
) -> None:
    """Bind a model's folder to a configuration, so that it can be trained and served under it alone.

    Example: `memalpha-trainer seal models/Qwen3-4B --config trainer/configs/memalpha-qwen3-4b.toml`

    Adds memalpha.json, with the prompt pack, wire format, view and core limit, and a hash of every file.
    """
    from memalpha_trainer.models import bind

    sealed = bind(_config(config, [f"policy.model={quoted(model)}", *(overrides or [])]), model)
    _say(f"{model} is bound to {sealed.trained_with.wire_format}, {sealed.trained_with.view}")


@commands.command("serve")
def serve(
    address: Annotated[str, typer.Option(help="Where to listen: host:port.")] = "127.0.0.1:50054",
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    places: Annotated[int, typer.Option(min=1, help="Jobs that work at once; the others wait.")] = 1,
    grace_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="Time for a cancelled job to stop, until it is killed; longer than a collection takes.",
        ),
    ] = 600.0,
) -> None:
    """Be the trainer service: runs jobs for clients over gRPC, until told to stop.

    Example: `memalpha-trainer serve --out runs --grace-seconds 3600`

    Jobs go on when the service stops, and are found again when it starts. A job that is cancelled stops after
    the collection at hand; what it did since its last checkpoint is lost if it is killed before.
    """
    from memalpha_trainer import service
    from memalpha_trainer.service.manager import Limits

    raise typer.Exit(service.serve(address, out, limits=Limits(places, grace_seconds)))


@commands.command("view")
def view(
    run: RunArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")] = Path("rollouts.html"),
    step: Annotated[
        int | None,
        typer.Option(
            help="Rollouts of this step, as the screen counts; default: the latest.", show_default=False
        ),
    ] = None,
    group: Annotated[int | None, typer.Option(help="Of this group only.", show_default=False)] = None,
) -> None:
    """Write a page of a run's rollouts, side by side, that opens from disk.

    Example: `memalpha-trainer view runs/bandit -o page.html --step 10`
    """
    from memalpha_trainer.view.page import write_page

    _say(write_page(run, out, step=step, group=group))


@commands.command("evaluate")
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of a checkpoint.", show_default=False)],
    config: ConfigOption = None,
    overrides: Overrides = None,
    address: Annotated[
        str, typer.Option(help="host:port of a policy service that serves it; empty: start one.")
    ] = "",
    temperature: Annotated[float, typer.Option(help="Of decoding; 0 is greedy.")] = 0.0,
) -> None:
    """Evaluate a checkpoint on the configuration's held-out streams.

    Example: `memalpha-trainer evaluate runs/ledger-tiny/checkpoint --config trainer/configs/ledger-tiny.toml`
    """
    from memalpha_trainer import heldout, running
    from memalpha_trainer.models import fitted

    settings = _config(config, [f"policy.model={quoted(model)}", *(overrides or [])])
    if address:
        _prepare()
        settings = fitted(settings, model, whole=False)
        if not running.check_serves(settings, model, address):
            _note(f"version and tokenizer of {address} are {model}'s; its weights could not be compared")
        found = heldout.of_service(settings, address, temperature=temperature)
    else:
        found = heldout.of_checkpoint(settings, model, temperature=temperature)
    for name, each in found.items():
        low_high = f" ({each.interval.low:.3f} to {each.interval.high:.3f})" if each.interval else ""
        scale = "normalised" if each.normalised else "mean score"
        if each.scores.reward is not None:
            _say(f"{name}: mean reward {each.scores.reward:.3f}")
        _say(f"{name}: {scale} {each.mean:.3f}{low_high}, {each.scores.memory_tokens:.0f} memory tokens")


@commands.command("experiment")
def experiment(
    warm: Annotated[list[Path], typer.Argument(help="Warm starts, folders of checkpoints.")],
    config: Annotated[Path, typer.Option("--config", help="What all cells share.")] = Path(
        "trainer/configs/ledger-tiny.toml"
    ),
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="table.key=value on top of it; may be given again.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Of each training arm and warm start.")] = 2,
    arms: Annotated[str, typer.Option(help="Training arms, with commas.")] = "evidence,mem_alpha,shuffled",
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs/experiment"),
    lines: Annotated[
        Path | None, typer.Option(help="File of finished cells; default: cells.jsonl in --out.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the tables into this page.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(help="Cells at once.")] = 1,
) -> None:
    """Run the learning experiment: every arm, seed and length, and the rows to compare with.

    Example: `memalpha-trainer experiment warm --seeds 2 --set optim.steps=60`

    Finished cells are not run again; interrupted ones go on at their last checkpoint.
    """
    from memalpha_trainer.experiment import page as pages
    from memalpha_trainer.experiment.cells import Plan
    from memalpha_trainer.experiment.run import run

    _prepare()
    chosen = tuple(each.strip() for each in arms.split(","))
    plan = Plan(config, tuple(setting or ()), out, tuple(each.resolve() for each in warm), seeds, chosen)
    done = run(plan, lines or out / "cells.jsonl", jobs, _say)
    _say(pages.tables(done))
    if page is not None:
        pages.write_page(done, page)


@commands.command("bench")
def bench(
    sizes: Annotated[str, typer.Option(help="Sizes of model, with commas.")] = "1M,5M,20M",
    steps: Annotated[int, typer.Option(help="Optimizer steps of each; the first is not measured.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder of reports.")] = Path("trainer/reports"),
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Of the trainer and the policy service.")
    ] = "cpu",
) -> None:
    """Measure what training costs: memory, tokens a second, CPU per row beside the network.

    Example: `memalpha-trainer bench --sizes 1M --steps 2 --out reports`

    Writes bench-DATE.json and the table bench.md, or bench-cuda-DATE.json and bench-cuda.md, after each
    size. Nothing else should run on the machine.
    """
    from memalpha_trainer.bench import report

    _prepare()
    chosen = [each.strip() for each in sizes.split(",")]
    _say(str(report.bench(chosen, steps, out, _say, device)))


@commands.command("dry-runs")
def dry_runs(
    config: Annotated[Path, typer.Option("--config", help="Of a run on several GPUs.")] = Path(
        "trainer/configs/memalpha-qwen3-4b.toml"
    ),
    lora_rank: Annotated[int, typer.Option(min=1, help="Of the adapters.")] = 16,
    out: Annotated[Path, typer.Option(help="Folder of reports.")] = Path("trainer/reports"),
) -> None:
    """Write down what training a large model would take: all weights and adapters, on many GPUs and on one.

    Example: `memalpha-trainer dry-runs --config trainer/configs/memalpha-qwen3-4b.toml`

    Writes dry-run-DATE.json and dry-run.md. Takes some minutes, and no GPU.
    """
    _prepare()
    _hint("loading torch")
    from memalpha_trainer.scale import written

    _say(str(written.write(config, lora_rank, out, _hint)))


@commands.command("tables")
def tables(
    lines: Annotated[Path, typer.Argument(help="Finished cells, as `experiment` writes them.")],
    page: Annotated[
        Path | None, typer.Option(help="Write the tables into this page.", show_default=False)
    ] = None,
) -> None:
    """Print the tables of an experiment's cells; nothing is run.

    Example: `memalpha-trainer tables trainer/reports/pilot.jsonl`
    """
    from memalpha_trainer.experiment import page as pages
    from memalpha_trainer.experiment.lines import read_lines

    found = read_lines(lines)
    if not found:
        raise make(InvalidInputError, "NO_CELLS", f"{lines} holds no cell", path=lines)
    _say(pages.tables(found))
    if page is not None:
        pages.write_page(found, page)


def _data(data: Path | None, reward: str | None) -> list[str]:
    """What the shorthands stand for; of instances, only a model can answer the questions."""
    found = ['task.kind="data"', 'task.reader="policy"', f"task.file={quoted(data)}"] if data else []
    return [*found, f"task.reward={quoted(reward)}"] if reward else found


def _config(file: Path | None, overrides: list[str]) -> Config:
    return resolve(file, overrides)


def _dry_run(config: Config) -> int:
    """Prints the whole configuration and what it would take; the exit status says whether that is there."""
    from memalpha_trainer.runs import toml

    _say(toml.dumps(config))
    _prepare()
    _hint("loading torch")
    from memalpha_trainer.scale.dry_run import dry_run

    report = dry_run(config, say=_hint)
    _say(report.render())
    return 0 if report.fits else _FAILED


def _prepare() -> None:
    """Before torch is loaded: nothing is fetched, nobody is told, and no bar is drawn for a file."""
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }.items():
        os.environ.setdefault(name, value)


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(visible(text), markup=False)


def _hint(text: str) -> None:
    """Says what is going on, beside the result."""
    _note(f"{text} …")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Runs the command line; errors of this project become one line and an exit status."""
    try:
        commands()
    except MemalphaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_BAD_INPUT if isinstance(error, InvalidInputError) else _FAILED)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(f"error: {error.name} is not installed: uv sync --group train", file=sys.stderr)
        sys.exit(_FAILED)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
