"""The Go example, compiled from its generated code, against running services."""

import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "go"

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed"),
    pytest.mark.timeout(600),  # a first build compiles grpc
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("go") / "memalpha-go"
    command = ["go", "build", "-buildvcs=false", "-o", str(path), "."]
    built = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return path


def test_the_go_client_memorizes_recalls_and_reads_an_errors_reason(services, program) -> None:
    command = [program, "-memory", services.memory, "-agent", services.agent]
    first = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert first.returncode == 0, first.stderr
    receipts, dog, joan, refusal = sections(first.stdout)
    assert receipts == [f"go-{n} CHUNK_STATE_MEMORIZED, stored before: false" for n in (1, 2, 3)]
    assert "Biscuit" in dog[1]
    assert "Oslo" in joan[1]
    assert refusal[0].startswith('refused: BANK_NOT_FOUND: there is no bank "nobody"')


def test_a_second_run_of_the_go_client_stores_nothing_twice(services, program) -> None:
    command = [program, "-memory", services.memory, "-agent", services.agent]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    second = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    receipts, *_ = sections(second.stdout)
    assert all(receipt.endswith("stored before: true") for receipt in receipts)


def test_the_go_client_reports_a_service_that_is_not_there(program) -> None:
    command = [program, "-memory", "127.0.0.1:1", "-agent", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "127.0.0.1:1" in done.stderr


def sections(output):
    """Receipts, the answer to each question (its first line is the question), the refusal."""
    found = [[]]
    for line in output.splitlines():
        if line.endswith("?") or line.startswith("refused"):
            found.append([])
        found[-1].append(line)
    return found
