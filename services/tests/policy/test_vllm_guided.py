"""Under the agent's schema even an untrained model writes calls, each of which can be carried out."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent import wire
from memalpha.agent.guided import call_list
from memalpha.agent.operations import operations
from memalpha.agent.prompts import render_prompt
from memalpha.agent.tools import ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.policy.checkpoint import MANIFEST

from .engines import PLACE, Service, served

pytest.importorskip("vllm", reason="needs vllm: pip install 'memalpha[policy-cpu]'")
jsonschema: Any = pytest.importorskip("jsonschema")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

SEEDS = range(8)
VIEW = GetWriterViewResponse(
    bank=Bank(settings=BankSettings(core_token_limit=8)),
    core=Memory(type=MemoryType.MEMORY_TYPE_CORE, content="Ann"),
    semantic=[Memory(id=1, type=MemoryType.MEMORY_TYPE_SEMANTIC, content="Ann has a dog")],
    episodic=[Memory(id=2, type=MemoryType.MEMORY_TYPE_EPISODIC, content="Ann moved")],
    next_chunk=Chunk(text="Ann: I baked bread in Leeds yesterday.", event_time="2023-05-09"),
)


@pytest.fixture
def writing(vllm_core: Callable[..., Any], tmp_path: Path) -> Callable[[str], Any]:
    """Opens vLLM as a policy of some wire format, which an unsealed copy of its model leaves open."""
    from memalpha.policy.vllm.engine import VLLMEngine

    sealed, core = vllm_core()
    folder = Path(shutil.copytree(sealed, tmp_path / "unsealed"))
    (folder / MANIFEST).unlink()
    settings = PolicySettings.model_validate({"model": str(folder), **PLACE})

    @asynccontextmanager
    async def opened(wire_format: str) -> AsyncIterator[Service]:
        async with served(VLLMEngine(settings, wire_format, core)) as service:
            yield service

    return opened


@pytest.mark.parametrize("name", ["hermes", "openai"])
async def test_what_is_written_under_the_schema_are_calls_that_can_be_carried_out(writing, name) -> None:
    form = wire.get(name)
    prompt = render_prompt(VIEW, form)
    schema = call_list(VIEW, prompt.aliases, most_calls=3, most_characters=40)

    def asked(seed: int, schema: str) -> pb.GenerateRequest:
        sampling = pb.SamplingParams(seed=seed, temperature=1, max_tokens=400, json_schema=schema)
        chat = pb.ChatPrompt(messages=prompt.messages, tools_json=prompt.tools_json)
        return pb.GenerateRequest(chat=chat, sampling=sampling)

    async with writing(name) as service:
        made = [asked(seed, bound) for bound in (schema, "") for seed in SEEDS]
        done = await asyncio.gather(*(service.client.generate(each) for each in made))
    texts = [each.text for each in done]
    bound, free = texts[: len(SEEDS)], texts[len(SEEDS) :]
    for text in bound:
        written = json.loads(text)
        jsonschema.validate(written, json.loads(schema))
        found = form.parse(text)
        assert [type(each) for each in found] == [ToolCall] * len(written)
        assert not any(each.HasField("rejected") for each in operations(found, prompt.aliases))
    assert sum(len(json.loads(text)) for text in bound) >= len(SEEDS)
    # The control: a model that was never trained writes no call by itself.
    assert not any(isinstance(each, ToolCall) for text in free for each in form.parse(text))
