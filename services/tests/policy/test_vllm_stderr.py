"""What vLLM's processes say on standard error while they start, told by those that stand in for them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.config import PolicySettings
from memalpha.errors import UnsupportedError
from memalpha.policy.vllm import process
from memalpha.policy.vllm.process import Process
from memalpha.policy.vllm.stderr import Heard

# As vLLM's processes log: their name, then the lines of a traceback; and then the one above them.
FAILURE = """\
(Worker pid=7) ERROR [core.py:99] Traceback (most recent call last):
(Worker pid=7) ERROR [core.py:99]   File "x.py", line 1, in load
(Worker pid=7) ERROR [core.py:99] ValueError: No available memory for the cache blocks.
(EngineCore pid=6) ERROR [core.py:12] RuntimeError: it failed, see the root cause above.
Process EngineCore:
"""


def child(text: str) -> None:
    """A process that writes to the standard error that it inherits, and ends."""
    subprocess.run([sys.executable, "-c", f"import sys; sys.stderr.write({text!r})"], check=True)


def heard(text: str) -> str:
    made = Heard()
    with made.listening():
        child(text)
    return made.cause()


def test_the_first_exception_of_a_process_is_its_cause() -> None:
    assert heard(FAILURE) == "ValueError: No available memory for the cache blocks."


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("first\n\nKilled\n\n", "Killed"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: CUDA out of memory."),
        ("", ""),
    ],
)
def test_without_a_traceback_the_last_line_is_all_there_is(text, cause) -> None:
    assert heard(text) == cause


def test_all_is_passed_on_and_later_lines_go_where_they_went_before(capfd) -> None:
    made = Heard()
    with made.listening():
        child(FAILURE)
        os.write(2, b"own\n")
    assert made.cause().startswith("ValueError")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == f"{FAILURE}own\nlater\n"


def test_a_process_that_outlives_its_start_is_passed_on_to_its_end(capfd) -> None:
    made = Heard()
    told = "import sys; sys.stdin.read(); sys.stderr.write('still here')"
    with made.listening():
        running = subprocess.Popen([sys.executable, "-c", told], stdin=subprocess.PIPE)
    running.communicate()
    assert made.cause() == "still here"
    assert capfd.readouterr().err == "still here"


def test_a_start_that_fails_tells_what_its_processes_told(monkeypatch) -> None:
    def failing(_given: object) -> Any:
        child(FAILURE)
        raise RuntimeError("Engine core initialization failed. See root cause above.")

    started = SimpleNamespace(AsyncLLM=SimpleNamespace(from_engine_args=failing))
    monkeypatch.setattr(process, "_async_llm", started)
    monkeypatch.setattr(process, "_arguments", SimpleNamespace(AsyncEngineArgs=dict))
    monkeypatch.setattr(process, "device", lambda _settings: "cpu")
    with pytest.raises(UnsupportedError, match="No available memory for the cache") as caught:
        Process.start(Path("model"), PolicySettings.model_validate({}), 1000)
    assert caught.value.reason == "MODEL_NOT_LOADED"
