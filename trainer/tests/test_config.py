from pathlib import Path

import pytest

from memalpha.errors import InvalidInputError
from memalpha_trainer.config import resolve
from memalpha_trainer.runs import toml

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
TINY = "policy.tiny={}"


def test_a_file_is_read_and_overrides_win(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('name = "one"\n[policy]\nmodel = "warm"\n[optim]\nsteps = 7\nlr = 1e-5\n')
    found = resolve(file, ["optim.steps=9", "name=two", "eval.units=[1, 2]"])
    assert (found.name, found.optim.steps, found.optim.lr) == ("two", 9, 1e-5)
    assert found.eval.units == (1, 2)


def test_a_model_that_is_named_takes_the_place_of_one_that_the_file_has_made(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[policy]\nrows = 4\n[policy.tiny]\nlayers = 3\n")
    assert resolve(file).policy.tiny is not None
    found = resolve(file, ["policy.model=warm"]).policy
    assert (found.model, found.tiny, found.rows) == (Path("warm"), None, 4)


@pytest.mark.parametrize("override", ["policy.tiny={layers=3}", "policy.tiny.layers=3"])
def test_a_model_that_is_made_takes_the_place_of_one_that_the_file_names(
    tmp_path: Path, override: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[policy]\nmodel = "warm"\nrows = 4\n')
    found = resolve(file, [override]).policy
    assert found.tiny is not None
    assert (found.model, found.tiny.layers, found.rows) == (None, 3, 4)
    # Who asks for both is told.
    with pytest.raises(InvalidInputError, match=r"one of policy\.model"):
        resolve(file, [override, "policy.model=other"])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_that_comes_along_resolves_and_survives_writing(
    file: Path, tmp_path: Path
) -> None:
    found = resolve(file)
    again = tmp_path / "again.toml"
    again.write_text(toml.dumps(found))
    assert resolve(again) == found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # Truncated sampling would train another distribution than was sampled.
        ("rollouts.top_p=0.9", "rollouts.top_p: Input should be greater than or equal to 1"),
        ("rollouts.top_k=20", "rollouts.top_k: Input should be less than or equal to 0"),
        ("rollouts.min_p=0.1", "rollouts.min_p"),
        ("rollouts.temperature=0", "rollouts.temperature: Input should be greater than 0"),
        # A group of one is its own baseline.
        ("rollouts.group_size=1", "rollouts.group_size: Input should be greater than or equal to 2"),
        ("optim.updates=2", "save.every must be a multiple of optim.updates, 2, not 25"),
        ("optim.dual_clip=1.1", "optim.dual_clip must be 0 or above 1 + optim.clip_high, 1.2"),
        ("task.kind=data", "task.file must be given"),
        ("task.reward=no-function", "task.reward"),
        ("rewards.content=0.1", "rewards.judge_address must be given"),
        ("optim.stepz=1", "optim.stepz: Extra inputs are not permitted; it is 1"),
        ("optim", "an override must be table.key=value, not 'optim'"),
        ("policy.model=warm", "one of policy.model"),
        ("name=../elsewhere", "name: String should match pattern"),
    ],
)
def test_what_would_train_something_else_is_refused(override: str, message: str) -> None:
    kind = [] if override.startswith("task.kind") else ["task.kind=bandit"]
    with pytest.raises(InvalidInputError) as refused:
        resolve(None, [TINY, *kind, override])
    assert message in str(refused.value)


def test_without_the_override_it_is_accepted() -> None:
    assert resolve(None, [TINY, "task.kind=bandit"]).rollouts.group_size == 8


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.toml"):
        resolve(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(InvalidInputError, match=r"broken\.toml"):
        resolve(tmp_path / "broken.toml")
