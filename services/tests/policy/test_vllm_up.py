"""The main job over processes of their own with vLLM, whose engine is killed in the middle of it."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from memalpha import app, config
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as pb

from .test_up_models import SAID, ended, memorize, taught, up

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")
psutil: Any = pytest.importorskip("psutil")

__all__ = ["taught"]
CONVERSATION = Path(__file__).parents[3] / "examples/demo/conversation.json"


def below(process: subprocess.Popen[str], name: str) -> list[Any]:
    """Processes of a name below `memalpha up`."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [each for each in found if each.name().startswith(name) and alive(each)]


def alive(process: Any) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def status(settings: config.Settings) -> str:
    found = {service.name: service.status for service in await app.health(settings)}
    return found["policy"]


async def until(wanted: str, settings: config.Settings) -> None:
    while await status(settings) != wanted:
        await asyncio.sleep(0.1)


# vLLM takes its time to start, and here it starts twice.
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_conversation_is_memorized_once_though_its_engine_is_killed(taught: Path, tmp_path) -> None:
    turns = json.loads(CONVERSATION.read_text())
    items = [
        pb.MemorizeItem(item_id=str(n), text=f"{turn.get('name', 'Assistant')}: {turn['content']}")
        for n, turn in enumerate(turns)
    ]
    with up(tmp_path, "--policy", "vllm", "--model", str(taught), MEMALPHA_CHUNK_TOKENS="128") as (
        process,
        settings,
    ):
        async with app.connected(settings) as faces:
            assert (await faces.agent.memorize(memorize(SAID), timeout=300)).receipts
            recalled = await faces.agent.recall(pb.RecallRequest(bank_id="caroline", query="dog's name"))
            assert "Biscuit" in recalled.context
            made = pb.MemorizeRequest(bank_id="demo", items=items, create_bank=True)
            receipts = (await faces.agent.memorize(made)).receipts
            (engine,) = below(process, "VLLM::Engin")
            os.kill(engine.pid, signal.SIGKILL)
            await until("not_serving", settings)
            await until("serving", settings)
            made.wait = True
            again = (await faces.agent.memorize(made, timeout=600)).receipts
            moves = [
                each.cursor_moved
                async for each in faces.memory.events("demo")
                if each.HasField("cursor_moved")
            ]
            (second,) = below(process, "VLLM::Engin")
        ended(process)
    assert second.pid != engine.pid
    assert not alive(second)
    assert len(receipts) == len(again) == len(moves) > 5
    assert {receipt.state for receipt in again} == {pb.CHUNK_STATE_MEMORIZED}
    assert {move.writer.policy_version for move in moves} == {1}


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_vllm_ends_with_a_service_that_is_killed(tiny_folder: Any, tmp_path) -> None:
    arguments = ("--only", "policy", "--policy", "vllm", "--model", str(tiny_folder()))
    with up(tmp_path, *arguments) as (process, _):
        orphans = below(process, "VLLM::")
        assert len(orphans) == 2
        (service,) = {each.ppid() for each in below(process, "VLLM::Engin")}
        os.kill(service, signal.SIGKILL)
        while any(map(alive, orphans)):
            await asyncio.sleep(0.1)
