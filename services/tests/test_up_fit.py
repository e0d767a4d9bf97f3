"""What `up` takes from a checkpoint, and what it refuses before anything starts. No model is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memalpha import app, config, up
from memalpha.agent import packs, wire
from memalpha.errors import InvalidInputError, UnsupportedError
from memalpha.policy.checkpoint import MANIFEST, PROMPT_PACK, Training, seal
from memalpha.up.fit import fitted
from memalpha.up.screen import Screen


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in config.Settings.model_fields:
        monkeypatch.delenv(config.PREFIX + name.upper(), raising=False)


def digest(pack: str, form: str = "lines") -> str:
    return packs.load(pack).digest(wire.get(form))


def checkpoint(
    folder: Path, *, prompt: str = "", form: str = "lines", view: str = "relevant(4,3)", core: int = 96
) -> Path:
    """A sealed folder that could hold a model."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    seal(folder, Training(prompt or digest("short"), form, view, core), tokenizer="0" * 64)
    return folder


def settings(model: Path | str, engine: str = "transformers", **flags: Any) -> config.Settings:
    return config.load(policy_engine=engine, policy={"model": str(model)}, **flags)


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_what_nobody_set_comes_from_the_checkpoint(tmp_path, engine) -> None:
    before = settings(checkpoint(tmp_path / "m"), engine)
    after, taken = fitted(before)
    assert taken == {
        "wire_format": "lines",
        "view": "relevant",
        "view_semantic": 4,
        "view_episodic": 3,
        "core_tokens": 96,
        "prompt_pack": "short",
    }
    assert {name: getattr(after, name) for name in taken} == taken
    agent = app.agent_settings(after)
    assert (agent.view_name, agent.core_tokens, agent.prompt_pack) == ("relevant(4,3)", 96, "short")
    # The rest is as it was.
    assert before.replaced(**taken) == after


def test_words_that_a_checkpoint_brings_along_are_found_by_their_digest(tmp_path) -> None:
    built_in = Path(packs.__file__).parent / "templates" / "short"
    own = tmp_path / "own"
    shutil.copytree(built_in, own)
    (own / "writer_system.md").write_text("Other words. $tools")
    model = checkpoint(tmp_path / "m", prompt=digest(str(own)))
    # Words that are not there, or not those of the digest, are no choice.
    with pytest.raises(InvalidInputError, match="prompt_pack must be set"):
        fitted(settings(model))
    shutil.copytree(built_in, model / PROMPT_PACK)
    with pytest.raises(InvalidInputError, match="prompt_pack must be set"):
        fitted(settings(model))
    fit = checkpoint(tmp_path / "fit", prompt=digest(str(own)))
    shutil.copytree(own, fit / PROMPT_PACK)
    assert fitted(settings(fit))[1]["prompt_pack"] == str(fit / PROMPT_PACK)


def test_a_choice_that_is_the_checkpoints_own_is_no_conflict(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_VIEW_SEMANTIC", "4")
    (tmp_path / "memalpha.toml").write_text('wire_format = "lines"\n')
    _, taken = fitted(settings(checkpoint(tmp_path / "m"), prompt_pack="short", core_tokens=96))
    assert sorted(taken) == ["view", "view_episodic"]


def test_taking_twice_is_taking_once(tmp_path) -> None:
    once, _ = fitted(settings(checkpoint(tmp_path / "m")))
    assert fitted(once) == (once, {})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("wire_format", "hermes", "wire_format is set to hermes, but checkpoint m was trained with lines"),
        ("view", "recent", "view is set to recent, but checkpoint m was trained with relevant"),
        ("view_episodic", 10, "view_episodic is set to 10, but checkpoint m was trained with 3"),
        ("core_tokens", 512, "core_tokens is set to 512, but checkpoint m was trained with 96"),
        ("prompt_pack", "default", "prompt_pack is set to default, but checkpoint m was trained with short"),
        (
            *("preset", "paper"),
            "preset paper sets wire_format to qwen_agent, but .* lines; leave the preset out",
        ),
    ],
)
def test_another_choice_is_refused_by_name(tmp_path, name, value, said) -> None:
    checkpoint(tmp_path / "m")
    with pytest.raises(InvalidInputError, match=said) as caught:
        up.run(settings("m", **{name: value}))
    assert (caught.value.reason, caught.value.metadata["setting"]) == ("TRAINED_OTHERWISE", name)
    # Nothing was started and nothing made.
    assert not (tmp_path / "memalpha-data").exists()


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("extractive", "has no grammars"),
        ("transformers", "has no grammars"),
        ("openai", "was tried with no endpoint"),
    ],
)
def test_calls_are_not_guided_where_an_engine_cannot(tmp_path, engine, why) -> None:
    folder = checkpoint(tmp_path / "m", form="hermes", prompt=digest("short", "hermes"))
    with pytest.raises(UnsupportedError, match=f"guided_calls must be off .* {engine} {why}") as caught:
        fitted(settings(folder, engine, guided_calls=True))
    assert caught.value.reason == "CALLS_NOT_GUIDED"
    fitted(settings(folder, engine, guided_calls=True), with_agent=False)
    fitted(settings(folder, "vllm", guided_calls=True))


def test_a_prompt_that_no_pack_here_has_must_be_named(tmp_path) -> None:
    folder = checkpoint(tmp_path / "m", prompt="ab" * 32)
    with pytest.raises(
        InvalidInputError, match=r"prompt_pack must be set to the pack .* none of default"
    ) as caught:
        fitted(settings(folder))
    assert caught.value.reason == "UNKNOWN_PROMPT_PACK"
    with pytest.raises(InvalidInputError, match=r"prompt_pack is set to short, .* with digest abab"):
        fitted(settings(folder, prompt_pack="short"))
    # A policy alone gives no prompts.
    assert fitted(settings(folder), with_agent=False)[1] == {"wire_format": "lines"}


def test_a_pack_of_ones_own_is_known_by_its_digest(tmp_path) -> None:
    source = Path(packs.__file__).parent / "templates" / "short"
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in source.iterdir():
        (mine / path.name).write_text(path.read_text("utf-8").replace("memory", "notes"))
    folder = checkpoint(tmp_path / "m", prompt=digest(str(mine)))
    after, taken = fitted(settings(folder, prompt_pack=str(mine)))
    assert after.prompt_pack == str(mine)
    assert "prompt_pack" not in taken


def test_what_is_not_known_of_the_training_is_left_alone(tmp_path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    before = settings(folder)
    assert fitted(before) == (before, {})
    seal(folder, Training("", "", "", 0), tokenizer="0" * 64)
    assert fitted(before) == (before, {})


def test_a_view_that_cannot_be_set_is_refused_as_the_agent_would(tmp_path) -> None:
    folder = checkpoint(tmp_path / "m", view="oldest(3)")
    with pytest.raises(UnsupportedError, match=r"trained with view oldest\(3\)"):
        fitted(settings(folder))


def test_a_manifest_that_is_none_is_refused(tmp_path) -> None:
    folder = checkpoint(tmp_path / "m")
    (folder / MANIFEST).write_text(json.dumps({"format": 7}))
    with pytest.raises(UnsupportedError, match="no manifest of a checkpoint") as caught:
        fitted(settings(folder))
    assert caught.value.reason == "CHECKPOINT_NOT_UNDERSTOOD"


@pytest.mark.parametrize(("engine", "model"), [("transformers", ""), ("transformers", "no"), ("openai", "")])
def test_a_model_that_there_is_not_is_missed_before_anything_starts(engine, model) -> None:
    with pytest.raises(InvalidInputError, match=r"policy\.model must be .*--model") as caught:
        up.run(config.load(policy_engine=engine, policy={"model": model}))
    assert caught.value.reason == ("MODEL_NOT_NAMED" if engine == "openai" else "MODEL_NOT_FOUND")


def test_an_endpoints_key_and_words_are_looked_at_before_anything_starts(tmp_path) -> None:
    with pytest.raises(InvalidInputError, match=r"policy\.api_key_file .*: No such file"):
        up.run(config.load(policy_engine="openai", policy={"model": "gpt", "api_key_file": "no"}))
    with pytest.raises(UnsupportedError, match="wire format hermes, prompt pack paper goes with qwen_agent"):
        up.run(config.load(policy_engine="openai", policy={"model": "gpt"}, prompt_pack="paper"))
    # The control: what goes together is not refused.
    together = config.load(policy_engine="openai", policy={"model": "gpt"}, preset="paper")
    assert fitted(together) == (together, {})


def test_an_engine_without_a_model_has_nothing_to_take() -> None:
    before = config.load()
    assert fitted(before) == (before, {})


def test_it_says_what_it_took(capsys) -> None:
    screen = Screen(json_output=True)
    screen.taken("./tiny", {})
    screen.taken("./tiny", {"wire_format": "lines", "view_semantic": 4})
    said = "as checkpoint ./tiny was trained: wire_format=lines view_semantic=4\n"
    assert capsys.readouterr().err == said
