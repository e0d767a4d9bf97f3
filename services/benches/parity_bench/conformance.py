"""The conformance suite, run by pytest in a process of its own, and its report by engine.

A test names its engine as a property of its report, and has one outcome: the worst of those of its parts. An
engine of which nothing passed was not tried, whatever the reason, and that is a fault.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[3]
SUITE = Path("services/tests/policy/test_conformance.py")
ENGINES = ("extractive", "openai", "transformers", "vllm")
NOBODY = "no engine"
# pytest's exit codes: all tests passed; some failed; it was interrupted, or could not read a test.
_ENDED, _INTERRUPTED = (0, 1), 2


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Tests of one engine by their names; of those that were skipped or failed, why."""

    passed: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


Found = dict[str, Outcomes]
"""Outcomes by engine."""


def run(engines: Sequence[str] = ENGINES) -> Found:
    """Runs the suite over these engines; what pytest prints goes where this process prints.

    Of a suite that was interrupted, what its report holds is returned, with a failure that says so.

    Raises:
        RuntimeError: pytest ended otherwise than with tests that passed or failed, and reports nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        chosen = ["-k", " or ".join(engines)] if set(engines) < set(ENGINES) else []
        # The one family of reports that has properties of tests.
        written = ["-o", "junit_family=xunit1", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", "-q", str(SUITE), *chosen, *written]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        ended = f"{' '.join(command)} ended with {code}"
        if code not in (*_ENDED, _INTERRUPTED) or not report.exists():
            raise RuntimeError(ended)
        found = read(report.read_text("utf-8"))
        return found if code in _ENDED else found | {NOBODY: _interrupted(found, ended)}


def read(report: str) -> Found:
    """A report, as pytest writes it for `--junitxml`."""
    cases: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        known = cases.setdefault(_engine(case), {})
        name = case.get("name", "")
        known[name] = max(known.get(name, ("", "")), _outcome(case), key=lambda each: _RANKS[each[0]])
    return {engine: _sorted_out(cases[engine]) for engine in sorted(cases)}


def _interrupted(found: Found, ended: str) -> Outcomes:
    """What named no engine, and that the suite did not come to its end."""
    known = found.get(NOBODY, Outcomes())
    return replace(known, failed=known.failed | {"pytest": ended})


_RANKS = {"": 0, "passed": 1, "skipped": 2, "failed": 3}
_TAGS = {"failure": "failed", "error": "failed", "skipped": "skipped"}


def _engine(case: ElementTree.Element) -> str:
    values = {each.get("name"): each.get("value") for each in case.iter("property")}
    return values.get("engine") or NOBODY


def _outcome(case: ElementTree.Element) -> tuple[str, str]:
    said = [(_TAGS[each.tag], each.get("message", "")) for each in case if each.tag in _TAGS]
    return max(said, key=lambda each: _RANKS[each[0]], default=("passed", ""))


def _sorted_out(outcomes: Mapping[str, tuple[str, str]]) -> Outcomes:
    return Outcomes(
        tuple(name for name, (kind, _) in outcomes.items() if kind == "passed"),
        {name: why for name, (kind, why) in outcomes.items() if kind == "skipped"},
        {name: why for name, (kind, why) in outcomes.items() if kind == "failed"},
    )


def faults(found: Found, engines: Sequence[str] = ENGINES) -> Iterator[str]:
    """What is not as it must be, one sentence each."""
    for engine, outcomes in found.items():
        yield from (f"{engine}: {name} failed: {why}" for name, why in outcomes.failed.items())
    for engine in engines:
        if not found.get(engine, Outcomes()).passed:
            yield f"{engine}: no test of the conformance suite passed"
