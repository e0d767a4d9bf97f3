"""The checkpoint that a run starts from, and whether the run's settings are those that it is bound to."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from memalpha.agent import packs, wire
from memalpha.errors import InvalidInputError, make
from memalpha.policy.checkpoint import MANIFEST, PROMPT_PACK, Manifest, Training, manifest, seal, verified
from memalpha.policy.tiny.make import Shape, tiny
from memalpha_trainer import tasks
from memalpha_trainer.config import Config
from memalpha_trainer.probes import PROBE

OWN_PACK = Path(__file__).parent / "prompt_pack"
"""For tiny models: a sentence, and the tools."""
_DEFAULT_PACK = "short"


def starting_model(config: Config, run: Path) -> Path:
    """The checkpoint to start from; a tiny one is made in the run's folder, once.

    Raises:
        InvalidInputError: MODEL_NOT_FOUND.
    """
    if config.policy.tiny is not None:
        folder = run / "model"
        if not (folder / MANIFEST).exists():
            _make(config, folder)
        return folder
    assert config.policy.model is not None
    folder = config.policy.model.expanduser()
    if not (folder / "config.json").is_file():
        message = (
            f"policy.model must be a checkpoint's folder, such as `memalpha-trainer warm` makes: {folder}"
        )
        raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=folder)
    return folder


def digest(model: Path) -> str:
    """SHA-256 of a checkpoint's `memalpha.json`, which has a hash of every other file."""
    return sha256((model / MANIFEST).read_bytes()).hexdigest()


def fitted(config: Config, model: Path, *, whole: bool = True) -> Config:
    """The configuration with the prompt pack that a checkpoint brings along, if none is named.

    Args:
        config: The run's.
        model: The checkpoint.
        whole: Whether its files are looked at; not needed where a service has them already.

    Raises:
        InvalidInputError: CHECKPOINT_NOT_SEALED, or TRAINED_OTHERWISE: it is bound to other settings.
        CorruptionError: CHECKPOINT_DAMAGED.
    """
    if not (model / "config.json").is_file():
        message = f"{model} must be a checkpoint's folder, with a config.json"
        raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=model)
    sealed = verified(model) if whole else manifest(model)
    if sealed is None:
        message = f"{model} is no sealed checkpoint: bind it to these settings by `memalpha-trainer seal`"
        raise make(InvalidInputError, "CHECKPOINT_NOT_SEALED", message, path=model)
    config = _with_pack(config, model)
    bound = asdict(sealed.trained_with)
    for name, value in asdict(training(config)).items():
        if bound[name] != value:
            message = f"checkpoint {model} is bound to {name} {bound[name]!r}; the table agent says {value!r}"
            raise make(InvalidInputError, "TRAINED_OTHERWISE", message, setting=name)
    return config


def bind(config: Config, model: Path) -> Manifest:
    """Makes a folder as libraries save it a checkpoint that is bound to a configuration.

    A probe that lies in it may be of the weights that were there before, and goes.

    Raises:
        InvalidInputError: CHECKPOINT_NOT_SEALABLE, or it is bound already.
    """
    if (model / MANIFEST).exists():
        message = f"{model} is bound already: its {MANIFEST} says to what"
        raise make(InvalidInputError, "CHECKPOINT_SEALED", message, path=model)
    (model / PROBE).unlink(missing_ok=True)
    return seal(model, training(_with_pack(config, model)))


def training(config: Config) -> Training:
    """What a checkpoint of this configuration is bound to; its prompt pack must be named."""
    agent = tasks.agent_settings(config)
    digest = packs.load(agent.prompt_pack).digest(wire.get(config.agent.wire_format))
    return Training(digest, config.agent.wire_format, agent.view_name, agent.core_tokens)


def _make(config: Config, folder: Path) -> None:
    """A tiny model with its words; the folder appears when all of it is there."""
    assert config.policy.tiny is not None
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shape = Shape(**config.policy.tiny.model_dump(), seed=config.seed)
    pack = config.agent.prompt_pack or str(OWN_PACK)
    tiny(draft, shape, training(_named(config, pack)))
    if Path(pack).is_dir():
        shutil.copytree(pack, draft / PROMPT_PACK)
    draft.rename(folder)


def _with_pack(config: Config, model: Path) -> Config:
    if config.agent.prompt_pack:
        return config
    return _named(config, str(model / PROMPT_PACK) if (model / PROMPT_PACK).is_dir() else _DEFAULT_PACK)


def _named(config: Config, pack: str) -> Config:
    return config.model_copy(update={"agent": config.agent.model_copy(update={"prompt_pack": pack})})
