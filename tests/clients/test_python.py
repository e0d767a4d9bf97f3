"""The Python examples as their readers would run them, against running services."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"

pytestmark = pytest.mark.clients


def run(script, *arguments):
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_blocking_client_memorizes_recalls_and_reads_an_errors_reason(services) -> None:
    lines = run("quickstart.py", services.memory, services.agent)
    assert lines[:2] == [f"py-{n} CHUNK_STATE_MEMORIZED, stored before: False" for n in (1, 2)]
    assert lines[2] == "What is the name of Caroline's dog?"
    assert "Biscuit" in lines[3]
    assert lines[-1].startswith('refused: BANK_NOT_FOUND: there is no bank "nobody"')
    again = run("quickstart.py", services.memory, services.agent)
    assert again[:2] == [f"py-{n} CHUNK_STATE_MEMORIZED, stored before: True" for n in (1, 2)]


def test_the_asynchronous_client_writes_searches_and_reads_history(services) -> None:
    lines = run("quickstart_async.py", services.memory)
    assert lines == [
        "kept #1",
        "kept #2",
        "kept #3",
        "Who has a dog?",
        "  Caroline's dog is called Biscuit",
        "Where does Joan live?",
        "  Joan lives in Oslo",
        "revision 1: bank_created",
        "revision 2: operation_applied",
        "revision 2: operation_applied",
        "revision 2: operation_applied",
    ]
    refused = run("quickstart_async.py", services.memory)[:3]
    assert not any(line.startswith("kept") for line in refused)
