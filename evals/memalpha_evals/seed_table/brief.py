"""A model for a table of plumbing: untrained, and brief, so that a table takes minutes and not hours.

An untrained model ends a text by chance alone, at the limit mostly, and never writes a call. This one's
configuration has 57 of its 2,048 tokens end a text, one in 36, and its head has `S+` follow a line break,
which is how an insert begins in the form `lines`: what it writes is memories of words by chance, and they are
stored, found and read like any. It is made anew by the same libraries with the same bytes, so that a table
can go on with it.
"""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.prompts import DEFAULT_CORE_TOKENS
from memalpha.errors import InvalidInputError, make
from memalpha.files import draft, sync
from memalpha.policy.checkpoint import MANIFEST, TOKENIZER, Training, seal
from memalpha.policy.local.libraries import safetensors, tokenizers
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny

# A tied head repeats the last token: an untrained model's output is nearest to what went in.
_SHAPE = Shape(layers=1, hidden=64, vocabulary=2048, context=32_768, tied=False)
_FORMAT = "lines"
_CORPUS = 200
_ENDS = (*range(16, 300, 32), *range(512, _SHAPE.vocabulary, 32))
"""Bytes and words; no special token is among them, and none of `_INSERT`."""
_INSERT = "\nS+"
"""Three tokens, of which each is followed by the next: a prompt ends with the first."""


def brief(folder: Path) -> str:
    """The model of a folder, as a policy and a reader; it is made if the folder is empty, or not there.

    Raises:
        InvalidInputError: ENGINE_NOT_INSTALLED, or FOLDER_NOT_EMPTY: it holds something else.
    """
    if not (folder / MANIFEST).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            message = f"{folder} must be empty, or the brief model: it is none"
            raise make(InvalidInputError, "FOLDER_NOT_EMPTY", message, path=folder)
        _make(draft(folder)).replace(folder)
        sync(folder.parent)
    return f"transformers:{folder}"


def _make(folder: Path) -> Path:
    """The model, whole; what was begun in its folder is thrown away."""
    shutil.rmtree(folder, ignore_errors=True)
    digest = packs.load("default").digest(wire.get(_FORMAT))
    training = Training(digest, _FORMAT, AgentSettings().view_name, DEFAULT_CORE_TOKENS)
    tiny(folder, _SHAPE, training, texts(0, _CORPUS))
    _end_often(folder / "generation_config.json")
    _insert_often(folder)
    seal(folder, training)
    return folder


def _end_often(path: Path) -> None:
    config = json.loads(path.read_text())
    config["eos_token_id"] = [*config["eos_token_id"], *_ENDS]
    path.write_text(json.dumps(config))


def _insert_often(folder: Path) -> None:
    """Has the head's row of each token of `_INSERT` be the embedding of the one before it.

    What comes out of one layer is nearest to what went in, so that this row is then the largest, and a row
    like any other everywhere else.
    """
    path = folder / "model.safetensors"
    weights = safetensors.load_file(path)
    tokens = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER)).encode(_INSERT).ids
    for before, after in pairwise(tokens):
        weights["lm_head.weight"][after] = weights["model.embed_tokens.weight"][before]
    safetensors.save_file(weights, path, metadata={"format": "pt"})
