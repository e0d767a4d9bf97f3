"""How many completions engines take at once, by their settings."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import BusyError
from memalpha.policy.engine import BoundedEngine, create

from .engines import served

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


class Slow:
    """An engine that scores for as long as the test has it."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    def describe(self) -> pb.GetPolicyResponse:
        return pb.GetPolicyResponse(engine="slow", scores=True, loads_weights=True)

    async def score(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        self.begun.set()
        await self.may_end.wait()
        return pb.ScoreResponse()

    async def load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        return pb.LoadWeightsResponse()


async def test_scores_in_work_keep_nobody_from_asking_who_is_served_or_from_loading_weights() -> None:
    slow: Any = Slow()
    made = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=[1])])
    async with served(slow) as service:
        service.servicer._scores.limit = service.servicer._questions.limit = 1
        scoring = asyncio.create_task(service.client.score(made))
        await slow.begun.wait()
        assert (await service.client.describe()).engine == "slow"
        await service.client.load_weights(pb.LoadWeightsRequest())
        # The control: one more score is too many.
        with pytest.raises(BusyError):
            await service.client.score(made)
        slow.may_end.set()
        await scoring
