"""The policy service that a run starts: how it is set, and what is said of one that has ended."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memalpha.errors import InternalError
from memalpha_trainer import served
from memalpha_trainer.config import Config


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        # Two streams of three rollouts each: never more than six completions at once.
        ({"rows": 64}, 6),
        ({"rows": 4}, 4),
        # Where no row is computed that stands empty, more cost nothing.
        ({"rows": 64, "batch_invariant": False}, 64),
        ({"rows": 64, "engine": "vllm"}, 64),
    ],
)
def test_a_service_has_no_more_rows_than_rollouts_where_empty_ones_are_computed(
    tmp_path: Path, policy: dict[str, Any], rows: int
) -> None:
    config = Config.model_validate(
        {"policy": {"tiny": {}} | policy, "rollouts": {"groups": 2, "group_size": 3}}
    )
    assert served.settings_of(config, tmp_path, tmp_path, "host:1").policy.rows == rows


def test_a_service_that_was_started_and_has_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "policy.log"
    log.write_text("out of memory\n")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        service = served.Service("host:1", process, log)
        # The control: while it lives, and of a service that was not started here, nothing is known.
        service.require_alive()
        served.Service("host:1").require_alive()
        process.kill()
        process.wait()
    with pytest.raises(InternalError, match=r"(?s)status -9.*out of memory") as caught:
        service.require_alive()
    assert caught.value.reason == "POLICY_DIED"
