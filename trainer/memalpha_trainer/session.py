"""A run from its configuration to its last checkpoint: the only module that knows all the parts.

The order is: folder, model, policy service, evaluation, training, checkpoint, evaluation, report. A run that
was stopped or killed begins again at its last checkpoint and ends at the same bits; what it had written down
after that checkpoint is cut off first. Of several ranks the first does all of it, and the others train.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from memalpha.errors import InvalidInputError, make
from memalpha.files import replace_json
from memalpha_trainer import asked, evaluation, heldout, tasks
from memalpha_trainer.building import built, weight_folders
from memalpha_trainer.config import Config
from memalpha_trainer.grpo.observer import Silent
from memalpha_trainer.grpo.resume import latest, step_of
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer
from memalpha_trainer.models import digest, fitted, starting_model
from memalpha_trainer.rollouts.live import LiveRollouts, Plan
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.replay import ReplayRollouts
from memalpha_trainer.rollouts.source import RolloutSource
from memalpha_trainer.running import check_reads, check_running
from memalpha_trainer.runs import report
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.runs.live import Progress
from memalpha_trainer.runs.observer import RunObserver
from memalpha_trainer.runs.origin import Origin
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.runs.trackers import catch_up, open_tracker
from memalpha_trainer.served import Service, served
from memalpha_trainer.signals import stopping_signals

RESULTS = "results.json"
_LONGEST_WAIT = timedelta(hours=24)
CHECKPOINT = "checkpoint"

Results = dict[str, dict[str, evaluation.Result]]
"""`before` and `after`, by row."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: The run's.
        stopped: Whether it was asked to end before its last step.
        step: Optimizer steps done.
        summary: What it came to, on one screen.
    """

    folder: Path
    stopped: bool
    step: int
    summary: str = ""


def train(
    config: Config, *, resume: bool = False, replay: Path | None = None, quiet: bool = False
) -> Outcome:
    """Trains.

    Args:
        config: The run.
        resume: Go on at its last checkpoint.
        replay: A `rollouts.jsonl` to train on in place of new rollouts; then no policy is served.
        quiet: Show nothing but what must be read.

    Raises:
        MemalphaError: The configuration, the model or the folder does not do, or a service failed.
    """
    if config.optim.threads:
        torch.set_num_threads(config.optim.threads)
    # The first rank may collect, and evaluate, for hours while the others wait. Ranks on CPUs are ranks only
    # if they are asked for.
    if not PartialState(cpu=not torch.cuda.is_available(), timeout=_LONGEST_WAIT).is_main_process:
        return _follow(config)
    _look_at(config, replay, resume)
    opened = RunFolder.resume if resume else RunFolder.create
    run = opened(config, _origin(config, replay))
    with run, Progress(config.optim.steps, quiet=quiet) as progress:
        return _Session(config, run, progress, replay).go()


def _look_at(config: Config, replay: Path | None, resume: bool) -> None:
    """Finds out what is wrong with a run before its folder is made, and before any service is asked.

    Raises:
        NotFoundError, AlreadyExistsError: The run.
        InvalidInputError: The model, the task's files, the reward, or what is to be replayed.
        ConflictError, UnavailableError: The policy service, if it is to run already.
    """
    RunFolder.check(config, resume=resume)
    if config.policy.model is not None:
        fitted(config, starting_model(config, config.folder))
    tasks.task(config)
    tasks.check_reward(config)
    if replay is not None and replay.resolve().is_relative_to(config.folder.resolve()):
        message = f"{replay} is of this very run, which would write over it; copy it, or choose another name"
        raise make(InvalidInputError, "INVALID_ROLLOUTS", message, path=replay)
    if replay is not None:
        ReplayRollouts.of_file(replay)
    elif config.policy.address and config.policy.model is not None:
        model, done = starting_model(config, config.folder), _done(config, resume)
        check_running(config, model, RunFiles(config.folder).weights, done, begun=resume)


def _done(config: Config, resume: bool) -> int:
    """Optimizer steps that a run has behind it, as its folder says."""
    before = latest(RunFiles(config.folder).checkpoints, config.optim.updates) if resume else None
    return step_of(before) if before else 0


def _origin(config: Config, replay: Path | None) -> Origin:
    """A tiny model is made in the run's folder, by its settings, and is bound by them."""
    base = "" if config.policy.model is None else digest(starting_model(config, config.folder))
    origin = Origin.of(base, replay, config.task.file, apart=config.eval.file is not None)
    return replace(origin, reader=asked.reader(config, replay=replay is not None), judge=asked.judge(config))


def _follow(config: Config) -> Outcome:
    """What the other ranks of a run do: they train, and leave the rest to the first one."""
    PartialState().wait_for_everyone()
    base = starting_model(config, config.folder)
    run, config = RunFiles(config.folder), fitted(config, base)
    before = latest(run.checkpoints, config.optim.updates)
    trainer = built(config, base, run.weights, ReplayRollouts([]), Silent())
    with stopping_signals(trainer.stop_soon, lambda sentence: None):
        trainer.train(resume_from_checkpoint=str(before) if before else None)
    step = trainer.state.global_step
    if step >= config.optim.steps:
        trainer.publish()
    return Outcome(run.path, step < config.optim.steps, step)


class _Session:
    """One process's work on a run."""

    def __init__(self, config: Config, run: RunFolder, progress: Progress, replay: Path | None) -> None:
        self._run = run
        self._progress = progress
        self._replay = replay
        self._base = starting_model(config, run.path)
        self._config = fitted(config, self._base)
        self._task = tasks.task(self._config)

    def go(self) -> Outcome:
        """Trains, evaluates, writes."""
        before = latest(self._run.checkpoints, self._config.optim.updates)
        done = step_of(before) if before else 0
        self._run.cut(done)
        self._run.running(done, "starting")
        PartialState().wait_for_everyone()
        with ExitStack() as parts:
            service = None if self._replay else parts.enter_context(self._served(done))
            if self._config.policy.address and service:
                self._check_reads()
            trainer = self._trainer(parts, service)
            if service and done == 0 and self._config.eval.first:
                trainer.check_first()
                self._evaluate("before", service.address)
            with stopping_signals(trainer.stop_soon, self._progress.note):
                trainer.train(resume_from_checkpoint=str(before) if before else None)
            step = trainer.state.global_step
            if step < self._config.optim.steps:
                self._run.end("stopped", f"asked to stop at step {step}")
                return Outcome(self._run.path, True, step)
            trainer.publish()
            self._keep_checkpoint(trainer.version)
            if service:
                self._evaluate("after", service.address)
        self._run.end("done")
        held_out = report.held_out_rows(read_results(self._run.path))
        report.write_report(self._run, held_out)
        return Outcome(self._run.path, False, step, report.summary(self._run, held_out))

    def _served(self, done: int) -> AbstractContextManager[Service]:
        if self._config.policy.address and self._config.policy.tiny is not None:
            # Others were looked at before there was a folder; this one was made in it.
            check_running(self._config, self._base, self._run.weights, done, begun=True)
        self._progress.phase("starting the policy service")
        return served(self._config, self._base, self._run.weights, self._run.path / "policy.log")

    def _check_reads(self) -> None:
        """Of a service that runs already: that it reads elsewhere would show with the first new weights."""
        weights = self._run.weights
        folders = weight_folders(self._config, self._base, weights)
        check_reads(self._config, self._base, weights, folders.kept)

    def _trainer(self, parts: ExitStack, service: Service | None) -> ChunkGRPOTrainer:
        source = self._source(service)
        parts.callback(source.close)
        tracker = open_tracker(self._config, self._run.told, self._progress.note)
        parts.callback(tracker.close)
        catch_up(tracker, self._run.metrics())
        observer = RunObserver(self._run, self._progress, tracker)
        return built(self._config, self._base, self._run.weights, source, observer)

    def _source(self, service: Service | None) -> RolloutSource:
        if service is None:
            assert self._replay is not None
            return ReplayRollouts.of_file(self._replay)
        config = self._config
        sampling = Sampling(config.rollouts.temperature, config.agent.max_new_tokens)
        plan = Plan(config.seed, config.rollouts.group_size, config.rollouts.concurrency, sampling)
        return LiveRollouts(
            service.address,
            self._task.streams,
            partial(tasks.setting, config),
            plan,
            partial(self._progress.phase, "rollouts"),
            config.task.reader_address,
            service.require_alive,
        )

    def _keep_checkpoint(self, version: int) -> None:
        """The trained policy as a folder that can be served by itself."""
        folder = self._run.path / CHECKPOINT
        draft = folder.with_name(f".{CHECKPOINT}.draft")
        for each in (draft, folder):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(weight_folders(self._config, self._base, self._run.weights).path(version), draft)
        draft.rename(folder)

    def _evaluate(self, when: str, address: str) -> None:
        """Writes greedy results on held-out streams down."""
        known = _raw_results(self._run.path)
        phase = partial(_told, self._progress, when)
        found = heldout.of_service(self._config, address, phase)
        known[when] = {name: asdict(each) for name, each in found.items()}
        replace_json(self._run.path / RESULTS, known)


def _told(progress: Progress, when: str, name: str, done: int, of: int) -> None:
    progress.phase(f"evaluation {when}, {name}", done, of)


def read_results(folder: Path) -> Results:
    """Held-out results that a run wrote down."""
    return {
        when: {name: evaluation.Result.from_dict(each) for name, each in rows.items()}
        for when, rows in _raw_results(folder).items()
    }


def _raw_results(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
