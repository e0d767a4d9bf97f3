"""LoCoMo's observations: read in their form, held by what tells them, and not by what tells others."""

import json
import random

import pytest
from typer.testing import CliRunner

from memalpha_evals.cli import app
from memalpha_evals.construct.measure import EXTRACTIVE, Result, run
from memalpha_evals.construct.observations import probes
from memalpha_evals.datasets import DatasetError, locomo
from memalpha_evals.datasets.locomo_observations import observations


def name(draws: random.Random) -> str:
    return "".join(draws.choice("bdfgklmnprtvz") + draws.choice("aeiou") for _ in range(3)).capitalize()


def sample(number: int, facts: int = 10) -> dict:
    """A sample as published: each turn tells a fact, which is an observation too."""
    draws = random.Random(number)
    turns, told = [], []
    for place in range(1, facts + 1):
        dog, town = name(draws), name(draws)
        turns.append(
            {"speaker": "Ann", "dia_id": f"D1:{place}", "text": f"The dog {dog} {town} was adopted."}
        )
        told.append([f"The dog {dog} {town} was adopted.", f"D1:{place}"])
    conversation = {
        "speaker_a": "Ann",
        "speaker_b": "Bo",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": turns,
    }
    observed = {"session_1_observation": {"Ann": told, "Bo": []}}
    return {
        "sample_id": f"conv-{number}",
        "conversation": conversation,
        "qa": [{"question": "Which dog?", "answer": "all", "evidence": ["D1:1"], "category": 4}],
        "observation": observed,
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "made.json"
    path.write_text(json.dumps([sample(number) for number in range(3)]))
    return path


def found(file, told) -> Result:
    return run(locomo.read(file), [1.0], 0, lambda chunks: None, probes(told))


def test_each_sentence_is_asked_for_in_place_of_the_questions(file) -> None:
    told = observations(file)
    assert [len(each) for each in told.values()] == [10, 10, 10]
    asked = found(file, told).cell(EXTRACTIVE, 1.0).asked
    assert [each.category for each in asked] == ["observation"] * 30
    assert [each.cluster for each in asked[::10]] == ["conv-0", "conv-1", "conv-2"]


def test_all_turns_hold_what_they_tell_and_another_conversations_memory_does_not(file) -> None:
    told = observations(file)
    whole = found(file, told).whole
    assert all(each.held["stored"] == 1 for each in whole.asked)
    assert whole.score("stored").mean > 0.5
    # in the place of their own they are asked for the next one's: nothing beyond chance is left
    ids = [*told]
    other = {id_: told[after] for id_, after in zip(ids, ids[1:] + ids[:1], strict=True)}
    assert abs(found(file, other).whole.score("stored").mean) < 0.1


def test_a_sentence_without_a_pair_is_no_observation(file) -> None:
    told = observations(file) | {"conv-0": ("Yes!", "Ann adopted a dog.")}
    assert len(found(file, told).whole.asked) == 1 + 10 + 10


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, '"observation" must be an object of sessions'),
        ({"session_1_observation": {"Ann": [[]]}}, "session_1_observation, Ann 1 must be a sentence"),
        ({"session_1_observation": {"Ann": [[" ", "D1:1"]]}}, "Ann 1 must be a sentence"),
    ],
)
def test_observations_of_another_form_are_refused(tmp_path, value, complaint) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps([sample(0) | {"observation": value}]))
    with pytest.raises(DatasetError, match=complaint):
        observations(path)


def test_the_command_prints_a_set_of_its_own(file) -> None:
    command = ["construct", "locomo-observations", "--data", str(file), "--budgets", "1", "--json"]
    printed = json.loads(CliRunner().invoke(app, command).stdout)
    assert (printed["dataset"]["name"], printed["questions"]) == ("locomo-observations", 30)
