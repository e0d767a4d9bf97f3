"""A model for a table of plumbing: untrained, and brief, so that a table takes minutes and not hours.

An untrained model ends a text by chance alone, at the limit mostly. This one's configuration has every 32nd
token end it. It is made anew by the same libraries with the same bytes, so that a table can go on with it.
"""

from __future__ import annotations

import json
from pathlib import Path

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.prompts import DEFAULT_CORE_TOKENS
from memalpha.policy.checkpoint import Training, seal
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny

_SHAPE = Shape(layers=1, hidden=64, vocabulary=2048, context=32_768)
_FORMAT = "lines"
_CORPUS = 200
_ENDS = (*range(16, 300, 32), *range(512, _SHAPE.vocabulary, 32))
"""Bytes and words; no special token is among them."""


def brief(folder: Path) -> str:
    """The model of a folder, as a policy and a reader; it is made if the folder is empty, or not there.

    Raises:
        InvalidInputError: ENGINE_NOT_INSTALLED.
    """
    if not (folder / "memalpha.json").exists():
        digest = packs.load("default").digest(wire.get(_FORMAT))
        training = Training(digest, _FORMAT, AgentSettings().view_name, DEFAULT_CORE_TOKENS)
        tiny(folder, _SHAPE, training, texts(0, _CORPUS))
        _end_often(folder / "generation_config.json")
        seal(folder, training)
    return f"transformers:{folder}"


def _end_often(path: Path) -> None:
    config = json.loads(path.read_text())
    config["eos_token_id"] = [*config["eos_token_id"], *_ENDS]
    path.write_text(json.dumps(config))
