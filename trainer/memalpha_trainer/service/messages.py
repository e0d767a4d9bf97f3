"""Jobs and events as messages, and configurations out of messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from memalpha.api.trainer.v1alpha1.trainer_service_pb2 import (
    Checkpoint,
    StateChange,
    StepMetrics,
    TrainingJob,
    WatchTrainingJobResponse,
)
from memalpha.errors import InvalidInputError, make
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.service.events import Event
from memalpha_trainer.service.manager import View

_STATES = {
    "pending": TrainingJob.STATE_PENDING,
    "running": TrainingJob.STATE_RUNNING,
    "succeeded": TrainingJob.STATE_SUCCEEDED,
    "failed": TrainingJob.STATE_FAILED,
    "cancelled": TrainingJob.STATE_CANCELLED,
}
_OWN = ("name", "out")


def config_of(struct: Struct, job_id: str, root: Path) -> Config:
    """The whole configuration of a job.

    Args:
        struct: Settings that differ from the defaults.
        job_id: Names the run.
        root: Folder of runs.

    Raises:
        InvalidInputError: INVALID_CONFIG; it names the key, the rule and the value.
    """
    settings = dict(_settings(json_format.MessageToDict(struct)))
    for key in _OWN:
        if key in settings:
            message = f"{key} is the service's to choose, not {settings[key]!r:.100}: a job has its id"
            raise make(InvalidInputError, "INVALID_CONFIG", message, key=key)
    settings |= {"name": job_id, "out": str(root)}
    return resolve(None, [f"{key}={_toml(value)}" for key, value in settings.items() if value is not None])


def job_message(view: View) -> TrainingJob:
    """A job as it stands."""
    job, standing = view.job, view.standing
    message = planned(job.config)
    message.state = _STATES[standing.state]
    message.step, message.message, message.error_message = standing.step, standing.message, standing.error
    message.create_time.CopyFrom(_time(datetime.fromisoformat(job.record.created)))
    if (asked := job.cancelled) is not None:
        message.cancel_time.CopyFrom(_time(asked))
    if view.ended is not None:
        message.end_time.CopyFrom(_time(view.ended))
    return message


def planned(config: Config) -> TrainingJob:
    """A job that has not been made."""
    told = Struct()
    told.update(_without_none(config.model_dump(mode="json")))
    return TrainingJob(
        job_id=config.name,
        state=TrainingJob.STATE_PENDING,
        config=told,
        total_steps=config.optim.steps,
        path=str(config.folder),
    )


def event_message(event: Event) -> WatchTrainingJobResponse:
    """One event."""
    message = WatchTrainingJobResponse(
        sequence=event.sequence, time=_time(datetime.fromisoformat(event.time))
    )
    if event.metrics is not None:
        message.metrics.CopyFrom(StepMetrics(step=event.step, values=event.metrics))
    elif event.checkpoint:
        message.checkpoint.CopyFrom(Checkpoint(path=event.checkpoint, policy_version=event.version))
    else:
        change = StateChange(state=_STATES[event.state], step=event.step, error_message=event.error)
        message.state_change.CopyFrom(change)
    return message


def _settings(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by `table.key`; a table without any stays one."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _toml(value: Any) -> str:
    """A value of a message, whose numbers are all floats, as TOML."""
    return json.dumps(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def _time(moment: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found
