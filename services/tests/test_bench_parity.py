"""How outcomes of the conformance suite and lines of the parity table are read, judged and shown."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from memalpha.tasks.pages import between

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))

import parity  # pyright: ignore[reportMissingImports]
from parity_bench import conformance, measure, page  # pyright: ignore[reportMissingImports]
from parity_bench.conformance import Outcomes  # pyright: ignore[reportMissingImports]
from parity_bench.rows import Row  # pyright: ignore[reportMissingImports]
from shown import said_of  # pyright: ignore[reportMissingImports]

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.fixture(params=["extractive", "vllm"])
def engine(request, record_property):
    record_property("engine", request.param)
    if request.param == "vllm":
        pytest.skip("needs vllm")
    yield request.param
    assert request.node.name != "test_leaves[extractive]"

def test_good(engine): pass
def test_bad(engine): raise ValueError("torn")
def test_leaves(engine): pass
def test_says_no(engine): pytest.skip("model_free")
"""
CELL = ("vllm", "float32", "tied", "before", "warm")
LINE = Row(*CELL, 450, 1000, 760, 1e-6, 1e-7)
GIT = {"commit": "79be4890123456789abcdef0123456789abcdef0", "changed": False}
START = {"date": "2026-11-27", "git": GIT, "cores": 2, "load_before": 0.5, "versions": {"torch": "2.13.0"}}


def of(off: list[float]) -> Row:
    return Row.of(CELL, off=off, prompt_tokens=1000, cached_tokens=760)


def all_passed(**more: Outcomes) -> conformance.Found:
    return {name: Outcomes(passed=("test_good",)) for name in conformance.ENGINES} | more


def test_a_report_of_pytest_is_read_by_engine_and_the_worst_outcome_of_a_test_counts(pytester) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_subprocess("-o", "junit_family=xunit1", "--junitxml=report.xml")
    found = conformance.read(Path("report.xml").read_text("utf-8"))
    one, other = found["extractive"], found["vllm"]
    assert one.passed == ("test_good[extractive]",)
    assert one.skipped == {"test_says_no[extractive]": "model_free"}
    # The last passes, and what it leaves behind fails.
    assert list(one.failed) == ["test_bad[extractive]", "test_leaves[extractive]"]
    assert "torn" in one.failed["test_bad[extractive]"]
    assert (other.passed, len(other.skipped), other.failed) == ((), 4, {})
    assert [fault.partition(" failed")[0] for fault in conformance.faults(found, ["extractive", "vllm"])] == [
        "extractive: test_bad[extractive]",
        "extractive: test_leaves[extractive]",
        "vllm: no test of the conformance suite passed",
    ]


def test_a_suite_that_does_not_run_is_no_suite_without_failures(monkeypatch) -> None:
    monkeypatch.setattr(conformance, "SUITE", Path("nowhere.py"))
    with pytest.raises(RuntimeError, match="ended with 4"):
        conformance.run()


def test_a_suite_that_was_interrupted_shows_what_it_came_to(tmp_path, monkeypatch) -> None:
    suite = tmp_path / "test_suite.py"
    suite.write_text(
        "def test_good(record_property): record_property('engine', 'vllm')\n"
        "def test_stopped(): raise KeyboardInterrupt\n"
    )
    monkeypatch.setattr(conformance, "SUITE", suite)
    found = conformance.run()
    assert found["vllm"].passed == ("test_good",)
    assert list(found[conformance.NOBODY].failed) == ["pytest"]
    assert "ended with 2" in next(iter(conformance.faults(found, ["vllm"])))


def test_the_suite_names_its_engines() -> None:
    found = conformance.run(["extractive"])
    assert list(found) == ["extractive"]
    assert not list(conformance.faults(found, ["extractive"]))
    assert len(found["extractive"].passed) > 15


@pytest.mark.parametrize(
    "line",
    [
        replace(LINE, largest=1.1e-4),
        replace(LINE, dtype="bfloat16", largest=5.1e-2),
        replace(LINE, largest=math.nan),
        # First or last, `max` alone would see one of the two.
        of([1e-6, math.nan]),
        of([math.nan, 1e-6]),
        replace(LINE, cached_tokens=490),
        replace(LINE, cache="cold"),
    ],
)
def test_a_line_beyond_its_limit_or_of_another_cache_than_it_says_is_a_fault(line) -> None:
    found = page.Found(all_passed(), [LINE, of([1e-6, 1e-7]), line])
    assert found.faults() == [str(line)]
    # JSON knows no NaN and no infinity.
    said = page.document(found, START)
    assert json.loads(json.dumps(said, allow_nan=False))["rows"] == said["rows"]
    assert (said["rows"][-1]["largest"] is None) == (not math.isfinite(line.largest))


def test_a_table_that_breaks_off_takes_no_outcome_and_no_evidence_with_it(
    tmp_path, monkeypatch, capsys
) -> None:
    text = f"{page.BEGIN}\n\nof before\n\n{page.END}"
    whole_day, partial = (tmp_path / "policy" / f"2026-11-27{end}.json" for end in ("", ".partial"))
    whole_day.parent.mkdir()
    whole_day.write_text("of before")
    (tmp_path / "policy.md").write_text(text)

    async def broken(*_: object) -> AsyncIterator[Row]:
        yield LINE
        raise MemoryError

    async def whole(*_: object) -> AsyncIterator[Row]:
        yield LINE

    monkeypatch.setattr(sys, "argv", ["parity"])
    monkeypatch.setattr(page, "DOCS", tmp_path)
    monkeypatch.setattr(page, "start", lambda: START)
    monkeypatch.setattr(conformance, "run", lambda _: all_passed())
    monkeypatch.setattr(measure, "table", broken)
    with pytest.raises(MemoryError):
        parity.main()
    assert "| `vllm` | 1 | 0 | 0 |" in capsys.readouterr().out
    assert set(whole_day.parent.iterdir()) == {whole_day, partial}
    said = json.loads(partial.read_text())
    assert said["conformance"]["vllm"]["passed"] == ["test_good"]
    assert said["faults"] == ["parity: no line of the table was made"]
    assert whole_day.read_text() == "of before"
    assert (tmp_path / "policy.md").read_text() == text
    # The control: a table that comes to its end.
    monkeypatch.setattr(measure, "table", whole)
    assert parity.main() == 0
    assert list(whole_day.parent.iterdir()) == [whole_day]
    assert json.loads(whole_day.read_text())["git"] == GIT
    shown = (tmp_path / "policy.md").read_text()
    assert "| `vllm`, float32, tied | 1e-06 |" in shown
    assert "2026-11-27, commit 79be489012, 2 cores, load 0.5 before; torch 2.13.0" in shown


def test_a_measurement_says_of_which_commit_it_is_and_whether_files_differ_from_it() -> None:
    assert "commit 79be489012, 2 cores" in said_of(START)
    changed = said_of(START | {"git": GIT | {"changed": True}})
    assert "commit 79be489012, with files that differ from it, 2 cores" in changed
    assert "no commit known, 2 cores" in said_of(START | {"git": None})


def test_the_commit_is_what_git_says_of_this_code() -> None:
    if shutil.which("git") is None or not (page.DOCS.parent / ".git").exists():
        pytest.skip("needs git and a repository")
    command = ["git", "-C", str(page.DOCS), "rev-parse", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    started = page.start()
    assert started["git"]["commit"] == asked.stdout.strip()
    assert isinstance(started["git"]["changed"], bool)
    assert page.document(page.Found(all_passed(), [LINE]), started)["git"] == started["git"]


def test_an_engine_that_was_not_tried_and_a_test_that_failed_are_faults() -> None:
    assert page.Found(all_passed(), [LINE]).faults() == []
    failed = Outcomes(passed=("test_good",), failed={"test_bad": "torn"})
    found = page.Found(all_passed(vllm=Outcomes(), openai=failed), [LINE])
    assert found.faults() == [
        "openai: test_bad failed: torn",
        "vllm: no test of the conformance suite passed",
    ]


def test_tables_show_every_engine_and_the_document_every_outcome() -> None:
    skips = {"test_a[x]": "no model", "test_b[x]": "no model", "test_c[x]": "a|b"}
    after = replace(LINE, weights="after", largest=2e-4)
    found = page.Found(
        all_passed(vllm=Outcomes(("test_good",), skips)), [replace(LINE, cache="cold"), LINE, after]
    )
    outcomes, parity = page.tables(found)
    assert "| `openai` | 1 | 0 | 0 |" in outcomes
    assert "| `vllm` | 1 | 0 | 3: `test_a`, `test_b` (no model); `test_c` (a\\|b) |" in outcomes
    assert "| `vllm`, float32, tied | 1e-06 (beyond) / 1e-06 | 2e-04 (beyond) |" in parity
    said = json.loads(json.dumps(page.document(found, START)))
    assert said["conformance"]["vllm"]["skipped"] == skips
    assert [line["largest"] for line in said["rows"]] == [1e-6, 1e-6, 2e-4]
    assert len(said["faults"]) == 2


def test_the_page_of_the_documentation_has_the_markers() -> None:
    text = (page.DOCS / "policy.md").read_text("utf-8")
    assert between(text, page.BEGIN, page.END, "new") != text
