"""What a run finds out before it spends anything, and before it leaves a folder behind."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from memalpha.errors import AlreadyExistsError, ConflictError, NotFoundError, make
from memalpha_trainer import session
from memalpha_trainer.asked import Asked
from memalpha_trainer.config import Config
from memalpha_trainer.grpo.resume import mark
from memalpha_trainer.running import Kept
from memalpha_trainer.runs.folder import RunFolder

from .grpo_support import checkpoint, configured

# Libraries' own.
pytestmark = pytest.mark.filterwarnings("default")


class Stopped(Exception):
    """Ends a run where a test has seen enough of it."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run whose policy service is found running."""
    monkeypatch.setattr(session, "fitted", lambda config, model: config)
    tables = {"policy": {"address": "127.0.0.1:1"}, "agent": {"prompt_pack": "short"}}
    return configured(checkpoint(tmp_path / "model"), tmp_path / "runs", **tables)


def test_a_service_that_was_started_for_something_else_leaves_no_folder_behind(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(given: Config, model: Path, weights: Path, steps: int, *, begun: bool) -> None:
        assert (given, model, steps, begun) == (config, config.policy.model, 0, False)
        assert weights == config.folder / "weights"
        raise make(ConflictError, "ANOTHER_POLICY", "it serves something else")

    monkeypatch.setattr(session, "check_running", refused)
    with pytest.raises(ConflictError, match="something else"):
        session.train(config, quiet=True)
    assert not config.folder.exists()


def test_a_run_keeps_what_its_reader_and_its_judge_say_of_themselves(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.asked, "reader", lambda given, replay: Asked(f"a reader, replay {replay}"))
    monkeypatch.setattr(session.asked, "judge", lambda given: Asked("a judge"))
    found = session._origin(config, None)
    assert (found.reader, found.judge) == (Asked("a reader, replay False"), Asked("a judge"))
    assert found.base


def test_nobody_is_asked_for_a_run_that_cannot_be(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **options: Any) -> None:
        raise Stopped

    for module, name in ((session, "check_running"), (session.asked, "reader"), (session.asked, "judge")):
        monkeypatch.setattr(module, name, asked)
    with pytest.raises(NotFoundError, match="there is no run"):
        session.train(config, resume=True, quiet=True)
    # The control: for one that can be, somebody is.
    with pytest.raises(Stopped):
        session.train(config, quiet=True)
    RunFolder.create(config).close()
    with pytest.raises(AlreadyExistsError, match="resume it, or choose another name"):
        session.train(config, quiet=True)


def test_a_service_shows_that_it_reads_and_has_the_weights_before_it_is_evaluated(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Trainer:
        def check_first(self) -> None:
            order.append("weights")

        def train(self, **_: Any) -> None:
            raise Stopped

        def stop_soon(self) -> None: ...

    def reads(config: Config, model: Path, weights: Path, kept: Kept) -> None:
        first, later = kept(1), kept(2)
        assert first is not None
        assert (first.parent, later) == (weights, None)
        assert {each.name for each in first.iterdir()} == {each.name for each in model.iterdir()}
        order.append("folder")

    monkeypatch.setattr(session, "check_running", lambda *_, **options: order.append("service"))
    monkeypatch.setattr(session, "check_reads", reads)
    monkeypatch.setattr(session, "built", lambda *_: Trainer())
    monkeypatch.setattr(session.heldout, "of_service", lambda *_: order.append("evaluation") or {})
    with pytest.raises(Stopped):
        session.train(config, quiet=True)
    assert order == ["service", "folder", "weights", "evaluation"]
    # One that is resumed asks again, since the service may be another; what was measured stays.
    del order[:]
    saved = config.folder / "checkpoints" / "checkpoint-2"
    saved.mkdir()
    mark(saved, 2, config.optim.updates)
    with pytest.raises(Stopped):
        session.train(config, resume=True, quiet=True)
    assert order == ["service", "folder"]
