"""The trainer service as a process, its client, both killed without warning, and a job that really trains."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2
from typer.testing import CliRunner

from memalpha.api.trainer.v1alpha1 import trainer_service_pb2 as pb
from memalpha.api.trainer.v1alpha1.trainer_service_pb2 import TrainingJob, WatchTrainingJobResponse
from memalpha.client.methods import CHECK_HEALTH
from memalpha.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    UnavailableError,
)
from memalpha.transport import GrpcTransport
from memalpha.up.ports import free_port
from memalpha_trainer import cli
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.service import TrainerClient
from memalpha_trainer.service.client import LIST, METRICS, TRAINER
from memalpha_trainer.service.manager import Limits
from memalpha_trainer.service.processes import JobProcess
from memalpha_trainer.service.server import COMMAND, _after, _place

from .test_service_jobs import FAKE, NEVER

PROGRAM = """
import sys
from pathlib import Path
from memalpha_trainer.service import serve
from memalpha_trainer.service.manager import Limits
limits = Limits(places=2, grace_seconds=30)
sys.exit(serve(sys.argv[1], Path(sys.argv[2]), limits=limits, command=sys.argv[3:]))
"""


def settings(how: str = "ends", steps: int = 5) -> dict[str, object]:
    return {"policy": {"model": "warm"}, "optim": {"steps": steps}, "log": {"project": how}}


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)


class Service:
    """A trainer service that can be killed and started again at its address."""

    def __init__(self, root: Path, command: tuple[str, ...] = FAKE) -> None:
        self.root = root
        self.command = command
        self.address = f"127.0.0.1:{free_port('127.0.0.1')}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self.address, str(self.root), *self.command],
            stderr=subprocess.DEVNULL,
        )
        until(self._ready)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _ready(self) -> bool:
        assert self.process.poll() is None
        transport = GrpcTransport(self.address)
        try:
            reply = transport.call(CHECK_HEALTH, health_pb2.HealthCheckRequest(service=TRAINER), timeout=2)
        except MemalphaError:
            return False
        finally:
            transport.close()
        return reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service") / "runs")
    try:
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
    finally:
        running.kill()
        for file in running.root.glob("*/job/process.pid"):
            JobProcess(file.parent).kill()


@pytest.fixture
def client(service: Service) -> Iterator[TrainerClient]:
    with TrainerClient.connect(service.address) as connected:
        yield connected
        for job in connected.list():
            connected.cancel(job.job_id)


def reached(client: TrainerClient) -> bool:
    """Whether the service answers; a channel takes a moment to notice that it is back."""
    try:
        list(client.list())
    except UnavailableError:
        return False
    return True


def states(events: list[WatchTrainingJobResponse]) -> list[str]:
    return [
        TrainingJob.State.Name(event.state_change.state).removeprefix("STATE_")
        for event in events
        if event.HasField("state_change")
    ]


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ([], Limits()),
        (["--places", "3", "--grace-seconds", "1200.5"], Limits(places=3, grace_seconds=1200.5)),
    ],
)
def test_places_and_grace_are_given_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, options: list[str], limits: Limits
) -> None:
    asked = list[Limits]()
    monkeypatch.setattr(
        "memalpha_trainer.service.serve", lambda address, out, *, limits: asked.append(limits) or 0
    )
    assert CliRunner().invoke(cli.commands, ["serve", *options]).exit_code == 0
    assert asked == [limits]


@pytest.mark.parametrize("option", ["--places=0", "--grace-seconds=-1"])
def test_no_places_and_less_than_no_grace_are_refused(option: str) -> None:
    done = CliRunner().invoke(cli.commands, ["serve", option])
    assert done.exit_code == 2
    assert option.split("=")[0] in done.output


def test_a_job_goes_from_its_call_to_its_end(service: Service, client: TrainerClient) -> None:
    planned = client.create(settings(), job_id="a", validate_only=True)
    assert planned.total_steps == 5
    assert json_format.MessageToDict(planned.config)["rollouts"]["group_size"] == 8
    assert list(client.list()) == []
    made = client.create(settings(), job_id="a", request_id="call")
    assert client.create(settings(), job_id="a", request_id="call").create_time == made.create_time
    events = list(client.watch("a"))
    assert states(events)[-1] == "SUCCEEDED"
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert list(client.watch("a", 3)) == events[2:]
    assert [event.checkpoint.policy_version for event in events if event.HasField("checkpoint")] == [2, 4]
    job = client.get("a")
    assert (job.state, job.step, job.path) == (
        TrainingJob.STATE_SUCCEEDED,
        5,
        str(service.root.resolve() / "a"),
    )
    assert job.HasField("end_time")
    assert not job.HasField("cancel_time")
    points = [(point.step, dict(point.values)) for point in client.metrics("a")]
    assert points == [(step, {"reward/total": step / 10}) for step in range(1, 6)]


def test_what_cannot_be_is_refused_by_name(client: TrainerClient) -> None:
    with pytest.raises(InvalidInputError, match=r"optim\.steps"):
        client.create(settings(steps=0))
    with pytest.raises(InvalidInputError, match=r"optim\.speed"):
        client.create({**settings(), "optim": {"speed": 9}})
    for own in ("name", "out"):
        with pytest.raises(InvalidInputError, match=f"{own} is the service's to choose"):
            client.create({**settings(), own: "x"})
    with pytest.raises(InvalidInputError, match="job_id must be"):
        client.create(settings(), job_id="../x")
    client.create(settings("never begins"), job_id="taken")
    with pytest.raises(AlreadyExistsError, match="another configuration"):
        client.create(settings("never begins", steps=6), job_id="taken")
    for call in (
        client.get,
        client.cancel,
        lambda name: list(client.metrics(name)),
        lambda name: list(client.watch(name)),
    ):
        with pytest.raises(NotFoundError, match="no job 'nobody'"):
            call("nobody")
    assert "nobody" not in {job.job_id for job in client.list()}


def test_a_page_goes_on_behind_a_job_that_was_deleted_meanwhile() -> None:
    def view(created: str, job_id: str) -> Any:
        return SimpleNamespace(job=SimpleNamespace(record=SimpleNamespace(created=created, job_id=job_id)))

    views = [view("2026-02-01", "c"), view("2026-01-01", "b"), view("2026-01-01", "a")]
    token = "/".join(_place(views[1]))
    assert _after([views[0], views[2]], token) == [views[2]]
    assert _after(views, "") == views


def test_pages_hold_each_job_and_step_once(client: TrainerClient) -> None:
    before = [job.job_id for job in client.list()]
    for name in ("page-1", "page-2", "page-3"):
        client.create(settings("never begins"), job_id=name)
    send = client._transport.call
    first = send(LIST, pb.ListTrainingJobsRequest(page_size=2), timeout=5)
    assert [job.job_id for job in first.jobs] == ["page-3", "page-2"]
    rest = send(LIST, pb.ListTrainingJobsRequest(page_token=first.next_page_token), timeout=5)
    assert [job.job_id for job in rest.jobs] == ["page-1", *before]
    assert rest.next_page_token == ""
    client.create(settings(), job_id="d")
    assert states(list(client.watch("d")))[-1] == "SUCCEEDED"
    steps, token = [], ""
    while not steps or token:
        page = send(METRICS, pb.ListMetricsRequest(job_id="d", page_size=2, page_token=token), timeout=5)
        steps, token = [*steps, *(point.step for point in page.metrics)], page.next_page_token
    assert steps == [1, 2, 3, 4, 5]
    for request in (
        pb.ListMetricsRequest(job_id="d", page_token="x"),
        pb.ListMetricsRequest(job_id="d", page_size=-1),
    ):
        with pytest.raises(InvalidInputError, match="page_"):
            send(METRICS, request, timeout=5)


def test_a_killed_job_is_reported_with_its_last_lines(service: Service, client: TrainerClient) -> None:
    client.create(settings("dies"), job_id="by-itself")
    events = list(client.watch("by-itself"))
    assert events[-1].state_change.error_message.endswith("not enough memory")
    client.create(settings(steps=NEVER), job_id="by-us")
    until(lambda: client.get("by-us").step > 0)
    os.kill(int((service.root / "by-us" / "job" / "process.pid").read_text()), signal.SIGKILL)
    assert states(list(client.watch("by-us")))[-1] == "FAILED"
    assert client.get("by-us").error_message == "its process is gone without a word"


def test_a_killed_service_finds_its_jobs_again_and_watchers_miss_nothing(
    service: Service, client: TrainerClient
) -> None:
    client.create(settings(steps=2), job_id="ended")
    assert states(list(client.watch("ended")))[-1] == "SUCCEEDED"
    client.create(settings(steps=NEVER), job_id="works")
    seen: list[WatchTrainingJobResponse] = []
    watcher = threading.Thread(target=lambda: seen.extend(client.watch("works")), daemon=True)
    until(lambda: client.get("works").step > 0)
    watcher.start()
    until(lambda: len(list(client.metrics("works"))) > 5)
    number = (service.root / "works" / "job" / "process.pid").read_text()
    service.kill()
    os.kill(int(number), 0)  # the job works on
    service.start()
    until(lambda: reached(client))
    found = {job.job_id: job.state for job in client.list()}
    assert (found["works"], found["ended"]) == (TrainingJob.STATE_RUNNING, TrainingJob.STATE_SUCCEEDED)
    before = client.get("works").step
    until(lambda: client.get("works").step > before)
    assert (service.root / "works" / "job" / "process.pid").read_text() == number
    assert client.cancel("works").HasField("cancel_time")
    watcher.join(60)
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert states(seen)[-1] == "CANCELLED"
    steps = [event.metrics.step for event in seen if event.HasField("metrics")]
    assert steps == list(range(1, client.get("works").step + 1))


def test_a_stopped_service_leaves_its_jobs_working(service: Service, client: TrainerClient) -> None:
    client.create(settings(steps=NEVER), job_id="stays")
    until(lambda: client.get("stays").step > 0)
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM, "127.0.0.1:0", str(service.root), *FAKE],
        check=False,
        capture_output=True,
        text=True,
    )
    assert second.returncode != 0
    assert f"another service, process {service.process.pid}" in second.stderr
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0
    service.start()
    until(lambda: reached(client))
    assert client.get("stays").state == TrainingJob.STATE_RUNNING


REAL = {
    "task": {"kind": "bandit"},
    "agent": {"max_new_tokens": 8},
    "policy": {"tiny": {}},
    "rollouts": {"groups": 2, "group_size": 2},
    "credit": {"mode": "trajectory"},
    "optim": {"steps": 2, "micro_batches": 1},
    "save": {"every": 2},
    "eval": {"streams": 1, "first": False},
}


@contextmanager
def really_training(root: Path) -> Iterator[tuple[Service, TrainerClient]]:
    """A service whose jobs are the trainer's own processes."""
    service = Service(root, COMMAND)
    try:
        with TrainerClient.connect(service.address) as client:
            yield service, client
    finally:
        service.kill()
        for file in service.root.glob("*/job/process.pid"):
            JobProcess(file.parent).kill()


NEEDS_TORCH = pytest.mark.skipif(find_spec("trl") is None, reason="needs the trainer's libraries")


@NEEDS_TORCH
@pytest.mark.timeout(1800)
def test_a_job_that_really_trains_tells_the_numbers_that_its_run_wrote_down(tmp_path: Path) -> None:
    with really_training(tmp_path / "runs") as (service, client):
        client.create(REAL, job_id="real")
        events = list(client.watch("real"))
        run = RunFiles.find(service.root / "real")
        assert states(events)[-1] == "SUCCEEDED", events[-1].state_change.error_message
        told = [
            {"step": event.metrics.step, **event.metrics.values}
            for event in events
            if event.HasField("metrics")
        ]
        written = [{name: each for name, each in line.items() if name != "time"} for line in run.metrics()]
        assert told == written
        # The control: a trainer that did nothing would have no gradient, and the weights of the beginning.
        assert all(line["grad_norm"] > 0 for line in told)
        weights = [run.path / folder / "model.safetensors" for folder in ("model", "checkpoint")]
        assert len({sha256(each.read_bytes()).digest() for each in weights}) == 2


@NEEDS_TORCH
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_real_job_that_was_cancelled_and_is_gone_on_with_ends_as_one_that_was_not(tmp_path: Path) -> None:
    # So many that the call is there before the last.
    longer = {**REAL, "optim": {"steps": 30, "micro_batches": 1}}
    with really_training(tmp_path / "runs") as (service, client):
        for job_id in ("whole", "cancelled"):
            client.create(longer, job_id=job_id)
        until(lambda: client.get("cancelled").step > 0, 900)
        client.cancel("cancelled")
        first = list(client.watch("cancelled"))
        assert states(first)[-1] == "CANCELLED"
        run = RunFiles.find(service.root / "cancelled")
        marks = run.checkpoints.glob("checkpoint-*/resumable.json")
        saved = max(json.loads(each.read_bytes())["step"] for each in marks)
        assert 0 < saved == client.get("cancelled").step < 30
        # The control: its numbers are not all there yet.
        assert states(list(client.watch("whole")))[-1] == "SUCCEEDED"
        assert numbers(client, "cancelled") == numbers(client, "whole")[:saved]
        config = run.path / "job" / "config.toml"
        subprocess.run([*COMMAND, "--config", str(config), "--resume"], check=True, capture_output=True)
        assert client.get("cancelled").state == TrainingJob.STATE_SUCCEEDED
        then = list(client.watch("cancelled", first[-1].sequence + 1))
        assert states(then)[-1] == "SUCCEEDED"
        steps = [event.metrics.step for event in (*first, *then) if event.HasField("metrics")]
        assert steps == list(range(1, 31))
        assert numbers(client, "cancelled") == numbers(client, "whole")
        checkpoints = [service.root / job_id / "checkpoint" for job_id in ("whole", "cancelled")]
        ends = {sha256((each / "model.safetensors").read_bytes()).digest() for each in checkpoints}
        assert len(ends) == 1


def numbers(client: TrainerClient, job_id: str) -> list[tuple[int, dict[str, float]]]:
    """A job's numbers, but for those that a clock decides."""
    return [
        (point.step, {name: each for name, each in point.values.items() if not name.startswith(CLOCKED)})
        for point in client.metrics(job_id)
    ]


CLOCKED = ("seconds/", "tokens/per_second", "step_time")
