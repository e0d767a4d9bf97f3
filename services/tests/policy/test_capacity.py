"""How many completions engines take at once, by their settings."""

from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.config import PolicySettings
from memalpha.policy.engine import BoundedEngine, create

BOUNDS = {"rows": 5, "waiting": 7, "data_parallel": 3}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    # Copies of the model are vllm's alone; each has its rows.
    ("name", "capacity"),
    [("openai", 5 + 7), ("transformers", 5 + 7), ("vllm", 5 * 3 + 7)],
)
async def test_an_engine_takes_the_rows_of_its_copies_and_who_may_wait(
    name, capacity, request, monkeypatch
) -> None:
    model = "model-1" if name == "openai" else str(request.getfixturevalue("tiny_folder")())
    settings = PolicySettings.model_validate({"model": model, "device": "cpu", **BOUNDS})
    engine = (
        vllm(settings, monkeypatch)
        if name == "vllm"
        else create(name, wire_format="lines", settings=settings)
    )
    assert isinstance(engine, BoundedEngine)
    assert engine.capacity == capacity
    if name == "transformers":
        opened: Any = engine
        await opened.close()


def vllm(settings: PolicySettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The vllm engine without vLLM: over a core that has 16 completions."""
    from memalpha.policy.vllm import engine

    monkeypatch.setattr(engine, "prepare", lambda _settings: None)
    core: Any = SimpleNamespace(version=1, count=16)
    made = engine.VLLMEngine(settings, "lines", core)
    # Fifteen rows are in work; whoever is beyond waits.
    assert made.load == (15, 1)
    return made


def test_what_has_no_bound_of_its_own_is_none() -> None:
    assert not isinstance(create("extractive", wire_format="lines"), BoundedEngine)
