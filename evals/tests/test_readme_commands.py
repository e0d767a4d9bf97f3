"""What README says to run runs as it is written there, on a file of LoCoMo's name."""

import json
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from memalpha_evals.cli import app

README = Path(__file__).parents[1] / "README.md"
TINY = Path(__file__).parent / "data" / "tiny_locomo.json"


def fenced(beginning: str) -> list[str]:
    """Commands in code blocks of README that begin with these words."""
    blocks = re.findall(r"^```\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = (line.partition("#")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line.startswith(beginning)]


def test_the_first_commands_of_the_readme_run_as_they_are_written(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEMALPHA_DATA", raising=False)
    samples = [json.loads(TINY.read_text())[0] | {"sample_id": name} for name in ("conv-26", "conv-47")]
    Path("locomo10.json").write_text(json.dumps(samples))
    runs = fenced("evals run locomo-dev --data locomo10.json")
    assert any("--policy extractive" in command for command in runs)
    assert len(runs) == 3
    compared = [command for command in fenced("evals compare") if "runs/passages runs/memories" in command]
    assert len(compared) == 1
    for command in (*runs, *compared):
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert Path("differ.csv").is_file()
    (first,) = Path("runs").glob("locomo-dev-*")
    assert (first / "report.html").is_file()
    # six of the ten conversations, here one of two
    rows = [json.loads(line) for line in (first / "rows.jsonl").read_text().splitlines()]
    assert {row["conversation"] for row in rows} == {"conv-26"}
