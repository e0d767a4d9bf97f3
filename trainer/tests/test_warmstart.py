"""What a warm start learns from, and the gates that it has to pass: no model takes part."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from memalpha.agent import packs, wire
from memalpha.agent.prompts import PromptView, read_prompt
from memalpha.agent.tools import ToolCall
from memalpha.errors import CorruptionError, InvalidInputError
from memalpha.policy.checkpoint import MANIFEST
from memalpha.tasks.ledger import grammar, ledger
from memalpha.tasks.ledger.memory import agent_settings
from memalpha.tasks.ledger.words import VALUES, names
from memalpha.tasks.ledger.writers import Teacher
from memalpha.tasks.writers import Empty, ScriptedPolicy, insert
from memalpha_trainer.config import Config, RewardTable
from memalpha_trainer.models import OWN_PACK, digest
from memalpha_trainer.warmstart import command, practice
from memalpha_trainer.warmstart.gates import Gate, Trial, copied, entry, parsed, spread
from memalpha_trainer.warmstart.make import Recipe
from memalpha_trainer.warmstart.rejection import best, sampled
from memalpha_trainer.warmstart.schedule import Row, Schedule
from memalpha_trainer.warmstart.trajectories import Lessons, taught

from .support import SETTING, made, written

FEW = Lessons(streams=3, units=(1,), seed=5)
PACK = packs.load(str(OWN_PACK))
TRIAL = Trial(groups=2, size=2, streams=1, units=1)


class Wrong:
    """Stores one memory about a name that nobody told of."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        return [insert(f"Nobody's home is {len(view.chunk)}")]


class Babble(ScriptedPolicy):
    """Writes no calls."""

    def __init__(self) -> None:
        super().__init__("babble", Empty())

    async def generate(self, request):
        return replace(await super().generate(request), text="well, well\nS+ Tavo's home is Oslo\n")


def told_alone(chunk: str) -> PromptView:
    """A chunk before an empty memory."""
    return PromptView("", 32, [], [], chunk, "", "")


def is_part(some: Sequence[str], of: Sequence[str]) -> bool:
    """Whether some are of these, in their order."""
    rest = iter(of)
    return all(each in rest for each in some)


@pytest.mark.parametrize("pack", [None, PACK])
def test_practice_stores_some_statements_in_order_and_only_knows_training_names(pack) -> None:
    train, counts = set(names("train")), []
    for each in practice.notes(pack, 40, 4, seed=1):
        view = told_alone(each.user) if pack is None else read_prompt(each.user)
        clauses = grammar.strict(view.chunk)
        assert len(clauses) == 4
        assert {clause.key[0] for clause in clauses} <= train
        assert not any(clause.hedged for clause in clauses)
        stored = each.completion.splitlines()
        assert is_part(stored, wire.get("lines").render(Teacher().calls(view)).splitlines())
        counts.append(len(stored))
    # Six in ten of 160 statements.
    assert 80 < sum(counts) < 112
    assert set(counts) > {1, 2, 3}


def test_some_of_a_list_are_repeated_in_order_and_follow_from_its_seed() -> None:
    rows = list(practice.lists(10, 8, seed=1))
    assert all(is_part(each.completion.split(), each.user.split()) for each in rows)
    assert any(each.completion.split() != each.user.split() for each in rows)
    assert rows == list(practice.lists(10, 8, seed=1)) != list(practice.lists(10, 8, seed=2))


def test_every_value_is_in_some_list_and_no_name_of_the_evaluation_is() -> None:
    seen = {word for each in practice.lists(600, 14, seed=1) for word in each.user.split()}
    assert {word for values in VALUES.values() for word in values} <= seen
    assert seen & set(names("train"))
    assert not seen & set(names("eval"))


def test_the_teacher_writes_from_the_prompt_alone(tmp_path) -> None:
    examples = taught(FEW, Recipe().agent(), tmp_path / "lessons.jsonl")
    assert len(examples) == 18
    for place, each in enumerate(examples):
        calls = FEW.teacher(place // 6).calls(read_prompt(each.user))
        assert each.completion == wire.get("lines").render(calls)
    right = [wire.get("lines").render(Teacher().calls(read_prompt(each.user))) for each in examples]
    assert right != [each.completion for each in examples]


def test_lessons_that_were_cut_in_the_middle_of_a_line_go_on_there(tmp_path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    settings = agent_settings(prompt_pack="short")
    examples = taught(FEW, settings, whole)
    cut.write_bytes(whole.read_bytes()[:-100])
    assert taught(FEW, settings, cut) == examples
    assert cut.read_bytes() == whole.read_bytes()


def test_lessons_of_another_shape_are_refused_and_what_to_do_is_said(tmp_path) -> None:
    file = tmp_path / "lessons.jsonl"
    for line in (
        '{"stream": "before lines had steps"}',
        '{"step": 0, not JSON}',
        '{"step": 0}',
        '{"step": 0, "stream": "s", "examples": 3}',
        '{"step": 0, "stream": "s", "examples": [{"prompt": "of other words"}]}',
    ):
        file.write_text(f"{line}\n")
        with pytest.raises(CorruptionError, match=r"remove .*lessons\.jsonl, and its lessons are made anew"):
            taught(FEW, agent_settings(prompt_pack="short"), file)


def test_the_lessons_of_another_seed_are_refused(tmp_path) -> None:
    taught(FEW, agent_settings(prompt_pack="short"), tmp_path / "lessons.jsonl")
    with pytest.raises(InvalidInputError, match="where these lessons have"):
        taught(replace(FEW, seed=6), agent_settings(prompt_pack="short"), tmp_path / "lessons.jsonl")


def test_calls_that_mean_nothing_are_not_parsed() -> None:
    assert parsed([written(Teacher())]) == 1
    # Two lines for each chunk, one of them no call.
    assert parsed([made(Babble(), ledger(3))]) == 0.5
    assert parsed([written(Empty())]) == 0


def test_a_name_that_the_chunk_does_not_hold_is_not_copied() -> None:
    stream = ledger(3, split="eval")
    assert copied([(stream, written(Teacher(), stream))]) == 1
    assert copied([(stream, written(Wrong(), stream))]) == 0
    assert copied([(stream, written(Empty(), stream))]) == 0


def test_groups_spread_only_where_their_answers_differ() -> None:
    oracle, empty = written(Teacher()), written(Empty())
    other = [replace(each, group=1) for each in (oracle, oracle)]
    assert spread([oracle, empty]) == 1
    assert spread([oracle, oracle]) == 0
    assert spread([oracle, empty, *other]) == 0.5


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (Gate("parsed", 0.98, 0.98), True),
        (Gate("parsed", 0.97, 0.98), False),
        (Gate("greedy", 0.59, 0.6, stop=True), True),
        (Gate("greedy", 0.6, 0.6, stop=True), False),
        (Gate("parsed", float("nan"), 0.98), False),
        (Gate("greedy", float("nan"), 0.6, stop=True), False),
    ],
)
def test_a_gate_is_passed_at_its_bar_and_a_stop_below_it(gate: Gate, passed: bool) -> None:
    assert gate.passed is passed


def test_the_oracle_is_stopped_for_being_good_and_for_being_always_the_same() -> None:
    gates = asyncio.run(entry(ScriptedPolicy("oracle", Teacher()), SETTING, trial=TRIAL))
    assert [(each.name, each.value) for each in gates] == [
        ("parsed", 1),
        ("copied", 1),
        ("spread", 0),
        ("greedy at 1x", 1),
    ]
    assert [each.passed for each in gates] == [True, True, False, False]


def test_gates_are_written_down_beside_the_checkpoint_that_they_are_of(tmp_path, monkeypatch) -> None:
    async def measured(config, model) -> list[Gate]:
        return gates

    gates = [Gate("parsed", 0.99, 0.98), Gate("greedy at 13x", 0.7, 0.6, stop=True)]
    monkeypatch.setattr(command, "_measured", measured)
    monkeypatch.setattr(command, "fitted", lambda config, model: config)
    model, said = tmp_path / "warm", list[str]()
    model.mkdir()
    (model / MANIFEST).write_text("sealed")
    for left, fit in ((2, False), (1, True)):
        del gates[left:]
        assert command.measured(model, said.append) == fit
        kept = json.loads((tmp_path / "warm.gates.json").read_text())
        assert kept["model"] == digest(model)
        found = [(each["name"], each["value"], each["bar"], each["passed"]) for each in kept["gates"]]
        assert found == [("parsed", 0.99, 0.98, True), ("greedy at 13x", 0.7, 0.6, False)][:left]
    assert [path.name for path in model.iterdir()] == [MANIFEST]
    assert len(said) == 2 + 1


def test_the_best_of_a_group_are_kept_and_groups_of_equals_are_not() -> None:
    oracle, empty = written(Teacher()), written(Empty())
    group = [replace(each, index=index) for index, each in enumerate((empty, oracle, empty))]
    assert best(group, RewardTable(), kept=1) == [group[1]]
    assert best([oracle, replace(oracle, index=1)], RewardTable()) == []


class Written:
    """A source of the same group at every step; counts."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def collect(self, step: int) -> list:
        self.steps.append(step)
        return [written(Teacher()), replace(written(Empty()), index=1)]

    def publish(self, weights) -> None: ...

    def close(self) -> None: ...


def test_steps_that_were_sampled_are_not_sampled_again(tmp_path) -> None:
    config = Config.model_validate({"optim": {"steps": 2}, "policy": {"model": "warm"}})
    path, first, second = tmp_path / "best.jsonl", Written(), Written()
    rows = sampled(config, first, path)
    path.write_bytes(path.read_bytes()[:-10])
    assert sampled(config, second, path) == rows
    assert (first.steps, second.steps) == ([0, 1], [1])


def test_batches_hold_rows_of_like_length_in_an_order_of_chance() -> None:
    rows = [Row((1,) * length, (2,)) for length in (9, 1, 8, 2, 7, 3, 6)]
    batches = Schedule(batch=2).order(rows)
    # Seven rows sorted are 1 2 | 3 6 | 7 8 | 9, of which the last fills no batch.
    pairs = {tuple(len(row.prompt) for row in batches[at : at + 2]) for at in (0, 2, 4)}
    assert pairs == {(1, 2), (3, 6), (7, 8)}
    assert batches == Schedule(batch=2).order(rows)
    many = rows * 20
    assert Schedule(batch=2).order(many) != Schedule(batch=2, seed=1).order(many)


def test_learning_rates_rise_stay_and_fall() -> None:
    schedule = Schedule(warmup=4, decay=0.5)
    assert [schedule.rate(step, 16) for step in (0, 3, 8, 12, 15, 16)] == [0.25, 1, 1, 0.5, 0.125, 0]
