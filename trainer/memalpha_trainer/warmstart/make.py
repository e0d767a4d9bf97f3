"""A warm start from nothing: tokenizer, wired weights, practice, imitation, one checkpoint.

It is made in a work folder beside the checkpoint, step by step; a step that is done is not done again, so
that whoever was interrupted calls it again. The checkpoint brings along the prompt
pack that it was trained with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from memalpha.agent import AgentSettings, packs, wire
from memalpha.policy.checkpoint import MANIFEST, PROMPT_PACK, Manifest, Training, seal
from memalpha.policy.tiny.make import Shape, tiny
from memalpha.tasks.ledger.context import MOST_CORE_TOKENS
from memalpha.tasks.ledger.memory import agent_settings
from memalpha_trainer.models import OWN_PACK
from memalpha_trainer.warmstart import practice
from memalpha_trainer.warmstart.corpus import texts
from memalpha_trainer.warmstart.example import Example
from memalpha_trainer.warmstart.schedule import Schedule
from memalpha_trainer.warmstart.trajectories import Lessons, taught

_FORM = "lines"

Progress = Callable[[str, int, int, str], None]
"""Called with what is going on, how much of it is done, how much there is, and a remark."""


@dataclass(frozen=True, slots=True)
class Practice:
    """How much is practised: rows of each stage, in order, and how long they are.

    Attributes:
        lists: Lists of up to `longest` names, words and days.
        bare: Chunks alone, of `bare_statements`.
        prompted: Whole prompts, of `prompted_statements`.
        rehearsed: More of these, among the teacher's examples, so that copying is not unlearned.
    """

    lists: int = 2400
    longest: int = 14
    bare: int = 4000
    bare_statements: int = 5
    prompted: int = 4000
    prompted_statements: int = 4
    rehearsed: int = 3200


@dataclass(frozen=True, slots=True)
class Recipe:
    """A warm start.

    Attributes:
        shape: Of the model; the vocabulary holds all words of the ledger.
        pack: Name or folder of the prompt pack.
        practice: What is practised first.
        lessons: What the teacher shows; its rates make it wrong in most rumours, revocations and changes.
        practising: Schedule of the practice.
        imitating: Schedule of the imitation.
        examples: Of the teacher, that are learned.
        sharpness: Logits are multiplied by it in the end: names that stand in no chunk, each unlikely by
            itself, are many, and what the teacher's mistakes leave open stays open.
        seed: Of everything.
    """

    shape: Shape = field(default_factory=lambda: Shape(vocabulary=1152, context=1024))
    pack: str = str(OWN_PACK)
    practice: Practice = field(default_factory=Practice)
    lessons: Lessons = field(default_factory=Lessons)
    practising: Schedule = field(default_factory=lambda: Schedule(decay=0.2))
    imitating: Schedule = field(default_factory=lambda: Schedule(muon_lr=0.01, lr=1.5e-3, decay=0.6))
    examples: int = 9600
    sharpness: float = 1.25
    seed: int = 0

    def agent(self) -> AgentSettings:
        """What the model is shown."""
        return agent_settings(prompt_pack=self.pack)

    def training(self) -> Training:
        """What the checkpoint is bound to."""
        digest = packs.load(self.pack).digest(wire.get(_FORM))
        return Training(digest, _FORM, self.agent().view_name, MOST_CORE_TOKENS)


def warm_start(
    out: Path, recipe: Recipe, progress: Progress = lambda what, done, of, remark: None
) -> Manifest:
    """Makes a warm start.

    Args:
        out: Folder of the checkpoint, which does not exist yet; `<out>.work` beside it keeps the steps.
        recipe: How.
        progress: Is told of all of it.

    Raises:
        InvalidInputError: FOLDER_NOT_EMPTY, or work of another recipe is in the way.
    """
    from memalpha_trainer.warmstart.sft import encoded, imitate

    work = out.with_name(f"{out.name}.work")
    untrained, practised = work / "untrained", work / "practised"
    if not (untrained / MANIFEST).exists():
        _make(untrained, recipe)
    if not (practised / MANIFEST).exists():
        stages = [encoded(untrained, each) for each in _practice(recipe)]
        imitate(
            untrained,
            practised,
            stages,
            replace(recipe.practising, seed=recipe.seed),
            progress=_named("practice", progress),
        )
    lessons = replace(recipe.lessons, seed=recipe.seed)
    examples = taught(lessons, recipe.agent(), work / "lessons.jsonl", _counted("lessons", progress))
    return imitate(
        practised,
        out,
        [encoded(practised, [*examples[: recipe.examples], *_rehearsal(recipe)])],
        replace(recipe.imitating, seed=recipe.seed),
        sharpness=recipe.sharpness,
        progress=_named("imitation", progress),
    )


def _make(folder: Path, recipe: Recipe) -> None:
    from memalpha_trainer.warmstart.wiring import lay_circuit

    draft, pack = folder.with_name(f"{folder.name}.draft"), packs.load(recipe.pack)
    for each in (folder, draft):
        shutil.rmtree(each, ignore_errors=True)
    tiny(draft, replace(recipe.shape, seed=recipe.seed), recipe.training(), texts(pack))
    lay_circuit(draft, recipe.seed)
    seal(draft, recipe.training())
    if Path(recipe.pack).is_dir():
        shutil.copytree(recipe.pack, draft / PROMPT_PACK)
    draft.rename(folder)


def _practice(recipe: Recipe) -> list[list[Example]]:
    much, pack, seed = recipe.practice, packs.load(recipe.pack), recipe.seed
    return [
        list(practice.lists(much.lists, much.longest, seed)),
        list(practice.notes(None, much.bare, much.bare_statements, seed)),
        list(practice.notes(pack, much.prompted, much.prompted_statements, seed)),
    ]


def _rehearsal(recipe: Recipe) -> Iterator[Example]:
    """Practice with whole prompts that was not had before."""
    much, pack = recipe.practice, packs.load(recipe.pack)
    both = practice.notes(pack, much.prompted + much.rehearsed, much.prompted_statements, recipe.seed)
    return islice(both, much.prompted, None)


def _counted(what: str, progress: Progress) -> Callable[[int, int], None]:
    return lambda done, of: progress(what, done, of, "")


def _named(what: str, progress: Progress) -> Callable[[int, int, float, float], None]:
    return lambda done, of, loss, right: progress(what, done, of, f"loss {loss:.3f}, right {right:.3f}")
