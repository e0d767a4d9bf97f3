"""The whole loop in one process: what is sampled is trained on, alone, in a crowd, of any text; it learns."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the trainer's libraries: uv sync --group train")

import torch
from typer.testing import CliRunner

from memalpha.cli import app
from memalpha.policy.local import sampling
from memalpha.policy.local.tokens import Tokenizer
from memalpha.tasks.data import files
from memalpha_trainer.config import Config

from .inside import configured, trained, written

# Libraries' own.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

BANDIT = Path(__file__).parents[1] / "configs" / "bandit.toml"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "squad" / "xquad.en.dev.json.gz"
FEW = (
    "rollouts.groups=2",
    "rollouts.group_size=2",
    "optim.steps=2",
    "save.every=2",
    "agent.max_new_tokens=8",
)
QUICK = ("rollouts.groups=2", "optim.steps=25", "save.every=25", "optim.lr=3e-3", "agent.max_new_tokens=8")
ARTICLES = {
    "Leeds": "Its market hall was built in 1857 by the brothers Leeming. Leeds is a city in Yorkshire.",
    "Oslo": "Its opera house was opened in 2008 beside the fjord. Oslo is the capital of Norway.",
    "Lima": "Its oldest university was founded in 1551 by royal decree. Lima is the capital of Peru.",
}


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    return configured(tmp_path_factory.mktemp("bandit"), BANDIT, *FEW)


def differs(tokenizer: Tokenizer, written: Sequence[int]) -> bool:
    """Whether a reader of their text would get other ids; end tokens are no text."""
    kept = [each for each in written if tokenizer.text([each])]
    return tokenizer.literal(tokenizer.text(kept)) != kept


def test_ids_that_the_service_sent_are_those_that_the_loss_sees(bandit: tuple[Config, Path]) -> None:
    config, base = bandit
    run = trained(config, base, every_row=True)
    # Two steps of two groups of two rollouts of one chunk.
    assert run.trained.total() == 2 * 2 * 2
    assert run.trained == run.sent
    # The control: a trainer that read texts would have seen others, as of a word that was spelled.
    tokenizer = Tokenizer(base)
    assert any(differs(tokenizer, written) for _, written in run.sent)
    word = max((tokenizer.text([each]) for each in range(300, 512)), key=len)
    assert not differs(tokenizer, tokenizer.literal(word))
    assert differs(tokenizer, [each for letter in word for each in tokenizer.literal(letter)])


def test_a_rollout_in_a_crowd_is_the_one_alone_unless_all_draw_from_one_generator(
    bandit: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, base = bandit
    many = config.model_copy(
        update={"rollouts": config.rollouts.model_copy(update={"groups": 2, "group_size": 8})}
    )
    drawn = sampling._log_exponentials
    with written(many, base) as (source, _):

        def ids(concurrency: int) -> list[Any]:
            source._plan = replace(source._plan, concurrency=concurrency)
            shared.manual_seed(1)
            return [[each.completion_ids for each in rollout.samples] for rollout in source.collect(0)]

        shared = torch.Generator()
        alone = ids(1)
        assert ids(16) == alone
        assert len(alone) == 16
        monkeypatch.setattr(
            sampling, "_log_exponentials", lambda like, rows, own: drawn(like, rows, [shared] * len(own))
        )
        assert ids(16) != ids(1)


def squad(folder: Path) -> Path:
    """A small file as SQuAD's are: of each article where it is, which its last word answers."""
    data = []
    for title, text in ARTICLES.items():
        answer = {"text": text.rstrip(".").split()[-1], "answer_start": 0}
        asked = {"id": title, "question": f"Where is {title}?", "answers": [answer]}
        data.append({"title": title, "paragraphs": [{"context": text, "qas": [asked]}]})
    file = folder / "train-v1.1.json"
    file.write_text(json.dumps({"version": "1.1", "data": data}))
    return file


def slice_of_shared(folder: Path) -> Path:
    """Some articles of a real file."""
    if not SHARED.exists():
        pytest.skip(f"needs {SHARED.name}")
    whole = json.loads(gzip.decompress(SHARED.read_bytes()))
    file = folder / "xquad.en.json"
    file.write_text(json.dumps({**whole, "data": whole["data"][:3]}))
    return file


@pytest.mark.parametrize("source", [squad, slice_of_shared])
def test_real_text_trains_by_the_same_path(tmp_path: Path, source: Any) -> None:
    made, sizes = (
        tmp_path / "made.jsonl",
        ("--chunks", "1-2", "--chunk-tokens", "20-60", "--questions", "1-2"),
    )
    build = ["data", "build", "--source", "squad", "--data", str(source(tmp_path)), "--out", str(made)]
    done = CliRunner().invoke(app, [*build, *sizes, "--instances", "3"])
    assert done.exit_code == 0, done.output
    asked = ("task.kind=data", "task.reader=policy", f"task.file='{made}'", "task.answer_tokens=4")
    config, base = configured(tmp_path, None, "policy.tiny={}", *asked, *FEW, "task.most_chunks=2")
    run = trained(config, base, every_row=True)
    # The service sent its answers too, which are not trained on.
    assert run.trained.total() == sum(len(each.samples) for each in run.rollouts) > 0
    assert not run.trained - run.sent
    assert any(not torch.equal(run.after[name], value) for name, value in run.before.items())
    held_out, *training = files.read(made)
    prompts = "".join(sample.prompt for each in run.rollouts for sample in each.samples)
    assert all(chunk.text in prompts for each in training for chunk in each.chunks)
    assert not any(chunk.text in prompts for chunk in held_out.chunks)
    questions = {each.question for instance in training for each in instance.questions}
    assert {answer.question for each in run.rollouts for answer in each.answers} == questions


def rise(config: Config, base: Path) -> float:
    """How far the mean reward of a step has come: of the last five over the first five."""
    run = trained(config, base)
    steps = [mean(each.reward or 0 for each in run.rollouts if each.step == step) for step in range(25)]
    return mean(steps[-5:]) - mean(steps[:5])


@pytest.mark.parametrize(("shuffled", "rises"), [("false", True), ("true", False)])
def test_the_bandit_rises_unless_its_rewards_are_shuffled(tmp_path: Path, shuffled: str, rises: bool) -> None:
    config, base = configured(tmp_path, BANDIT, *QUICK, f"rewards.shuffled={shuffled}")
    assert (rise(config, base) > 0.1) == rises
