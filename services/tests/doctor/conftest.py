"""A checkpoint and a machine for each test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from memalpha.policy.vllm import refusals
from memalpha.up import machine
from memalpha.up.machine import GIB, Gpu

from .support import QWEN3_4B, configured


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as large as Qwen3-4B, whole, whose numbers are all zero."""
    made = tmp_path / "model"
    made.mkdir()
    configured(made, QWEN3_4B)
    (made / "tokenizer.json").write_text('{"model": {}}')
    (made / "chat_template.jinja").write_text("{{ messages }}")
    return made


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the machine has."""

    def set_to(*, gpus: tuple[Gpu, ...] = (), free: int | None = 64 * GIB, **versions: str) -> None:
        monkeypatch.setattr(machine, "gpus", lambda: list(gpus))
        monkeypatch.setattr(machine, "free_memory", lambda: free)
        monkeypatch.setattr(refusals, "installed", lambda name: versions.get(name.replace("-", "_"), ""))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return set_to
