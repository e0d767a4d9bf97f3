"""Client of TrainerService."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self
from uuid import uuid4

from google.protobuf.struct_pb2 import Struct

from memalpha.agent.backoff import Backoff
from memalpha.api.trainer.v1alpha1 import trainer_service_pb2 as pb
from memalpha.client.base import Client, deadline
from memalpha.errors import UnavailableError
from memalpha.transport import GrpcTransport, Method

TRAINER: Final = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name
CREATE: Final = Method[pb.CreateTrainingJobRequest, pb.CreateTrainingJobResponse](
    TRAINER, "CreateTrainingJob", pb.CreateTrainingJobResponse
)
GET: Final = Method[pb.GetTrainingJobRequest, pb.GetTrainingJobResponse](
    TRAINER, "GetTrainingJob", pb.GetTrainingJobResponse
)
LIST: Final = Method[pb.ListTrainingJobsRequest, pb.ListTrainingJobsResponse](
    TRAINER, "ListTrainingJobs", pb.ListTrainingJobsResponse
)
CANCEL: Final = Method[pb.CancelTrainingJobRequest, pb.CancelTrainingJobResponse](
    TRAINER, "CancelTrainingJob", pb.CancelTrainingJobResponse
)
WATCH: Final = Method[pb.WatchTrainingJobRequest, pb.WatchTrainingJobResponse](
    TRAINER, "WatchTrainingJob", pb.WatchTrainingJobResponse
)
METRICS: Final = Method[pb.ListMetricsRequest, pb.ListMetricsResponse](
    TRAINER, "ListMetrics", pb.ListMetricsResponse
)

_WATCHING_SECONDS = 3600.0
_BACKOFF = Backoff(0.2, 5.0)
_TRIES = 20


class TrainerClient(Client[GrpcTransport]):
    """Blocking client of TrainerService."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the trainer service at `host:port`."""
        return cls(GrpcTransport(address))

    def create(
        self,
        config: Mapping[str, Any],
        *,
        job_id: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> pb.TrainingJob:
        """Makes a job; safe to repeat with the same id or request id.

        Args:
            config: Tables of settings that differ from the defaults.
            job_id: Its id; empty lets the service pick one.
            request_id: Names the call; empty picks one, so that only this call itself is safe.
            validate_only: Only check, and return the job as it would be.

        Raises:
            InvalidInputError: INVALID_CONFIG or INVALID_JOB_ID.
            AlreadyExistsError: JOB_EXISTS or RUN_EXISTS.
            ConflictError: REQUEST_ID_REUSED.
        """
        told = Struct()
        told.update(config)
        request = pb.CreateTrainingJobRequest(
            job_id=job_id, config=told, validate_only=validate_only, request_id=request_id or uuid4().hex
        )
        return self._transport.call(CREATE, request, timeout=deadline(request)).job

    def get(self, job_id: str) -> pb.TrainingJob:
        """A job as it stands.

        Raises:
            NotFoundError: NO_JOB.
        """
        request = pb.GetTrainingJobRequest(job_id=job_id)
        return self._transport.call(GET, request, timeout=deadline(request)).job

    def list(self) -> Iterator[pb.TrainingJob]:
        """All jobs, newest first."""
        request = pb.ListTrainingJobsRequest()
        while True:
            page = self._transport.call(LIST, request, timeout=deadline(request))
            yield from page.jobs
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def cancel(self, job_id: str) -> pb.TrainingJob:
        """Asks a job to stop; it may take a while to, and is killed after the service's grace.

        Raises:
            NotFoundError: NO_JOB.
            ConflictError: JOB_OUT_OF_REACH: its run was taken up again by a process that cannot be signalled.
        """
        request = pb.CancelTrainingJobRequest(job_id=job_id)
        return self._transport.call(CANCEL, request, timeout=deadline(request)).job

    def metrics(self, job_id: str) -> Iterator[pb.StepMetrics]:
        """The numbers of a job's steps.

        Raises:
            NotFoundError: NO_JOB.
        """
        request = pb.ListMetricsRequest(job_id=job_id)
        while True:
            page = self._transport.call(METRICS, request, timeout=deadline(request))
            yield from page.metrics
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(self, job_id: str, start_sequence: int = 0) -> Iterator[pb.WatchTrainingJobResponse]:
        """What happens in a job until it has ended, each event once, over restarts of the service.

        If its run is taken up again, another call tells what came after.

        Args:
            job_id: Which.
            start_sequence: The first event; 0 means from the start.

        Raises:
            NotFoundError: NO_JOB.
            UnavailableError: The service stayed away for more than a minute.
        """
        request = pb.WatchTrainingJobRequest(job_id=job_id, start_sequence=start_sequence)
        tries = 0
        while True:
            try:
                for event in self._transport.stream(WATCH, request, timeout=_WATCHING_SECONDS):
                    request.start_sequence, tries = event.sequence + 1, 0
                    yield event
                return
            except UnavailableError:
                tries += 1
                if tries == _TRIES:
                    raise
                time.sleep(_BACKOFF.pause(tries))
