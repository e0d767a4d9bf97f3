"""`evals power`: the table by which one says how many questions to ask."""

import json

import pytest
from typer.testing import CliRunner

from memalpha_evals.cli import app
from memalpha_evals.statistics import detectable, unpaired


def power(*arguments):
    return CliRunner().invoke(app, ["power", *map(str, arguments)])


def test_more_questions_show_smaller_differences_and_disagreement_hides_them() -> None:
    [few, many] = json.loads(power(100, 400, "--json").stdout)
    assert few == {
        "questions": 100,
        "same_questions": pytest.approx(100 * detectable(100)),
        "other_questions": pytest.approx(100 * unpaired(100)),
    }
    # four times as many, half the difference
    assert many["same_questions"] == pytest.approx(few["same_questions"] / 2)
    [loud] = json.loads(power(100, "--discordant", 0.8, "--json").stdout)
    assert loud["same_questions"] == pytest.approx(2 * few["same_questions"])


def test_without_numbers_the_usual_sets_are_shown() -> None:
    said = power().stdout
    assert "12.5" in said
    assert "1,540" in said
    assert power(0).exit_code == 2
