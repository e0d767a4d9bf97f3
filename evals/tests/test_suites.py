"""Suites: a name becomes a data set with its protocol, wherever its files lie; what is missing is named."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha_evals import suites
from memalpha_evals.cli import app
from memalpha_evals.datasets import DatasetError
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.suites import SUITES

DATA = Path(__file__).parents[3] / "shared" / "data"
TINY = Path(__file__).parent / "data" / "tiny_locomo.json"


def locomo(path, *ids):
    """A file with one conversation of two questions for each id."""
    sample = json.loads(TINY.read_text())[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([sample | {"sample_id": id_, "qa": sample["qa"][:2]} for id_ in ids]))
    return path


def ids(dataset):
    return [conversation.id for conversation in dataset.conversations]


@pytest.fixture(autouse=True)
def _no_data(monkeypatch) -> None:
    monkeypatch.delenv(suites.VARIABLE, raising=False)


def test_dev_holds_the_conversations_before_the_held_out_ones(tmp_path) -> None:
    path = locomo(tmp_path / "any name.json", "conv-26", "conv-44", "conv-47", "conv-50")
    assert ids(suites.load("locomo-dev", path)) == ["conv-26", "conv-44"]
    assert len(ids(suites.load("locomo", path))) == 4
    assert suites.load("locomo-dev", path).name == "locomo-dev"


def test_data_is_found_by_file_by_folder_and_below_the_folder_of_all_data(tmp_path, monkeypatch) -> None:
    path = locomo(tmp_path / "locomo" / "locomo10.json", "conv-26")
    assert ids(suites.load("locomo", path)) == ids(suites.load("locomo", path.parent)) == ["conv-26"]
    with pytest.raises(DatasetError, match=r"with --data, or the folder of all data with MEMALPHA_DATA"):
        suites.load("locomo")
    monkeypatch.setenv(suites.VARIABLE, str(tmp_path))
    assert ids(suites.load("locomo")) == ["conv-26"]
    assert suites.present(SUITES["locomo"])
    assert not suites.present(SUITES["beam"])
    # two copies are no less there than one
    (tmp_path / "locomo" / "locomo10.json.gz").touch()
    with pytest.raises(DatasetError, match="both fit"):
        suites.load("locomo")
    assert suites.present(SUITES["locomo"])


def test_a_packed_file_is_the_same_data(tmp_path) -> None:
    path = locomo(tmp_path / "locomo10.json", "conv-26")
    (tmp_path / "packed").mkdir()
    packed = tmp_path / "packed" / "locomo10.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert suites.load("locomo", packed.parent).conversations == suites.load("locomo", path).conversations


def test_two_files_that_both_fit_are_not_chosen_between(tmp_path) -> None:
    locomo(tmp_path / "locomo10.json", "conv-26")
    locomo(tmp_path / "locomo10.dev.json", "conv-26")
    with pytest.raises(DatasetError, match=r"locomo10.dev.json and locomo10.json .* both fit"):
        suites.load("locomo", tmp_path)
    # a file that is named is taken
    assert ids(suites.load("locomo", tmp_path / "locomo10.dev.json")) == ["conv-26"]


def test_a_missing_file_is_named_with_what_is_needed(tmp_path) -> None:
    with pytest.raises(DatasetError, match=r"it needs locomo/ locomo10\*\.json \+ \*errors\*\.json"):
        suites.load("locomo-audited", locomo(tmp_path / "locomo10.json", "conv-26"))
    with pytest.raises(DatasetError, match="there is no such file or folder"):
        suites.load("locomo", tmp_path / "nothing")


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"suite must be one of locomo, locomo-dev, .* not 'lokomo'"):
        suites.load("lokomo")


def test_a_ledger_may_have_any_length() -> None:
    dataset = suites.load("ledger-2x", draw=Draw(conversations=1))
    (conversation,) = dataset.conversations
    assert len(conversation.turns) == 2 * 6
    assert dataset.name == "ledger-2x"
    with pytest.raises(DatasetError, match="from ledger-1x to ledger-60x long, not ledger-61x"):
        suites.load("ledger-61x")


def test_a_context_may_have_any_number_of_documents() -> None:
    assert [SUITES["hotpotqa-100k"].folder, SUITES["hotpotqa-100k"].protocol] == [
        suites.named("hotpotqa-6400docs").folder,
        suites.named("hotpotqa-6400docs").protocol,
    ]
    with pytest.raises(DatasetError, match="at least one document"):
        suites.named("2wiki-0docs")
    with pytest.raises(DatasetError, match="suite must be one of"):
        suites.named("wikipedia-6400docs")


def test_a_draw_takes_questions_at_random_and_keeps_their_ids(tmp_path) -> None:
    path = locomo(tmp_path / "locomo10.json", *(f"conv-{number}" for number in range(10)))
    whole = suites.load("locomo", path)
    some = suites.load("locomo", path, draw=Draw(questions=5, seed=1))
    assert sum(len(each.questions) for each in some.conversations) == 5
    asked = {(conversation.id, question.id): question.text for conversation, question in some.questions()}
    all_ = {(conversation.id, question.id): question.text for conversation, question in whole.questions()}
    assert asked.items() <= all_.items()
    other = suites.load("locomo", path, draw=Draw(questions=5, seed=2))
    assert asked.keys() != {(conversation.id, question.id) for conversation, question in other.questions()}


def test_a_draw_of_the_first_conversations_reads_those(tmp_path) -> None:
    path = locomo(tmp_path / "locomo10.json", "conv-26", "conv-30", "conv-41")
    assert ids(suites.load("locomo", path, draw=Draw(conversations=2))) == ["conv-26", "conv-30"]


def test_a_protocol_names_its_source_wherever_it_is_a_papers() -> None:
    for suite in SUITES.values():
        if suite.protocol.questions:
            assert "arXiv" in suite.protocol.source
    assert SUITES["hotpotqa-10k"].protocol.questions == 128
    assert SUITES["hotpotqa-10k"].protocol.budget == 1024


@pytest.mark.skipif(not DATA.exists(), reason="the public data sets are not at hand")
def test_every_suite_whose_files_are_there_can_be_read(monkeypatch) -> None:
    monkeypatch.setenv(suites.VARIABLE, str(DATA))
    there = [suite.name for suite in SUITES.values() if suites.present(suite)]
    assert {"locomo-audited", "beam", "personamem", "longmemeval", "nq-10k", "csabstruct"} <= set(there)
    for name in there:
        if name.endswith(("-100k", "-30k", "-40x")):
            continue  # the same as the shorter ones, only longer
        dataset = suites.load(name, draw=Draw(conversations=1))
        assert len(dataset.conversations) == 1
        for conversation, question in dataset.questions():
            assert question.answer or question.unanswerable
            assert question.evidence <= {turn.id for turn in conversation.turns}
        assert dataset.licence


def test_the_command_lists_every_suite_and_whether_its_files_are_there(tmp_path) -> None:
    locomo(tmp_path / "locomo" / "locomo10.json", "conv-26")
    found = CliRunner().invoke(app, ["suites", "--data", str(tmp_path), "--json"])
    rows = {row["name"]: row for row in json.loads(found.stdout)["suites"]}
    assert rows.keys() == SUITES.keys()
    there = {name for name, row in rows.items() if row["present"]}
    assert there == {"locomo", "locomo-dev"} | {name for name in rows if name.startswith("ledger-")}
    assert "locomo10*.json" in CliRunner().invoke(app, ["suites"]).stdout
