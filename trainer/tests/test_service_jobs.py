"""Jobs over processes of a fake trainer: made once, started in order, stopped, found again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memalpha.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
)
from memalpha.files import replace_json
from memalpha_trainer.config import Config
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.service.events import Event, whole_lines
from memalpha_trainer.service.manager import JobManager, Limits, check_id
from memalpha_trainer.service.processes import JobProcess

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
NEVER = 10**6


def configured(root: Path, job_id: str, how: str = "ends", steps: int = 5) -> Config:
    return Config.model_validate(
        {
            "name": job_id,
            "out": root,
            "policy": {"model": "warm"},
            "optim": {"steps": steps},
            "log": {"project": how},
        }
    )


class Clock:
    """Stands still until it is moved, later than all that a real clock tells."""

    def __init__(self) -> None:
        self.now = datetime(2100, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def managed(root: Path, **settings: object) -> Iterator[JobManager]:
    manager = JobManager(root, FAKE, **settings)  # type: ignore[arg-type]
    try:
        yield manager
    finally:
        for view in manager.list():
            view.job.process.kill()
        manager.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[JobManager]:
    with managed(tmp_path) as made:
        yield made


def until(manager: JobManager, is_so: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, [
            (view.job.record.job_id, view.standing) for view in manager.list()
        ]
        manager.tick()
        time.sleep(0.02)


def state(manager: JobManager, job_id: str) -> str:
    return manager.get(job_id).standing.state


def ended(manager: JobManager, *job_ids: str) -> None:
    until(manager, lambda: all(manager.get(each).standing.ended for each in job_ids))


def events(manager: JobManager, job_id: str) -> list[Event]:
    return manager.events(job_id, 0)[0]


def at_work(manager: JobManager, root: Path) -> int:
    """Makes job a, which does not end by itself; its process, once it has done a step."""
    manager.create(configured(root, "a", steps=NEVER))
    until(manager, lambda: manager.get("a").standing.step > 0)
    return pid(manager, "a")


def pid(manager: JobManager, job_id: str) -> int:
    return int((manager.get(job_id).job.folder / "process.pid").read_text())


def test_a_job_tells_its_steps_weights_and_states_in_order(manager: JobManager, tmp_path: Path) -> None:
    assert manager.create(configured(tmp_path, "a")).standing.state == "pending"
    ended(manager, "a")
    view = manager.get("a")
    assert (view.standing.state, view.standing.step, view.standing.error) == ("succeeded", 5, "")
    assert view.ended is not None
    told = events(manager, "a")
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    assert [event.state for event in told if event.state] in (
        ["pending", "running", "succeeded"],
        ["pending", "succeeded"],
    )
    assert told[-1].state == "succeeded"
    # What is no number is left out.
    steps = [(event.step, event.metrics) for event in told if event.metrics]
    assert steps == [(step, {"reward/total": step / 10}) for step in range(1, 6)]
    assert [event.version for event in told if event.checkpoint] == [2, 4]
    assert manager.events("a", len(told))[0] == told[-1:]


def test_a_failed_job_says_why_with_its_last_lines(manager: JobManager, tmp_path: Path) -> None:
    for how in ("fails", "dies", "never begins"):
        manager.create(configured(tmp_path, how.replace(" ", "-"), how))
    ended(manager, "fails", "dies", "never-begins")
    errors = {view.job.record.job_id: view.standing.error for view in manager.list()}
    assert {view.standing.state for view in manager.list()} == {"failed"}
    assert errors["fails"].startswith("RuntimeError: the loss is not finite\na line before the end\n")
    assert errors["dies"] == "its process is gone without a word\nnot enough memory"
    assert errors["never-begins"].endswith("error: there is no such model")
    assert events(manager, "dies")[-1].error == errors["dies"]
    assert manager.get("dies").standing.step == 3


def test_jobs_wait_for_a_place_and_start_in_their_order(tmp_path: Path) -> None:
    with managed(tmp_path, limits=Limits(places=2)) as manager:
        for name in "abc":
            manager.create(configured(tmp_path, name, steps=NEVER))
        until(manager, lambda: state(manager, "a") == state(manager, "b") == "running")
        assert manager.get("c").standing.message == "waiting for a place"
        manager.cancel("a")
        until(manager, lambda: state(manager, "c") == "running")
        assert [view.job.record.job_id for view in manager.list()] == ["c", "b", "a"]


def test_a_job_that_is_asked_to_stop_does_in_good_order(manager: JobManager, tmp_path: Path) -> None:
    manager.create(configured(tmp_path, "a", steps=NEVER))
    until(manager, lambda: manager.get("a").standing.step > 2)
    first = manager.cancel("a").job.cancelled
    assert manager.cancel("a").job.cancelled == first is not None
    ended(manager, "a")
    assert state(manager, "a") == "cancelled"
    assert manager.get("a").standing.message.startswith("asked to stop at step")
    assert manager.cancel("a").standing.state == "cancelled"


def cancelled(manager: JobManager, root: Path) -> tuple[list[Event], int]:
    """Cancels job a once it trains; its events, and the steps that it has done."""
    manager.create(configured(root, "a", steps=NEVER))
    until(manager, lambda: manager.get("a").standing.step > 2)
    manager.cancel("a")
    ended(manager, "a")
    return events(manager, "a"), manager.get("a").standing.step


def test_a_run_that_is_gone_on_with_by_hand_is_told_of_after_the_end_of_its_job(
    manager: JobManager, tmp_path: Path
) -> None:
    before, done = cancelled(manager, tmp_path)
    with RunFolder.resume(configured(tmp_path, "a", steps=NEVER)) as run:
        # Its checkpoint is of the step before the last: one step is done again, and told once.
        run.cut(done - 1)
        assert state(manager, "a") == "running"
        assert manager.get("a").ended is None
        for step in (done, done + 1):
            run.add_metrics(step, {"reward/total": 1.0, "more": "of another length"})
            run.running(step)
            manager.tick()
        run.end("done")
    assert state(manager, "a") == "succeeded"
    told = events(manager, "a")
    assert told[: len(before)] == before
    assert [event.state for event in told[len(before) - 1 :] if event.state] == [
        *("cancelled", "running", "succeeded")
    ]
    assert [event.step for event in told if event.metrics is not None] == list(range(1, done + 2))
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


def gone_on_with(root: Path, how: str, done: int) -> None:
    """Goes on with a cancelled job by hand, two steps far; nobody asks meanwhile."""
    config = configured(root, "a", steps=NEVER)
    with RunFolder.resume(config) as run:
        run.cut(done)
        for step in (done + 1, done + 2):
            run.add_metrics(step, {"reward/total": 1.0})
            run.running(step)
        run.end("failed" if how == "failed" else "stopped", f"RuntimeError: {how}")


@pytest.mark.parametrize(("how", "found"), [("failed", "failed"), ("Ctrl-C", "cancelled")])
def test_how_a_run_ended_that_was_gone_on_with_by_hand_is_told_with_its_steps(
    manager: JobManager, tmp_path: Path, how: str, found: str
) -> None:
    before, done = cancelled(manager, tmp_path)
    gone_on_with(tmp_path, how, done)
    standing = manager.get("a").standing
    assert (standing.state, standing.step) == (found, done + 2)
    # What its own process wrote at its end is no word of the other's.
    assert standing.error == ("RuntimeError: failed" if found == "failed" else "")
    then = events(manager, "a")[len(before) :]
    assert [event.step for event in then if event.metrics] == [done + 1, done + 2]
    assert [event.state for event in then if event.state] == [found]
    # Nothing is told twice.
    assert events(manager, "a") == [*before, *then]


RESUMED = """
import sys, time
from pathlib import Path
from memalpha_trainer.config import resolve
from memalpha_trainer.runs.folder import RunFolder
with RunFolder.resume(resolve(Path(sys.argv[1]))) as run:
    run.cut(int(sys.argv[2]))
    run.running(int(sys.argv[2]))
    print("goes on", flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        if sys.argv[3] == "stubborn":
            time.sleep(600)
        if sys.argv[3] == "fails":
            raise RuntimeError("not enough memory") from None
        raise
"""


@contextmanager
def resumed(manager: JobManager, job_id: str, how: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that goes on with a cancelled job by hand."""
    until(manager, lambda: manager.get(job_id).standing.step > 2)
    manager.cancel(job_id)
    ended(manager, job_id)
    view = manager.get(job_id)
    command = [sys.executable, "-c", RESUMED, str(view.job.config_file), str(view.standing.step), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "goes on\n"
            yield process
        finally:
            process.kill()


def test_a_run_that_is_gone_on_with_by_hand_is_noticed_though_nobody_asks(
    manager: JobManager, tmp_path: Path
) -> None:
    manager.create(configured(tmp_path, "a", steps=NEVER))
    with resumed(manager, "a"):
        manager.tick()
        log = (tmp_path / "a" / "job" / "events.jsonl").read_text()
    assert '"state": "running"' in log.splitlines()[-1]


def test_a_run_that_is_gone_on_with_by_hand_is_asked_to_stop_as_its_job_was(tmp_path: Path) -> None:
    clock = Clock()
    with managed(tmp_path, limits=Limits(grace_seconds=30), clock=clock) as manager:
        manager.create(configured(tmp_path, "a", steps=NEVER))
        with resumed(manager, "a") as process:
            # What was asked of the job's own process asks nothing of this one.
            clock.now += timedelta(seconds=60)
            manager.tick()
            assert process.poll() is None
            # Nor does what was asked of one that had its number before.
            asked_before(tmp_path, process.pid)
            manager.tick()
            assert process.poll() is None
            assert manager.cancel("a").job.cancelled == clock.now
            process.wait(60)
        assert state(manager, "a") == "cancelled"
        assert manager.get("a").standing.message.startswith("KeyboardInterrupt")
        with resumed(manager, "a", "fails") as process:
            # And if this one fails, that is no answer to it.
            asked_before(tmp_path, process.pid)
            process.send_signal(signal.SIGINT)
            process.wait(60)
        standing = manager.get("a").standing
        assert (standing.state, standing.error) == ("failed", "RuntimeError: not enough memory")


def asked_before(root: Path, pid: int) -> None:
    """Job a as if a process had been asked to stop that had this number before."""
    before = {"time": "2000-01-01T00:00:00+00:00", "pid": pid}
    replace_json(root / "a" / "job" / "cancel.json", before)


def test_a_run_that_is_gone_on_with_by_hand_and_does_not_stop_is_killed(tmp_path: Path) -> None:
    clock = Clock()
    with managed(tmp_path, limits=Limits(grace_seconds=30), clock=clock) as manager:
        manager.create(configured(tmp_path, "a", steps=NEVER))
        with resumed(manager, "a", "stubborn") as process:
            manager.cancel("a")
            manager.tick()
            assert process.poll() is None
            clock.now += timedelta(seconds=30)
            manager.tick()
            assert process.wait(60) == -signal.SIGKILL
        assert state(manager, "a") == "cancelled"


def test_a_run_that_cannot_be_asked_to_stop_is_said_to_be_whose_it_is(
    manager: JobManager, tmp_path: Path
) -> None:
    manager.create(configured(tmp_path, "a", steps=NEVER))
    with resumed(manager, "a") as process:
        before = manager.get("a").job.cancelled
        # As one of another container: its number is another's here, or nobody's.
        (tmp_path / "a" / "lock").write_text(str(os.getpid()))
        with pytest.raises(ConflictError, match=f"by process {os.getpid()}, which cannot be signalled"):
            manager.cancel("a")
        assert manager.get("a").job.cancelled == before
        assert process.poll() is None


def test_a_job_that_does_not_stop_is_killed_after_its_grace(tmp_path: Path) -> None:
    clock = Clock()
    with managed(tmp_path, limits=Limits(grace_seconds=30), clock=clock) as manager:
        manager.create(configured(tmp_path, "a", "stubborn", steps=NEVER))
        until(manager, lambda: manager.get("a").standing.step > 0)
        manager.cancel("a")
        clock.now += timedelta(seconds=29)
        step = manager.get("a").standing.step
        until(manager, lambda: manager.get("a").standing.step > step + 3)
        clock.now += timedelta(seconds=1)
        ended(manager, "a")
        assert state(manager, "a") == "cancelled"


def test_a_job_that_waits_is_cancelled_at_once_and_never_started(tmp_path: Path) -> None:
    with managed(tmp_path, limits=Limits(places=0)) as manager:
        manager.create(configured(tmp_path, "a"))
        manager.tick()
        assert manager.cancel("a").standing.state == "cancelled"
        manager.tick()
        assert not manager.get("a").job.process.launched


@contextmanager
def begun_by_hand(manager: JobManager, job_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that begins a job's run by hand, once it is at work."""
    job = manager.get(job_id).job
    with subprocess.Popen([*FAKE, "--config", str(job.config_file)]) as process:
        try:
            while not (job.run.status_file.exists() and job.run.status().step):
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("asked", [True, False])
def test_a_job_that_waits_and_is_begun_by_hand_has_no_process_beside_that(
    manager: JobManager, tmp_path: Path, asked: bool
) -> None:
    manager.create(configured(tmp_path, "a", steps=NEVER))
    if asked:
        assert manager.cancel("a").standing.state == "cancelled"
    manager.create(configured(tmp_path, "b"))
    with begun_by_hand(manager, "a") as process:
        manager.tick()
        manager.tick()
        assert state(manager, "a") == "running"
        # It has the only place; the control: a job that waits and was not begun by hand is started, below.
        assert [view.job.process.launched for view in manager.list()] == [False, False]
        manager.cancel("a")
        # 130: it was asked to stop, and did.
        assert process.wait(60) == 130
    ended(manager, "b")
    assert manager.get("a").standing.message.startswith("asked to stop at step")
    assert [view.standing.state for view in manager.list()] == ["succeeded", "cancelled"]
    assert [view.job.process.launched for view in manager.list()] == [True, False]


def require_unknown(manager: JobManager, job_id: str) -> None:
    for call in (manager.get, manager.cancel, lambda name: manager.events(name, 0)):
        with pytest.raises(NotFoundError, match=f"no job '{job_id}'"):
            call(job_id)
    assert job_id not in [view.job.record.job_id for view in manager.list()]


@pytest.mark.parametrize("found_by", ["create", "tick", "get", "list"])
def test_a_job_whose_folder_was_deleted_is_forgotten_and_its_id_is_free(
    manager: JobManager, tmp_path: Path, found_by: str
) -> None:
    manager.create(configured(tmp_path, "a", steps=2), "call")
    ended(manager, "a")
    shutil.rmtree(tmp_path / "a")
    if found_by == "tick":
        manager.tick()
    if found_by == "list":
        assert manager.list() == []
    if found_by != "create":
        require_unknown(manager, "a")
        manager.tick()
        assert not (tmp_path / "a").exists()
    # Neither its id nor its call is taken, though another configuration is asked for.
    manager.create(configured(tmp_path, "a", steps=3), "call")
    ended(manager, "a")
    assert (state(manager, "a"), manager.get("a").standing.step) == ("succeeded", 3)
    assert [event.step for event in events(manager, "a") if event.metrics] == [1, 2, 3]


def test_a_job_that_ended_is_not_begun_anew_while_its_folder_is_being_deleted(
    manager: JobManager, tmp_path: Path
) -> None:
    manager.create(configured(tmp_path, "a", steps=2))
    ended(manager, "a")
    before = events(manager, "a")
    # As `rm -r` leaves it that has not come to the end: what is here looks like a job that waits.
    for name in ("status.json", "job/process.lock", "job/process.pid"):
        (tmp_path / "a" / name).unlink()
    assert events(manager, "a") == before
    manager.tick()
    manager.tick()
    assert events(manager, "a") == before
    assert not (tmp_path / "a" / "job" / "process.lock").exists()


def test_a_job_that_works_in_a_deleted_folder_is_killed(tmp_path: Path) -> None:
    first = JobManager(tmp_path, FAKE)
    number = at_work(first, tmp_path)
    first.close()
    # It would end by itself at its next step, and may write while its folder is deleted.
    os.kill(number, signal.SIGSTOP)
    try:
        with managed(tmp_path) as second:
            second.tick()
            shutil.rmtree(tmp_path / "a")
            second.tick()
            assert os.waitpid(number, 0)[1] == signal.SIGKILL
            assert not (tmp_path / "a").exists()
            require_unknown(second, "a")
            second.create(configured(tmp_path, "a", steps=2))
            ended(second, "a")
            assert state(second, "a") == "succeeded"
    finally:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_a_job_whose_lock_alone_was_deleted_has_no_second_process(
    manager: JobManager, tmp_path: Path
) -> None:
    number = at_work(manager, tmp_path)
    try:
        for name in ("lock", "job/process.lock", "job/process.pid"):
            (tmp_path / "a" / name).unlink()
        manager.tick()
        assert not (tmp_path / "a" / "job" / "process.pid").exists()
        assert manager.get("a").job.worker == number
        manager.cancel("a")
        ended(manager, "a")
        assert state(manager, "a") == "cancelled"
    finally:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_a_folder_that_is_deleted_under_a_tick_is_not_brought_back(tmp_path: Path) -> None:
    first = JobManager(tmp_path, FAKE)
    number = at_work(first, tmp_path)
    first.close()
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)

    def clock() -> datetime:
        # Asked when there is something to be written down: here that the job has failed.
        shutil.rmtree(tmp_path / "a")
        return datetime(2100, 1, 1, tzinfo=UTC)

    with managed(tmp_path, clock=clock) as second:
        second.tick()
        assert not (tmp_path / "a").exists()
        require_unknown(second, "a")


def test_a_folder_that_is_deleted_before_its_job_starts_stops_nobody_else(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = JobProcess.launch

    def deleted_before(process: JobProcess, command: list[str]) -> subprocess.Popen[bytes]:
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        return launch(process, command)

    monkeypatch.setattr(JobProcess, "launch", deleted_before)
    for name in "ab":
        manager.create(configured(tmp_path, name))
    ended(manager, "b")
    assert state(manager, "b") == "succeeded"
    require_unknown(manager, "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "left",
    [
        *("config.toml", "status.json", "metrics.jsonl", "checkpoints/x", "weights/v000001"),
        *("job/process.lock", "job/events.jsonl"),
    ],
)
def test_what_is_left_of_a_run_is_not_taken_for_a_new_one(
    manager: JobManager, tmp_path: Path, left: str
) -> None:
    file = tmp_path / "a" / left
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(AlreadyExistsError, match="or what is left of it, exists and is no job"):
        manager.create(configured(tmp_path, "a"))
    # The control: what a call leaves that was killed while it made a job is no hindrance.
    file.unlink()
    if left.startswith(("checkpoints", "weights")):
        file.parent.rmdir()
    (tmp_path / "a" / "job").mkdir(exist_ok=True)
    (tmp_path / "a" / "job" / "config.toml").touch()
    manager.create(configured(tmp_path, "a"))


def test_the_same_call_makes_one_job(manager: JobManager, tmp_path: Path) -> None:
    first = manager.create(configured(tmp_path, "a"), "call-1")
    assert manager.create(configured(tmp_path, "a"), "call-1").job is first.job
    assert manager.create(configured(tmp_path, "a")).job is first.job
    # The service picked another id, but the call is the same.
    assert manager.create(configured(tmp_path, "b"), "call-1").job is first.job
    assert len(manager.list()) == 1
    with pytest.raises(AlreadyExistsError, match="job a exists with another configuration"):
        manager.create(configured(tmp_path, "a", steps=9))
    with pytest.raises(ConflictError, match="call-1 made job a"):
        manager.create(configured(tmp_path, "b", steps=9), "call-1")
    assert manager.create(configured(tmp_path, "b"), "call-2").job is not first.job
    with pytest.raises(InvalidInputError, match="at most 128 bytes"):
        manager.create(configured(tmp_path, "c"), "x" * 129)


def test_a_run_that_is_no_job_is_left_alone(manager: JobManager, tmp_path: Path) -> None:
    RunFolder.create(configured(tmp_path, "by-hand")).close()
    with pytest.raises(AlreadyExistsError, match="is no job"):
        manager.create(configured(tmp_path, "by-hand"))
    with pytest.raises(NotFoundError, match="no job 'by-hand'"):
        manager.get("by-hand")


@pytest.mark.parametrize("job_id", ["", "../a", "a/b", ".service.lock", "a" * 101, "ä", "a\n"])
def test_ids_are_names_of_folders(job_id: str) -> None:
    with pytest.raises(InvalidInputError, match="job_id must be"):
        check_id(job_id)


def test_one_service_at_a_time_has_a_folder(tmp_path: Path) -> None:
    with managed(tmp_path), pytest.raises(BusyError, match=f"process {os.getpid()}, works on"):
        JobManager(tmp_path, FAKE)
    JobManager(tmp_path, FAKE).close()


def test_another_service_finds_waiting_working_and_ended_jobs(tmp_path: Path) -> None:
    first = JobManager(tmp_path, FAKE)
    first.create(configured(tmp_path, "ended", steps=2))
    ended(first, "ended")
    first.create(configured(tmp_path, "works", steps=NEVER), "call")
    until(first, lambda: first.get("works").standing.step > 2)
    first.create(configured(tmp_path, "waits", steps=2))
    seen, before = events(first, "works"), pid(first, "works")
    first.close()
    with managed(tmp_path) as second:
        assert [view.job.record.job_id for view in second.list()] == ["waits", "works", "ended"]
        assert [view.standing.state for view in second.list()] == ["pending", "running", "succeeded"]
        until(second, lambda: second.get("works").standing.step > len(seen))
        assert events(second, "works")[: len(seen)] == seen
        assert len(events(second, "works")) > len(seen)
        assert second.create(configured(tmp_path, "works", steps=NEVER), "call").job.record.job_id == "works"
        assert pid(second, "works") == before
        second.cancel("works")
        ended(second, "works", "waits")
        assert state(second, "waits") == "succeeded"


def test_a_job_that_was_killed_while_no_service_ran_has_failed(tmp_path: Path) -> None:
    first = JobManager(tmp_path, FAKE)
    number = at_work(first, tmp_path)
    first.close()
    os.kill(number, signal.SIGKILL)
    with managed(tmp_path) as second:
        until(second, lambda: state(second, "a") == "failed")
        assert second.get("a").standing.error == "its process is gone without a word"
        # The process's number may be another's by now: nobody is signalled.
        (second.get("a").job.folder / "process.pid").write_text(str(os.getpid()))
        second.get("a").job.process.kill()
        second.get("a").job.process.send(signal.SIGINT)


def test_a_torn_event_was_told_to_nobody_and_gets_its_number_again(tmp_path: Path) -> None:
    first = JobManager(tmp_path, FAKE)
    first.create(configured(tmp_path, "a", steps=3))
    told = events(first, "a")
    first.close()
    file = tmp_path / "a" / "job" / "events.jsonl"
    with file.open("a") as torn:
        torn.write('{"step":1,"time":"2026')
    with managed(tmp_path) as second:
        assert events(second, "a") == told
        ended(second, "a")
        assert [event.sequence for event in events(second, "a")][:2] == [1, 2]
        assert len(file.read_text().splitlines()) == len(events(second, "a"))


def test_a_damaged_job_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    with managed(tmp_path, limits=Limits(places=0)) as manager:
        manager.create(configured(tmp_path, "a"))
    (tmp_path / "a" / "job" / "job.json").write_text("{}")
    with pytest.raises(CorruptionError, match=r"job\.json"):
        JobManager(tmp_path, FAKE)
    (tmp_path / "a" / "job" / "job.json").unlink()
    JobManager(tmp_path, FAKE).close()


def test_whole_lines_are_read_once(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    assert whole_lines(file, 0) == ([], 0)
    file.write_bytes(b"one\ntwo\nthr")
    assert whole_lines(file, 0) == ([b"one", b"two"], 8)
    file.write_bytes(b"one\ntwo\nthree\n")
    assert whole_lines(file, 8) == ([b"three"], 14)
    assert whole_lines(file, 14) == ([], 14)
    file.write_bytes(b"one\n")
    assert whole_lines(file, 14) == ([b"one"], 4)
