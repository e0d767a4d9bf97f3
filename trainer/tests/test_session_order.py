"""What a run finds out before it spends anything, and before it leaves a folder behind."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from memalpha.errors import ConflictError, make
from memalpha_trainer import session
from memalpha_trainer.config import Config

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
    def refused(given: Config, model: Path, weights: Path, steps: int) -> None:
        assert (given, model, steps) == (config, config.policy.model, 0)
        assert weights == config.folder / "weights"
        raise make(ConflictError, "ANOTHER_POLICY", "it serves something else")

    monkeypatch.setattr(session, "check_running", refused)
    with pytest.raises(ConflictError, match="something else"):
        session.train(config, quiet=True)
    assert not config.folder.exists()


def test_a_run_keeps_what_its_reader_and_its_judge_say_of_themselves(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.asked, "reader", lambda given, replay: f"a reader, replay {replay}")
    monkeypatch.setattr(session.asked, "judge", lambda given: "a judge")
    found = session._origin(config, None)
    assert (found.reader, found.judge) == ("a reader, replay False", "a judge")
    assert found.base


def test_a_service_shows_that_it_has_the_weights_before_it_is_evaluated(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Trainer:
        def check_first(self) -> None:
            order.append("weights")

        def train(self, **_: Any) -> None:
            raise Stopped

        def stop_soon(self) -> None: ...

    monkeypatch.setattr(session, "check_running", lambda *_: order.append("service"))
    monkeypatch.setattr(session, "built", lambda *_: Trainer())
    monkeypatch.setattr(session.heldout, "of_service", lambda *_: order.append("evaluation") or {})
    with pytest.raises(Stopped):
        session.train(config, quiet=True)
    assert order == ["service", "weights", "evaluation"]
