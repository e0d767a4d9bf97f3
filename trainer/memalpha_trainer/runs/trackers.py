"""Where the numbers of a run go besides its folder. Optional, and a guest.

A tracker's package is loaded only if the tracker was chosen; trackio is tried where none was, and then only
if it keeps numbers on this machine. The folder has every number: a tracker that fails in the middle of a run
is given up with a note, and the run goes on. How far each tracker was told stands in the folder: when a run
is resumed, one that was away is told what it missed, and none is told again of a step that is done again.
Told is what a tracker took without an error: trackio queues numbers for half a second, and warns of failures
after that instead of raising them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from memalpha.errors import UnsupportedError, make
from memalpha.files import replace_json
from memalpha_trainer.config import Config
from memalpha_trainer.runs.reading import finite


class Tracker(Protocol):
    """Takes numbers. Used by the thread that trains."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Called once for each optimizer step, with steps that rise."""
        ...

    def close(self) -> None:
        """Called once, at the end, after an error as well."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What trackers know of a run already.

    Attributes:
        name: The run's, and no other run's, of whatever folder.
        file: Keeps the last step that each of them was told.
    """

    name: str
    file: Path

    def last(self, tracker: str) -> int:
        """The last step that a tracker was told; 0 if none."""
        return self._steps().get(tracker, 0)

    def keep(self, tracker: str, step: int) -> None:
        """Notes that it was told a step."""
        replace_json(self.file, {**self._steps(), tracker: step})

    def _steps(self) -> dict[str, int]:
        """None where the file cannot be read: then they are told again, which is better than never."""
        try:
            steps = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        return steps if isinstance(steps, dict) else {}


def open_tracker(config: Config, told: Told, note: Callable[[str], None]) -> Tracker:
    """The tracker that a run asks for.

    Args:
        config: Of the run.
        told: Under which name it is told what is new, and what it was told before.
        note: Told when the tracker fails and is given up, or when none was chosen and trackio does not do.

    Raises:
        UnsupportedError: TRACKER_NOT_INSTALLED; it names what to install.
    """
    if config.log.tracker == "none":
        return NoTracker()
    if config.log.tracker != "auto":
        return _opened(config.log.tracker, config, told, note)
    try:
        _require_at_home()
        return _opened("trackio", config, told, note)
    except Exception as error:  # noqa: BLE001 - nobody asked for it, and the folder has the numbers
        note(f"numbers are in the run's folder alone: {error}")
        return NoTracker()


def _require_at_home() -> None:
    """Whether trackio would keep numbers on this machine; who did not choose it sends none elsewhere."""
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        if os.environ.get(name):
            message = f"{name} is set, and they leave this machine with log.tracker=trackio alone"
            raise make(UnsupportedError, "TRACKER_ELSEWHERE", message)


def _opened(name: str, config: Config, told: Told, note: Callable[[str], None]) -> Tracker:
    kind, module = _KINDS[name]
    try:
        loaded = import_module(module)
    except ImportError as error:
        message = f"log.tracker {name} cannot be loaded ({error}): install memalpha-trainer[{name}]"
        raise make(UnsupportedError, "TRACKER_NOT_INSTALLED", message, tracker=name) from None
    return _Guest(kind(loaded, config, told.name), name, told, note)


def catch_up(tracker: Tracker, lines: Iterable[Mapping[str, Any]]) -> None:
    """Tells a tracker of the steps of a run that was resumed, as its folder has them."""
    for line in lines:
        tracker.log(line["step"], finite(line))


class NoTracker:
    """Takes nothing."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""

    def close(self) -> None:
        """See `Tracker`."""


class _Trackio:
    """What it prints is not shown, and it measures nothing by itself."""

    def __init__(self, trackio: Any, config: Config, name: str) -> None:
        self._trackio = trackio
        settings = config.model_dump(mode="json")
        with redirect_stdout(StringIO()):
            trackio.init(
                project=config.log.project,
                name=name,
                config=settings,
                resume="allow",
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._trackio.log(dict(numbers), step=step)

    def close(self) -> None:
        with redirect_stdout(StringIO()):
            self._trackio.finish()


class _Wandb:
    def __init__(self, wandb: Any, config: Config, name: str) -> None:
        self._run = wandb.init(
            project=config.log.project,
            name=config.name,
            id=name,
            resume="allow",
            dir=str(config.folder),
            config=config.model_dump(mode="json"),
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


class _TensorBoard:
    """Without torch: events by TensorBoard's own writer, below the run's folder."""

    def __init__(self, summary: Any, config: Config, name: str) -> None:
        self._writer = summary.Writer(summary.DirectoryOutput(str(config.folder / "tensorboard")))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Guest:
    """A tracker that may fail, and that hears of each step once."""

    def __init__(self, tracker: Tracker, name: str, told: Told, note: Callable[[str], None]) -> None:
        self._tracker: Tracker | None = tracker
        self._name = name
        self._told = told
        self._last = told.last(name)
        self._note = note

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        if step > self._last:
            self._try(lambda tracker: self._log(tracker, step, numbers))

    def close(self) -> None:
        self._try(lambda tracker: tracker.close())

    def _log(self, tracker: Tracker, step: int, numbers: Mapping[str, float]) -> None:
        tracker.log(step, numbers)
        self._told.keep(self._name, step)

    def _try(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except Exception as error:  # noqa: BLE001 - it is another's program, and the folder has the numbers
            self._tracker = None
            self._note(f"{self._name} failed and is no longer used: {type(error).__name__}: {error}")


_KINDS: dict[str, tuple[Callable[[Any, Config, str], Tracker], str]] = {
    "trackio": (_Trackio, "trackio"),
    "tensorboard": (_TensorBoard, "tensorboard.summary"),
    "wandb": (_Wandb, "wandb"),
}
