"""Under the agent's schema even an untrained model writes calls, each of which alone can be carried out."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import memcore
from memalpha.agent import wire
from memalpha.agent.guided import call_list
from memalpha.agent.operations import operations
from memalpha.agent.prompts import render_prompt
from memalpha.agent.tools import ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    BankSettings,
    Chunk,
    DeleteOperation,
    InsertOperation,
    MemoryType,
    Operation,
    UpdateOperation,
)
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    ApplyOperationsRequest,
    GetWriterViewRequest,
    GetWriterViewResponse,
)
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.client import AsyncMemoryClient
from memalpha.config import PolicySettings
from memalpha.policy.checkpoint import MANIFEST
from memalpha.transport import AsyncEmbeddedTransport

from .engines import PLACE, Service, served

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")
jsonschema: Any = pytest.importorskip("jsonschema")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

SEEDS = range(8)
CHUNK = Chunk(chunk_id="c", text="Ann: I baked bread in Leeds yesterday.", event_time="2023-05-09")
KEPT = [
    Operation(update=UpdateOperation(type=MemoryType.MEMORY_TYPE_CORE, content="Ann")),
    Operation(insert=InsertOperation(type=MemoryType.MEMORY_TYPE_SEMANTIC, content="Ann has a dog")),
    Operation(insert=InsertOperation(type=MemoryType.MEMORY_TYPE_EPISODIC, content="Ann moved")),
]


@asynccontextmanager
async def bank() -> AsyncIterator[tuple[AsyncMemoryClient, GetWriterViewResponse]]:
    """A bank with a memory of each type and a chunk, and its view; memories are of the same ids each time."""
    with memcore.Store.in_memory() as store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        await memory.create_bank("b", settings=BankSettings(core_token_limit=8))
        await memory.append_chunks("b", [CHUNK])
        await memory.apply_operations(ApplyOperationsRequest(bank_id="b", operations=KEPT))
        yield memory, await memory.get_writer_view(GetWriterViewRequest(bank_id="b"))


async def error(operation: Operation) -> str:
    """Why an operation alone is not carried out; empty if it is."""
    async with bank() as (memory, _):
        request = ApplyOperationsRequest(bank_id="b", operations=[operation])
        return (await memory.apply_operations(request)).results[0].error.message


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
    async with bank() as (_, view):
        prompt = render_prompt(view, form)
    schema = call_list(view, prompt.aliases, form, most_calls=3, most_characters=40)

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
        assert [await error(each) for each in operations(found, prompt.aliases)] == [""] * len(found)
    assert sum(len(json.loads(text)) for text in bound) >= len(SEEDS)
    # The controls: what cannot be carried out is told, and an untrained model writes no call by itself.
    assert await error(Operation(delete=DeleteOperation(memory_id=99, type=KEPT[1].insert.type)))
    assert not any(isinstance(each, ToolCall) for text in free for each in form.parse(text))
