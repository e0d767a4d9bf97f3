"""A tiny model to serve: untrained, with a tokenizer that has learnt the workload's words.

So a word is about a token, as it is to a large model. The folder has no `memalpha.json`: it was trained for
no prompt, and any layout may be tried on it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from agent_bench.workload import Workload
from memalpha.agent import packs, wire
from memalpha.policy.checkpoint import MANIFEST, Training
from memalpha.policy.tiny.make import Shape, tiny

SHAPE = Shape(layers=2, hidden=64, vocabulary=4096, context=8192)
ENGINES = {"transformers": ("torch", "transformers"), "vllm": ("vllm",)}
"""What each engine with a model needs."""


def installed(engine: str) -> bool:
    """Whether an engine's libraries are here."""
    return all(find_spec(each) for each in ENGINES[engine])


def made(folder: Path, workload: Workload) -> Path:
    """Makes the model; its folder."""
    out, form = folder / "tiny", wire.get(workload.wire_format)
    tiny(out, SHAPE, Training("0" * 64, form.name, "", 1), _corpus(workload))
    (out / MANIFEST).unlink()
    return out


def _corpus(workload: Workload) -> list[str]:
    pack, form = packs.load("default"), wire.get(workload.wire_format)
    said = [chunk.text for bank in range(workload.size.banks) for chunk in workload.stream(bank)]
    return [pack.writer_system.template, pack.instructions(form), *said, *workload.texts.values()]
