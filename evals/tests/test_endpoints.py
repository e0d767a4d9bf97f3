"""A word becomes a policy, or an error that says which words there are."""

import asyncio
from pathlib import Path

import pytest
from made_systems import built, dialogue, question

from memalpha.agent import preset
from memalpha.config import load
from memalpha.errors import InvalidInputError, UnavailableError, UnsupportedError
from memalpha.policy.checkpoint import Training
from memalpha.policy.tiny.make import Shape, tiny
from memalpha_evals.endpoints import Endpoint, endpoint
from memalpha_evals.protocols import Context
from memalpha_evals.readers import ReaderOptions, create
from memalpha_evals.streams import AskedQuestion
from memalpha_evals.systems import SystemOptions


async def opened(spec: str, wire_format: str = "") -> Endpoint:
    async with endpoint(spec, wire_format) as found:
        return found


def test_the_engine_without_a_model_needs_no_more_than_its_name() -> None:
    found = asyncio.run(opened("extractive", "lines"))
    assert found.description.model_free
    assert found.description.wire_format == "lines"
    assert asyncio.run(opened("extractive")).description.wire_format == load().wire_format


def test_an_endpoint_is_known_by_its_address_too(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_POLICY__BASE_URL", "https://models.example/v1?secret=1")
    assert asyncio.run(opened("openai:some/model")).identity["base_url"] == "https://models.example/v1"
    assert "base_url" not in asyncio.run(opened("extractive")).identity


def test_an_endpoint_is_named_by_its_model_and_scores_nothing() -> None:
    found = asyncio.run(opened("openai:some/model:free"))
    assert found.description.model == "some/model:free"
    assert not found.description.scores


@pytest.mark.parametrize("spec", ["", "gpt", "transformers:", "openai:", "extractive:x", "host:port"])
def test_any_other_word_is_refused_with_the_forms_there_are(spec: str) -> None:
    with pytest.raises(
        InvalidInputError, match="must be extractive, HOST:PORT, transformers:FOLDER or openai:MODEL"
    ):
        asyncio.run(opened(spec))


def test_an_address_where_nobody_listens_is_an_error_that_names_it() -> None:
    with pytest.raises(UnavailableError, match="no service at"):
        asyncio.run(opened("127.0.0.1:9"))


def test_a_folder_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"folder of a checkpoint|needs"):
        asyncio.run(opened("transformers:/nowhere/at/all"))


def test_a_policy_without_logprobs_refuses_to_score() -> None:
    async def run() -> None:
        async with endpoint("extractive") as found:
            from memalpha.api.policy.v1alpha1.policy_service_pb2 import ScoreRequest

            await found.policy.score(ScoreRequest())

    with pytest.raises(UnsupportedError, match="has no logprobs"):
        asyncio.run(run())


@pytest.mark.timeout(600)
def test_a_model_in_this_process_writes_memory_answers_and_chooses(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: uv sync --group train")
    folder = tmp_path / "model"
    tiny(folder, Shape(layers=1, hidden=64, vocabulary=512), Training("", "lines", "", 0))

    async def run() -> None:
        async with endpoint(f"transformers:{folder}") as found:
            assert found.description.wire_format == "lines"
            agent = preset("default", prompt_pack="short", max_new_tokens=8)
            made = SystemOptions(64, found.policy, found.description, agent)
            for name in ("memalpha", "overwrite"):
                session, steps = await built(name, made, dialogue(1))
                assert all(step.usage.prompt_tokens for step in steps)
                await session.close()
            reading = ReaderOptions(found.policy, found.description, max_tokens=8)
            asked = AskedQuestion("q", question("Where?", options=("In Rome.", "Nowhere")), 1)
            context = Context("Bob is in Rome.", 5, 5)
            assert (await create("policy", reading).answer(context, asked)).usage.completion_tokens
            chosen = await create("choice", reading).answer(context, asked)
            assert chosen.text in ("a", "b")
            assert all(each < 0 for each in chosen.details["logprobs"].values())

    asyncio.run(run())
