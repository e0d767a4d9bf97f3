"""Scores are made again from rows alone: nothing else changes, and a run at work is left alone."""

import json
import sys
from dataclasses import replace

import pytest
from made_runs import often, row, rows, write

from memalpha.errors import BusyError, ConflictError, InvalidInputError, NotFoundError
from memalpha_evals import runs
from memalpha_evals.rescore import rescore
from memalpha_evals.runs.lock import Lock


def length(row):
    return {"words": min(1.0, len(row.answer.split()) / 10)}


def out_of_range(row):
    return {"words": 2.0}


def bare(row):
    return 0.5


def named(row):
    return {"words": "many"}


strict = judge = length


@pytest.fixture
def folder(tmp_path):
    """A run whose strict scores are wrong, with a judge's beside them."""
    made = [
        replace(each, scores={**each.scores, "strict.contains": 0.5, "judge.strict": 1.0})
        for each in [*rows({"one": often(0.5)}), row(question=99, failure="down", answer="")]
    ]
    return write(tmp_path / "run", made)


def test_only_the_named_scores_are_made_again(folder) -> None:
    before = runs.read(folder).rows
    done = rescore(folder, "strict")
    after = runs.read(folder).rows
    assert done.rows == done.changed == len(before)
    for old, new in zip(before, after, strict=True):
        assert replace(old, scores={}) == replace(new, scores={})
        assert new.scores["judge.strict"] == 1.0
        assert new.scores["paper.locomo_f1"] == old.scores["paper.locomo_f1"]
        assert new.scores.get("strict.contains") in (0.0, 1.0, None)
    assert rescore(folder, "all").changed == 0


def test_a_scorer_of_ones_own_is_added_under_its_name_and_failed_rows_score_0(folder, monkeypatch) -> None:
    rescore(folder, f"{__name__}:length")
    *answered, failed = runs.read(folder).rows
    assert {each.scores["length.words"] for each in answered} <= {0.2, 0.3}
    assert failed.scores["length.words"] == 0
    assert "strict.contains" in failed.scores


def test_a_scorer_of_ones_own_may_be_a_file_of_the_current_folder(folder, tmp_path, monkeypatch) -> None:
    (tmp_path / "scorer_of_this_folder.py").write_text("def half(row):\n    return {'share': 0.5}\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(InvalidInputError, match="No module named 'scorer_of_this_folder'"):
        rescore(folder, "scorer_of_this_folder:half")
    monkeypatch.chdir(tmp_path)
    rescore(folder, "scorer_of_this_folder:half")
    assert runs.read(folder).rows[0].scores["half.share"] == 0.5


def test_a_scorer_that_leaves_0_to_1_or_is_not_there_changes_nothing(folder) -> None:
    before = (folder / "rows.jsonl").read_bytes()
    own = ("out_of_range", "bare", "named", "nothing", "__name__")
    for name in (*(f"{__name__}:{each}" for each in own), "nonsense", ":"):
        with pytest.raises(InvalidInputError):
            rescore(folder, name)
    assert (folder / "rows.jsonl").read_bytes() == before


def failing(row):
    return {"words": 1 / len(row.context)} if row.question_id != "3" else [][0]


@pytest.mark.parametrize(
    ("module", "content", "fault"),
    [
        ("raises_at_import", "1 / 0", "ZeroDivisionError: division by zero"),
        ("is_no_python", "def half(row:", "SyntaxError: "),
        ("exits_at_import", "raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_fault(
    module, content, fault, folder, tmp_path, monkeypatch
) -> None:
    (tmp_path / f"{module}.py").write_text(content)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=rf"not '{module}:half': {fault}"):
        rescore(folder, f"{module}:half")


def test_a_function_that_fails_is_named_with_its_row_and_changes_nothing(folder) -> None:
    before = (folder / "rows.jsonl").read_bytes()
    with pytest.raises(InvalidInputError, match=r"scorer failing .* on \(.*\) it fails: IndexError: "):
        rescore(folder, f"{__name__}:failing")
    assert (folder / "rows.jsonl").read_bytes() == before


def test_a_file_of_the_current_folder_stands_in_no_packages_place(folder, tmp_path, monkeypatch) -> None:
    (tmp_path / "wave.py").write_text("raise RuntimeError('not the standard library')\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="has no attribute 'half'"):
        rescore(folder, "wave:half")


def test_a_scorer_of_ones_own_takes_no_name_of_ours(folder) -> None:
    before = (folder / "rows.jsonl").read_bytes()
    for name in ("strict", "judge"):
        with pytest.raises(InvalidInputError, match="not be called"):
            rescore(folder, f"{__name__}:{name}")
    assert (folder / "rows.jsonl").read_bytes() == before


def test_rows_are_read_only_when_nobody_else_works_on_the_run(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "read", lambda folder: pytest.fail("read without the lock"))
    lock = Lock(folder / "lock")
    with pytest.raises(BusyError, match="in use"):
        rescore(folder, "all")
    lock.release()
    with pytest.raises(NotFoundError):
        rescore(tmp_path, "all")
    assert not (tmp_path / "lock").exists()


def test_a_run_that_is_not_finished_is_refused(folder) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["starts"][-1]["state"] = "stopped"
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ConflictError, match="evals resume"):
        rescore(folder, "all")
