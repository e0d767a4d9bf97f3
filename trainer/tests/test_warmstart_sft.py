"""Imitation with the model libraries: the engine's ids, the engine's end, the same weights again."""

import asyncio
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the trainer's libraries: uv sync --group train")

import torch
from transformers import AutoModelForCausalLM

from memalpha.agent import packs
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatMessage,
    ChatPrompt,
    FinishReason,
    GenerateRequest,
    Role,
    SamplingParams,
)
from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError
from memalpha.policy.checkpoint import verified
from memalpha.policy.engine import InProcessPolicy, opened
from memalpha.policy.local.tokens import Tokenizer
from memalpha.policy.tiny.make import Shape, tiny
from memalpha.tasks.ledger.words import VALUES, names
from memalpha_trainer.records import Rollout
from memalpha_trainer.warmstart import practice, rejection
from memalpha_trainer.warmstart.corpus import texts
from memalpha_trainer.warmstart.example import Example
from memalpha_trainer.warmstart.make import Practice, Recipe, warm_start
from memalpha_trainer.warmstart.muon import orthogonal
from memalpha_trainer.warmstart.rejection import imitate_best
from memalpha_trainer.warmstart.schedule import Schedule
from memalpha_trainer.warmstart.sft import encoded, features, imitate
from memalpha_trainer.warmstart.trajectories import Lessons

from .grpo_support import Made, checkpoint, configured

ROLES = {"system": Role.ROLE_SYSTEM, "user": Role.ROLE_USER}
SMALL = Shape(layers=1, hidden=64, vocabulary=1152, context=512)
PACK = packs.load(Recipe().pack)
QUICK = Schedule(batch=2, warmup=2)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("warm") / "untrained"
    recipe = Recipe()
    tiny(folder, SMALL, recipe.training(), texts(PACK))
    return folder


def asked(folder: Path, example: Example, tokens: int = 64):
    """What an engine says about an example's prompt, greedily."""

    settings = PolicySettings.model_validate({"model": str(folder)})
    messages = [ChatMessage(role=ROLES[each["role"]], content=each["content"]) for each in example.messages()]
    request = GenerateRequest(
        chat=ChatPrompt(messages=messages),
        sampling=SamplingParams(temperature=0, max_tokens=tokens),
        return_tokens=True,
    )

    async def ask():
        async with opened("transformers", wire_format="lines", settings=settings) as engine:
            return await InProcessPolicy(engine).generate(request)

    return asyncio.run(ask())


def note(seed: int = 0) -> Example:
    return next(practice.notes(PACK, 1, 2, seed))


def test_a_word_is_one_token_and_a_name_is_two(untrained) -> None:
    tokenizer = Tokenizer(untrained)
    assert {len(tokenizer.literal(f" {name}")) for name in (*names("train"), *names("eval"))} == {2}
    words = [word for values in VALUES.values() for word in values]
    assert {len(tokenizer.literal(f" {word}")) for word in words} == {1}


def test_a_rows_prompt_is_what_the_engine_reads(untrained) -> None:
    for example in (note(), Example("", "Tavo's <|im_end|> home", "")):
        (row,) = encoded(untrained, [example])
        assert row.prompt == asked(untrained, example, tokens=1).prompt_token_ids
    (other,) = encoded(untrained, [replace(note(), system="Else.")])
    assert other.prompt != asked(untrained, note(), tokens=1).prompt_token_ids


def test_only_the_completion_with_its_end_is_learned(untrained) -> None:
    (row,) = encoded(untrained, [note()])
    found = features(row)
    assert found["input_ids"] == [*row.prompt, *row.completion]
    assert found["labels"] == [-100] * len(row.prompt) + list(row.completion)
    tokenizer = Tokenizer(untrained)
    assert tokenizer.text(row.completion) == note().completion
    # The last one is an end token, which is no text.
    assert tokenizer.text(row.completion[-1:]) == ""


def test_what_was_learned_is_what_the_engine_writes_and_where_it_stops(untrained, tmp_path) -> None:
    rows = encoded(untrained, [note()] * 120)
    said: list[float] = []
    sealed = imitate(
        untrained,
        tmp_path / "out",
        [rows],
        QUICK,
        progress=lambda step, of, loss, right: said.append(right),
    )
    assert sealed == verified(tmp_path / "out")
    assert sealed.policy_version == 1
    assert said[-1] > 0.99
    learned = asked(tmp_path / "out", note())
    assert learned.text == note().completion
    assert learned.finish_reason == FinishReason.FINISH_REASON_STOP
    assert learned.token_ids == rows[0].completion
    assert asked(untrained, note()).text != note().completion


def test_the_same_rows_and_seed_give_the_same_weights(untrained, tmp_path) -> None:
    rows = encoded(untrained, practice.notes(PACK, 8, 2, seed=3))
    files = [
        imitate(untrained, tmp_path / name, [rows], replace(QUICK, seed=seed)).files["model.safetensors"]
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    ]
    assert files[0] == files[1] != files[2]


def test_a_warm_start_goes_on_after_the_step_that_was_done_last(tmp_path) -> None:
    recipe = Recipe(
        shape=replace(SMALL, layers=2),
        practice=Practice(lists=2, longest=4, bare=2, prompted=2, rehearsed=1),
        lessons=Lessons(streams=1, units=(1,)),
        practising=QUICK,
        imitating=QUICK,
        examples=5,
    )
    said: list[str] = []
    whole = warm_start(tmp_path / "whole", recipe)
    shutil.copytree(tmp_path / "whole.work", tmp_path / "cut.work")
    cut = warm_start(tmp_path / "cut", recipe, lambda what, done, of, remark: said.append(what))
    assert cut == whole == verified(tmp_path / "whole")
    assert "practice" not in said
    other = warm_start(tmp_path / "other", replace(recipe, seed=1))
    assert other.files["model.safetensors"] != whole.files["model.safetensors"]


def test_a_sharper_model_has_the_same_weights_and_larger_logits(untrained, tmp_path) -> None:
    rows = encoded(untrained, practice.notes(PACK, 8, 2, seed=3))
    tokens = torch.tensor([rows[0].prompt])
    logits = []
    for name, sharpness in (("plain", 1.0), ("sharp", 1.25)):
        imitate(untrained, tmp_path / name, [rows], QUICK, sharpness=sharpness)
        with torch.no_grad():
            logits.append(AutoModelForCausalLM.from_pretrained(tmp_path / name)(tokens).logits)
    torch.testing.assert_close(logits[1], 1.25 * logits[0])
    assert not torch.allclose(logits[1], logits[0])


def test_what_cannot_be_learned_is_refused(untrained, tmp_path) -> None:
    rows = encoded(untrained, [note()])
    with pytest.raises(InvalidInputError, match="as many rows as a batch"):
        imitate(untrained, tmp_path / "out", [rows], QUICK)
    with pytest.raises(InvalidInputError, match="must not exist yet"):
        imitate(untrained, tmp_path, [rows * 2], QUICK)
    with pytest.raises(InvalidInputError, match=r"holds no memalpha\.json"):
        imitate(tmp_path, tmp_path / "out", [rows * 2], QUICK)


def test_muon_makes_singular_values_about_one_and_keeps_singular_vectors() -> None:
    matrices = torch.randn(2, 24, 16, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    # The quintic settles between 0.7 and 1.2.
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 5
    first, _, second = torch.linalg.svd(matrices, full_matrices=False)
    nearest = first @ second
    cosine = (orthogonal(matrices) * nearest).sum() / (orthogonal(matrices).norm() * nearest.norm())
    assert cosine > 0.98


class Equal(Made):
    """Rollouts that are all worth the same."""

    def collect(self, step: int) -> list[Rollout]:
        return [replace(each, answers=()) for each in super().collect(step)]


@pytest.mark.filterwarnings("default")  # libraries' own
def test_the_best_rollouts_are_sampled_and_imitated_once(tmp_path, monkeypatch) -> None:
    warm = checkpoint(tmp_path / "warm", layers=1)
    config = configured(warm, tmp_path / "runs", optim={"steps": 2})
    monkeypatch.setattr(rejection, "served", lambda *_: nullcontext())
    monkeypatch.setattr(rejection, "_source", lambda config, service: source)
    source = Made()
    for _ in range(2):
        sealed, before = verified(imitate_best(config, warm, tmp_path / "best")), verified(warm)
        assert sealed is not None
        assert before is not None
        assert sealed.policy_version == before.policy_version + 1
        assert sealed.files["model.safetensors"] != before.files["model.safetensors"]
    assert source.asked == [0, 1]
    # The control: where nothing is better than anything else, nothing is learned.
    source = Equal()
    with pytest.raises(InvalidInputError, match="as many rows as a batch"):
        imitate_best(config, warm, tmp_path / "equal")
