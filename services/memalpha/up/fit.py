"""Policy and agent are started under settings that belong together, or not at all.

A sealed checkpoint says what its model was trained with. What nobody set is taken from there; what was set
otherwise is refused here, in one sentence, rather than by an agent that finds out when it has work to do.
"""

from __future__ import annotations

import re
from pathlib import Path

from memalpha.agent import packs, wire
from memalpha.agent.fit import check_policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity
from memalpha.app import agent_settings
from memalpha.config import Settings
from memalpha.errors import InvalidInputError, MemalphaError, make
from memalpha.policy.checkpoint import MANIFEST, PROMPT_PACK, Training, manifest

_WITH_MODEL = ("openai", "transformers", "vllm")
_VIEW = re.compile(r"(relevant|recent)\((\d{1,4}),(\d{1,4})\)")

Taken = dict[str, object]


def fitted(settings: Settings, *, with_agent: bool = True) -> tuple[Settings, Taken]:
    """Settings that go with the model they name, and those of them that were taken from its checkpoint.

    Args:
        settings: As they were read, so that it is known which of them were set.
        with_agent: Whether an agent is started beside the policy; without one, the wire format alone counts.

    Raises:
        InvalidInputError: MODEL_NOT_FOUND, MODEL_NOT_NAMED or KEY_NOT_READABLE: there is no such model;
            TRAINED_OTHERWISE: a setting is not what the model was trained with; UNKNOWN_PROMPT_PACK.
        UnsupportedError: CHECKPOINT_NOT_UNDERSTOOD; PROMPT_PACK_MISMATCH or WIRE_FORMAT_MISMATCH: prompt
            pack and wire format do not go together; or CALLS_NOT_GUIDED.
    """
    if settings.policy_engine not in _WITH_MODEL:
        if with_agent and settings.guided_calls:
            _check_words(settings, None)
        return settings, {}
    trained = _trained(settings)
    taken = _taken(settings, trained, with_agent=with_agent) if trained else {}
    settings = settings.replaced(**taken) if taken else settings
    if with_agent:
        _check_words(settings, trained)
    return settings, taken


def _trained(settings: Settings) -> Training | None:
    """What the model was trained with, if it is known; and whether there can be such a model at all."""
    policy = settings.policy
    if settings.policy_engine == "openai":
        policy.read_key()
        if not policy.model:
            message = "policy.model must be the endpoint's name of the model; it is empty (--model NAME)"
            raise make(InvalidInputError, "MODEL_NOT_NAMED", message)
        return None
    folder = Path(policy.model).expanduser()
    if not policy.model or not (folder / "config.json").is_file():
        where = f"it is {policy.model!r} (--model FOLDER)"
        message = f"policy.model must be the folder of a checkpoint, with a config.json; {where}"
        raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=folder)
    found = manifest(folder)
    return found.trained_with if found else None


def _taken(settings: Settings, trained: Training, *, with_agent: bool) -> Taken:
    """What of the training nobody set; what is not known of the training is left alone."""
    wanted: Taken = {"wire_format": trained.wire_format} if trained.wire_format else {}
    wanted |= _view(settings, trained) if with_agent else {}
    wanted |= {"core_tokens": trained.core_token_limit} if with_agent and trained.core_token_limit else {}
    taken = {}
    for name, value in wanted.items():
        if name not in settings.model_fields_set:
            taken[name] = value
        elif getattr(settings, name) != value:
            raise _otherwise(settings, name, str(value))
    return taken | (_pack(settings, trained) if with_agent and trained.prompt_digest else {})


def _view(settings: Settings, trained: Training) -> Taken:
    found = _VIEW.fullmatch(trained.view)
    if not found:
        return {}
    return {"view": found[1], "view_semantic": int(found[2]), "view_episodic": int(found[3])}


def _pack(settings: Settings, trained: Training) -> Taken:
    """The prompt pack of the training's digest, built in or brought along, unless the set one has it."""
    form = wire.get(trained.wire_format or settings.wire_format)
    own = Path(settings.policy.model).expanduser() / PROMPT_PACK
    names = [*packs.BUILT_IN, *([str(own.resolve())] if own.is_dir() else [])]
    digests = {name: packs.load(name).digest(form) for name in names}
    fits = [name for name, digest in digests.items() if digest == trained.prompt_digest]
    if "prompt_pack" not in settings.model_fields_set:
        if fits:
            return {"prompt_pack": fits[0]}
        known = f"{', '.join(packs.BUILT_IN)}: --prompt-pack FOLDER"
        rule = f"must be set to the pack it was trained with, whose digest is none of {known}"
        message = f"checkpoint {settings.policy.model}: prompt_pack {rule} (digest {trained.prompt_digest})"
        raise make(InvalidInputError, "UNKNOWN_PROMPT_PACK", message, trained=trained.prompt_digest)
    if packs.load(settings.prompt_pack).digest(form) != trained.prompt_digest:
        raise _otherwise(settings, "prompt_pack", fits[0] if fits else f"digest {trained.prompt_digest}")
    return {}


def _check_words(settings: Settings, trained: Training | None) -> None:
    """The agent's own check of its policy, as far as that is known before it runs."""
    policy = PolicyIdentity(policy_id=settings.policy.model)
    description = GetPolicyResponse(
        policy=policy, engine=settings.policy_engine, wire_format=settings.wire_format
    )
    if trained:
        description.trained_with.CopyFrom(trained.message())
    check_policy(description, agent_settings(settings), packs.load(settings.prompt_pack))


def _otherwise(settings: Settings, name: str, trained: str) -> MemalphaError:
    here, by_preset = getattr(settings, name), settings.from_preset(name)
    said = f"preset {settings.preset} sets {name} to {here}" if by_preset else f"{name} is set to {here}"
    message = (
        f"{said}, but checkpoint {settings.policy.model} was trained with {trained}; "
        f"leave {'the preset' if by_preset else 'it'} out, and {MANIFEST} decides"
    )
    setting = "preset" if by_preset else name
    return make(InvalidInputError, "TRAINED_OTHERWISE", message, setting=setting, value=here, trained=trained)
