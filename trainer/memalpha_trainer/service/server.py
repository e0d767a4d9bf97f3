"""`TrainerService` over the jobs of a folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import grpc

from memalpha.api.trainer.v1alpha1 import trainer_service_pb2 as pb
from memalpha.api.trainer.v1alpha1.trainer_service_pb2_grpc import (
    TrainerServiceServicer,
    add_TrainerServiceServicer_to_server,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha.services import serving
from memalpha_trainer.runs.reading import finite
from memalpha_trainer.service.client import TRAINER
from memalpha_trainer.service.manager import JobManager, Limits, View, check_id
from memalpha_trainer.service.messages import config_of, event_message, job_message, planned

COMMAND = (sys.executable, "-m", "memalpha_trainer", "train", "--quiet")
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 10.0
_DEFAULT_PAGE, _MOST_PAGE = 50, 1000

T = TypeVar("T")


class TrainerServicer(TrainerServiceServicer):
    """Answers from a manager's jobs; whatever reads or writes files does so in another thread."""

    def __init__(self, manager: JobManager, stop: asyncio.Event) -> None:
        """Over open jobs; `stop` ends all watching."""
        self._manager = manager
        self._stop = stop
        self._calls = serving.Gate()
        self._watchers = serving.Gate()

    async def CreateTrainingJob(
        self, request: pb.CreateTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> pb.CreateTrainingJobResponse:
        """Makes a job, or only checks it."""
        async with serving.Answer(self._calls, context):
            return pb.CreateTrainingJobResponse(job=await asyncio.to_thread(self._create, request))

    async def GetTrainingJob(
        self, request: pb.GetTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetTrainingJobResponse:
        """A job as it stands."""
        async with serving.Answer(self._calls, context):
            view = await asyncio.to_thread(self._manager.get, request.job_id)
            return pb.GetTrainingJobResponse(job=job_message(view))

    async def ListTrainingJobs(
        self, request: pb.ListTrainingJobsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTrainingJobsResponse:
        """A page of jobs."""
        async with serving.Answer(self._calls, context):
            views = _after(await asyncio.to_thread(self._manager.list), request.page_token)
            page, more = _page(views, request.page_size)
            token = "/".join(_place(page[-1])) if more else ""
            return pb.ListTrainingJobsResponse(jobs=map(job_message, page), next_page_token=token)

    async def CancelTrainingJob(
        self, request: pb.CancelTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> pb.CancelTrainingJobResponse:
        """Asks a job to stop."""
        async with serving.Answer(self._calls, context):
            view = await asyncio.to_thread(self._manager.cancel, request.job_id)
            return pb.CancelTrainingJobResponse(job=job_message(view))

    async def WatchTrainingJob(
        self, request: pb.WatchTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchTrainingJobResponse]:
        """Streams events until the job has ended; if its run is taken up again, another call tells."""
        async with serving.Answer(self._watchers, context):
            following, ended = max(request.start_sequence, 1), False
            while not ended:
                events, ended = await asyncio.to_thread(self._manager.events, request.job_id, following)
                for event in events:
                    yield event_message(event)
                following += len(events)
                if not ended:
                    await self._pause()

    async def ListMetrics(
        self, request: pb.ListMetricsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListMetricsResponse:
        """A page of the steps' numbers."""
        async with serving.Answer(self._calls, context):
            view = await asyncio.to_thread(self._manager.get, request.job_id)
            found = await asyncio.to_thread(view.job.run.metrics)
            after = _step(request.page_token)
            page, more = _page([each for each in found if each["step"] > after], request.page_size)
            token = str(page[-1]["step"]) if more else ""
            points = [pb.StepMetrics(step=each["step"], values=finite(each)) for each in page]
            return pb.ListMetricsResponse(metrics=points, next_page_token=token)

    def _create(self, request: pb.CreateTrainingJobRequest) -> pb.TrainingJob:
        job_id = request.job_id or self._manager.fresh_id()
        check_id(job_id)
        config = config_of(request.config, job_id, self._manager.root)
        if request.validate_only:
            return planned(config)
        return job_message(self._manager.create(config, request.request_id))

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), _POLL_SECONDS)
            raise make(UnavailableError, "STOPPING", "the service is stopping; watch again later")


def serve(address: str, out: Path, *, limits: Limits | None = None, command: Sequence[str] = COMMAND) -> int:
    """Serves the jobs of a folder until SIGTERM or SIGINT; jobs work on after that.

    Args:
        address: Loopback host and port.
        out: Folder of runs.
        limits: None means the defaults.
        command: Starts the trainer, but for `--config FILE`.

    Returns:
        Exit status: 0, or 1 if the service failed.

    Raises:
        InvalidInputError: NON_LOOPBACK_ADDRESS.
        ConflictError: ADDRESS_IN_USE.
        BusyError: FOLDER_IN_USE: another service works on the folder.
        CorruptionError: DAMAGED_JOB.
    """
    return asyncio.run(_serve(address, JobManager(out, command, limits)))


async def _serve(address: str, manager: JobManager) -> int:
    stopping = asyncio.Event()
    servicer = TrainerServicer(manager, stopping)

    async def work(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.to_thread(manager.tick)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_SECONDS)
        stopping.set()

    try:
        return await serving.serve(
            address,
            TRAINER,
            lambda server: add_TrainerServiceServicer_to_server(servicer, server),
            grace_seconds=_GRACE_SECONDS,
            background=work,
        )
    finally:
        manager.close()


def _page(found: Sequence[T], size: int) -> tuple[Sequence[T], bool]:
    """The first of them, and whether there are more."""
    if size < 0:
        raise make(
            InvalidInputError, "INVALID_PAGE_SIZE", f"page_size must be 0 or more, not {size}", value=size
        )
    most = min(size or _DEFAULT_PAGE, _MOST_PAGE)
    return found[:most], len(found) > most


def _after(views: Sequence[View], token: str) -> Sequence[View]:
    """Those behind the job that a page ended with, newest first, whether that is still there or not."""
    created, slash, job_id = token.partition("/")
    if token and not slash:
        raise _foreign(token)
    return [view for view in views if not token or _place(view) < (created, job_id)]


def _place(view: View) -> tuple[str, str]:
    """Where a job stands in the order of all."""
    return view.job.record.created, view.job.record.job_id


def _step(token: str) -> int:
    """The step that a page ended with."""
    if token and not (token.isascii() and token.isdigit()):
        raise _foreign(token)
    return int(token or -1)


def _foreign(token: str) -> InvalidInputError:
    message = f"page_token must be one that the service gave out, not {token!r:.100}"
    return make(InvalidInputError, "INVALID_PAGE_TOKEN", message, value=token)
