"""What libraries say beside a run's own words: nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from .grpo_support import checkpoint

pytestmark = pytest.mark.timeout(600)

READ_AND_WRITE = """
import sys
from memalpha_trainer.cli import _prepare
_prepare()
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""


def said(model: Path, out: Path, **variables: str) -> str:
    usual = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    environment = {**usual, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-c", READ_AND_WRITE, str(model), str(out)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stderr


def test_no_bar_is_drawn_for_a_model_that_is_read_or_written(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "model")
    assert said(model, tmp_path / "quiet") == ""
    # The control: whoever asks for the bars gets them.
    assert "Writing model shards" in said(model, tmp_path / "loud", HF_HUB_DISABLE_PROGRESS_BARS="0")
