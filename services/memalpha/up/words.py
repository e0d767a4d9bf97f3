"""What is read and written around a model, each known by its hash: tokenizer, template, prompts, tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from memalpha.agent import packs, wire
from memalpha.config import Settings
from memalpha.policy.checkpoint import TOKENIZER, tokenizer_digest
from memalpha.up.finding import BROKEN, Finding, tried
from memalpha.up.fit import fitted


def words(settings: Settings, folder: Path) -> Iterator[Finding]:
    """What is read and written around the model, each known by its hash."""
    yield tried("tokenizer", lambda: _tokenizer(folder))
    yield tried("chat template", lambda: _chat(folder))
    try:
        settings, taken = fitted(settings)
        form, pack = wire.get(settings.wire_format), packs.load(settings.prompt_pack)
    except BROKEN as error:
        yield Finding("words", "bad", f"failed: {error}")
        return
    tools = sha256((pack.instructions(form) + form.tools_json()).encode()).hexdigest()
    source = "as it was trained" if taken else "of the settings"
    yield Finding("prompt pack", "ok", f"{settings.prompt_pack}, {source}: {pack.digest(form)}")
    yield Finding("tool text", "ok", f"{settings.wire_format}, {source}: {tools}")


def _tokenizer(folder: Path) -> Finding:
    digest = tokenizer_digest(folder)
    if not digest:
        return Finding("tokenizer", "bad", f"there is no {TOKENIZER}")
    if "model" not in _object(folder / TOKENIZER):
        return Finding("tokenizer", "bad", f"failed: {TOKENIZER} holds no model")
    return Finding("tokenizer", "ok", digest)


def _chat(folder: Path) -> Finding:
    template = _template(folder)
    said = sha256(template.encode()).hexdigest() if template else "there is none"
    return Finding("chat template", "ok" if template else "bad", said)


def _template(folder: Path) -> str:
    file, configured = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if file.is_file():
        return file.read_text("utf-8")
    found = _object(configured).get("chat_template") if configured.is_file() else None
    return found if isinstance(found, str) else json.dumps(found) if found else ""


def _object(path: Path) -> dict[str, Any]:
    """A file's JSON object.

    Raises:
        ValueError: It is none.
    """
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return found
