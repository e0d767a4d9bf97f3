"""How outcomes of the conformance suite and lines of the parity table are read, judged and shown."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memalpha.tasks.pages import between

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))

from parity_bench import conformance, page  # pyright: ignore[reportMissingImports]
from parity_bench.conformance import Outcomes  # pyright: ignore[reportMissingImports]
from parity_bench.rows import Row  # pyright: ignore[reportMissingImports]

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
LINE = Row("vllm", "float32", "tied", "before", "warm", 450, 1000, 760, 1e-6, 1e-7)


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
        replace(LINE, cached_tokens=490),
        replace(LINE, cache="cold"),
    ],
)
def test_a_line_beyond_its_limit_or_of_another_cache_than_it_says_is_a_fault(line) -> None:
    assert page.Found(all_passed(), [LINE, line]).faults() == [str(line)]


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
    said = json.loads(json.dumps(page.document(found, 0.0, datetime.now(UTC))))
    assert said["conformance"]["vllm"]["skipped"] == skips
    assert [line["largest"] for line in said["rows"]] == [1e-6, 1e-6, 2e-4]
    assert len(said["faults"]) == 2


def test_the_page_of_the_documentation_has_the_markers() -> None:
    text = (page.DOCS / "policy.md").read_text("utf-8")
    assert between(text, page.BEGIN, page.END, "new") != text
