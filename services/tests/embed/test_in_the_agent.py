"""From settings to vectors in a real memory: an endpoint, an agent and a store in this process."""

import pytest

import memcore
from memalpha import app, config
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as memory_pb
from memalpha.embed import bank_embedder

from .support import Endpoint, served

takes_vectors = pytest.mark.skipif(
    not hasattr(memcore.Bank, "put_vectors"), reason="this memcore takes no vectors yet"
)


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Defaults, with a model at an endpoint that each test names."""
    monkeypatch.chdir(tmp_path)
    for name in config.Settings.model_fields:
        monkeypatch.delenv(config.PREFIX + name.upper(), raising=False)
    return config.load(embedder={"kind": "openai", "model": "model-1"})


def at(settings, url):
    return settings.replaced(embedder={**dict(settings.embedder), "base_url": url})


async def test_what_a_bank_says_of_its_embedder_is_what_the_settings_and_the_endpoint_say(settings) -> None:
    endpoint = Endpoint()
    async with served(endpoint) as url:
        external = await bank_embedder(at(settings, url).embedder)
    assert external == pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id="model-1", dimensions=2)
    assert len(endpoint.bodies) == 1
    for kind, number in {"none": pb.EMBEDDER_KIND_NONE, "builtin": pb.EMBEDDER_KIND_BUILTIN}.items():
        other = config.load(embedder={"kind": kind})
        assert await bank_embedder(other.embedder) == pb.Embedder(kind=number)


async def test_dimensions_that_are_known_are_not_asked_for(settings) -> None:
    known = config.load(embedder={**dict(settings.embedder), "dimensions": 3})
    assert (await bank_embedder(known.embedder)).dimensions == 3


@takes_vectors
async def test_a_new_bank_is_searched_by_the_endpoints_vectors_until_it_is_changed(settings) -> None:
    async with served(Endpoint()) as url, app.embedded(None, at(settings, url)) as faces:
        bank = await app.ensure_bank(faces.memory, "b", at(settings, url))
        assert bank.settings.embedder.id == "model-1"
        item = agent_pb.MemorizeItem(item_id="1", text="I adopted a dog named Biscuit. I live in Lisbon.")
        await faces.agent.memorize(agent_pb.MemorizeRequest(bank_id="b", items=[item], wait=True))
        stats = (await faces.memory.get_bank("b")).stats
        assert stats.embedded_count > 0
        assert stats.unembedded_count == 0
        question = agent_pb.RecallRequest(bank_id="b", query="Where do I live?")
        assert (await faces.agent.recall(question)).search_method == memory_pb.SEARCH_METHOD_HYBRID
        changed = await app.set_embedder(faces, "b", config.load(embedder={"kind": "none"}))
        assert changed.settings.embedder.kind == pb.EMBEDDER_KIND_NONE
        assert (await faces.agent.recall(question)).search_method == memory_pb.SEARCH_METHOD_WORDS
