"""Tasks: which streams a step reads, which are held out, and who answers.

A step's streams follow from the run's seed and the step alone. Held-out streams are never trained on: of the
ledger they have other names and other combinations of clauses, of a file they are other instances.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from memalpha.agent import AgentSettings, Policy
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Durability, Embedder, EmbedderKind
from memalpha.errors import InvalidInputError, make
from memalpha.tasks.data import files
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha.tasks.ledger import READERS, ledger
from memalpha_trainer.config import Config
from memalpha_trainer.records import Answered, Rollout
from memalpha_trainer.rollouts.collect import Reward, Setting
from memalpha_trainer.rollouts.readers import LedgerReader, PolicyReader, Reader
from memalpha_trainer.rollouts.seeds import seed

_HELD_OUT = 10
"""One instance of a file in so many is held out, if no other file is named."""


class Task(Protocol):
    """What is read. Pure: the same arguments give the same instances."""

    def streams(self, step: int) -> Sequence[Instance]:
        """One instance for each group of a step."""
        ...

    def held_out(self) -> dict[str, list[Instance]]:
        """Instances for evaluation, by what their row is called."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """Generated streams; see `memalpha.tasks.ledger`."""

    config: Config

    def streams(self, step: int) -> Sequence[Instance]:
        """Streams of the training split, new ones at every step."""
        units, count = self.config.task.units, self.config.rollouts.groups
        return [ledger(seed(self.config.seed, "stream", step, group), units) for group in range(count)]

    def held_out(self) -> dict[str, list[Instance]]:
        """Streams of the evaluation split, of each length."""
        count = self.config.eval.streams
        return {
            f"{units}x": [ledger(number, units, split="eval") for number in range(count)]
            for units in self.config.eval.units
        }


@dataclass(frozen=True, slots=True)
class Bandit:
    """One chunk that says nothing in particular; the reward is `letters`."""

    config: Config

    def streams(self, step: int) -> Sequence[Instance]:
        """A chunk for each group."""
        return [_chunk(f"train-{step}-{group}") for group in range(self.config.rollouts.groups)]

    def held_out(self) -> dict[str, list[Instance]]:
        """Other chunks."""
        return {"bandit": [_chunk(f"eval-{number}") for number in range(self.config.eval.streams)]}


def _chunk(name: str) -> Instance:
    question = Question("What was said?", ("nothing",), "strict")
    return Instance(f"bandit-{name}", "bandit", (Chunk(f"This is {name}."),), (question,))


def letters(rollout: Rollout, instance: Instance) -> float:
    """The share of small letters in what was written: anyone can learn it, and at once."""
    text = "".join(sample.text for sample in rollout.samples)
    return sum("a" <= each <= "z" for each in text) / len(text) if text else 0.0


class Silent:
    """A reader for tasks whose reward needs no answers."""

    async def answers(self, instance: Instance, done: object, trace: object) -> tuple[Answered, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Data:
    """Instances of files, each once before any twice, in an order that the seed decides."""

    config: Config
    training: tuple[Instance, ...]
    evaluation: tuple[Instance, ...]

    def streams(self, step: int) -> Sequence[Instance]:
        """The next instances; a collection has several optimizer steps."""
        count, collection = self.config.rollouts.groups, step // self.config.optim.updates
        return [self._at(collection * count + group) for group in range(count)]

    def held_out(self) -> dict[str, list[Instance]]:
        """Instances that are not trained on, by their source, so many of each."""
        rows: dict[str, list[Instance]] = {}
        for each in self.evaluation:
            rows.setdefault(each.source, []).append(each)
        return {source: found[: self.config.eval.streams] for source, found in rows.items()}

    def _at(self, place: int) -> Instance:
        epoch, number = divmod(place, len(self.training))
        order = list(range(len(self.training)))
        random.Random(seed(self.config.seed, "order", epoch)).shuffle(order)
        return self.training[order[number]]


def task(config: Config) -> Task:
    """The task of a configuration.

    Raises:
        InvalidInputError: A file cannot be read or holds too little.
    """
    if config.task.kind == "ledger":
        return Ledger(config)
    if config.task.kind == "bandit":
        return Bandit(config)
    assert config.task.file is not None
    instances = _read(config.task.file, config.task.most_chunks)
    if config.eval.file is not None:
        apart = _read(config.eval.file, config.task.most_chunks)
        _require_apart(config, instances, apart)
        return Data(config, instances, apart)
    held_out = instances[::_HELD_OUT]
    return Data(config, tuple(each for each in instances if each not in held_out), held_out)


def setting(config: Config, reader: Policy) -> Setting:
    """How the rollouts of a run are made.

    Args:
        config: The run's.
        reader: The model that answers, if the configuration says that one does.

    Raises:
        InvalidInputError: REWARD_NOT_FOUND.
    """
    agent = agent_settings(config)
    return Setting(agent, _bank(config), _reader(config, reader, agent), _reward(config))


def agent_settings(config: Config) -> AgentSettings:
    """What the policy is shown."""
    return AgentSettings(
        **config.agent.model_dump(exclude={"wire_format"}),
        wire_format=config.agent.wire_format,
        vectors=False,
        temperature=None,
        max_answer_tokens=config.task.answer_tokens,
    )


def _bank(config: Config) -> BankSettings:
    return BankSettings(
        durability=Durability.DURABILITY_VOLATILE,
        core_token_limit=config.agent.core_tokens,
        embedder=Embedder(kind=EmbedderKind.EMBEDDER_KIND_NONE),
    )


def _reader(config: Config, policy: Policy, agent: AgentSettings) -> Reader:
    if config.task.kind == "bandit":
        return Silent()
    if config.task.reader == "policy":
        return PolicyReader(policy, agent)
    return LedgerReader(READERS[config.task.reader])


def check_reward(config: Config) -> None:
    """Whether the user's own reward is there.

    Raises:
        InvalidInputError: REWARD_NOT_FOUND.
    """
    _reward(config)


def _reward(config: Config) -> Reward | None:
    if not config.task.reward:
        return letters if config.task.kind == "bandit" else None
    module, _, name = config.task.reward.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        message = f"task.reward {config.task.reward}: {error}"
        raise make(InvalidInputError, "REWARD_NOT_FOUND", message, reward=config.task.reward) from error


def _read(file: Path, most_chunks: int) -> tuple[Instance, ...]:
    whole = tuple(files.read(file))
    shortened = (_shortened(each, most_chunks) for each in whole) if most_chunks else whole
    instances = tuple(each for each in shortened if each is not None)
    if len(instances) < 2:
        message = f"{file} must hold at least two instances, there are {len(instances)}"
        raise make(InvalidInputError, "TOO_FEW_INSTANCES", message, file=file)
    return instances


def _require_apart(config: Config, training: Sequence[Instance], evaluation: Sequence[Instance]) -> None:
    shared = {each.instance_id for each in training} & {each.instance_id for each in evaluation}
    if shared:
        message = f"{config.eval.file} must hold no instance of {config.task.file}, not {min(shared)!r}"
        raise make(InvalidInputError, "NOT_HELD_OUT", message, instance_id=min(shared))


def _shortened(instance: Instance, most: int) -> Instance | None:
    """The first chunks, and the questions whose evidence they hold or is not known; None without any."""
    if len(instance.chunks) <= most:
        return instance
    kept = tuple(each for each in instance.questions if not each.evidence or each.evidence[-1] < most)
    return Instance(instance.instance_id, instance.source, instance.chunks[:most], kept) if kept else None
