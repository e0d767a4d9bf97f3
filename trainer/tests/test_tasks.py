from pathlib import Path

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks.data import files
from memalpha.tasks.ledger import ledger
from memalpha_trainer import tasks
from memalpha_trainer.config import Config, resolve

from .support import SeededPolicy, written

TINY = "policy.tiny={}"
PACK = "agent.prompt_pack=short"


def config(*overrides: str) -> Config:
    return resolve(None, [TINY, PACK, *overrides])


def data(tmp_path: Path, count: int = 20) -> Config:
    files.write(tmp_path / "mine.jsonl", [ledger(number) for number in range(count)])
    return config(
        "task.kind=data", f"task.file='{tmp_path / 'mine.jsonl'}'", "task.reader=policy", "rollouts.groups=3"
    )


def test_a_step_reads_the_same_streams_every_time_and_no_other_step_does() -> None:
    first, again = (tasks.task(config()).streams(5) for _ in range(2))
    assert first == again
    names = {each.instance_id for each in first}
    assert len(names) == 6
    assert names.isdisjoint(each.instance_id for each in tasks.task(config()).streams(6))
    assert names.isdisjoint(each.instance_id for each in tasks.task(config("seed=1")).streams(5))


def test_held_out_streams_are_of_the_other_split_and_of_all_lengths() -> None:
    rows = tasks.task(config("eval.units=[1, 4]", "eval.streams=2")).held_out()
    assert {name: [len(each.chunks) for each in found] for name, found in rows.items()} == {
        "1x": [6, 6],
        "4x": [24, 24],
    }
    assert all("-eval-" in each.instance_id for found in rows.values() for each in found)


@pytest.mark.parametrize("updates", [1, 5])
def test_every_instance_is_read_once_before_any_is_read_twice(tmp_path: Path, updates: int) -> None:
    config = data(tmp_path)
    task = tasks.task(
        config.model_copy(update={"optim": config.optim.model_copy(update={"updates": updates})})
    )
    # 18 of 20 are trained on, three a collection: six collections are one epoch. Steps count updates.
    read = [each.instance_id for turn in range(6) for each in task.streams(turn * updates)]
    assert len(set(read)) == len(read) == 18
    later = [each.instance_id for turn in range(6, 12) for each in task.streams(turn * updates)]
    assert sorted(later) == sorted(read)
    assert later != read


def test_what_is_held_out_is_never_trained_on(tmp_path: Path) -> None:
    task = tasks.task(data(tmp_path))
    read = {each.instance_id for step in range(30) for each in task.streams(step)}
    held_out = {each.instance_id for found in task.held_out().values() for each in found}
    assert len(held_out) == 2
    assert held_out.isdisjoint(read)


def test_a_shortened_instance_keeps_the_questions_it_can_answer(tmp_path: Path) -> None:
    short = data(tmp_path).model_copy(
        update={"task": data(tmp_path).task.model_copy(update={"most_chunks": 2})}
    )
    for each in tasks.task(short).streams(0):
        assert len(each.chunks) == 2
        assert all(question.evidence[-1] < 2 for question in each.questions)


def test_every_source_is_held_out_and_nothing_that_is_trained_on(tmp_path: Path) -> None:
    from dataclasses import replace

    mixed = [replace(ledger(number), source="one" if number < 100 else "two") for number in range(200)]
    files.write(tmp_path / "mixed.jsonl", mixed)
    config = data(tmp_path)
    config = config.model_copy(
        update={"task": config.task.model_copy(update={"file": tmp_path / "mixed.jsonl"})}
    )
    assert {name: len(found) for name, found in tasks.task(config).held_out().items()} == {
        "one": 10,
        "two": 10,
    }
    shared = config.model_copy(
        update={"eval": config.eval.model_copy(update={"file": tmp_path / "mixed.jsonl"})}
    )
    with pytest.raises(InvalidInputError, match="must hold no instance of"):
        tasks.task(shared)


def test_a_file_with_too_little_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at least two instances"):
        tasks.task(data(tmp_path, 1))


def test_the_bandits_reward_is_the_share_of_small_letters() -> None:
    from dataclasses import replace

    rollout = written_by_hand("aB1 ")
    assert tasks.letters(rollout, ledger(3)) == 0.25
    assert tasks.letters(replace(rollout, samples=()), ledger(3)) == 0.0


def written_by_hand(text: str):
    from dataclasses import replace

    from memalpha.tasks.writers import Empty

    rollout = written(Empty())
    return replace(rollout, samples=(replace(rollout.samples[0], text=text),))


def test_an_own_reward_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rewards_of_mine.py").write_text("def half(rollout, instance):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    found = tasks.setting(config("task.reward='rewards_of_mine:half'"), SeededPolicy())
    assert found.reward is not None
    assert found.reward(written_by_hand("x"), ledger(3)) == 0.5


@pytest.mark.parametrize("name", ["nowhere_at_all:half", "json:no_such_function"])
def test_a_reward_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"task.reward {name}"):
        tasks.setting(config(f"task.reward='{name}'"), SeededPolicy())
