"""The two ways to a memory, in this process and over the services, on real parts throughout."""

import subprocess
import sys

import pytest

import memcore
from memalpha import app, config
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as pb
from memalpha.client import MemoryClient
from memalpha.errors import ConflictError, InvalidInputError, NotFoundError

DOG = "Caroline: I adopted a dog named Biscuit. I live in Lisbon."
HOLDER = """
import sys, time, memcore
store = memcore.Store.open(sys.argv[1], note="127.0.0.1:50051")
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Defaults, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    for name in config.Settings.model_fields:
        monkeypatch.delenv(config.PREFIX + name.upper(), raising=False)
    return config.load()


def memorize(*, wait):
    item = pb.MemorizeItem(item_id="1", text=DOG, event_time="2023-05-08")
    return pb.MemorizeRequest(bank_id="caroline", items=[item], create_bank=True, wait=wait)


async def recall(faces):
    request = pb.RecallRequest(bank_id="caroline", query="What is the name of the dog?")
    return await faces.agent.recall(request)


async def test_what_was_memorized_in_process_is_recalled_after_a_restart(settings, tmp_path) -> None:
    async with app.embedded(tmp_path / "data", settings) as faces:
        reply = await faces.agent.memorize(memorize(wait=True))
        assert [receipt.state for receipt in reply.receipts] == [pb.CHUNK_STATE_MEMORIZED]
    async with app.embedded(tmp_path / "data", settings) as faces:
        found = await recall(faces)
        again = await faces.agent.memorize(memorize(wait=True))
    assert "Biscuit" in found.context
    assert found.pending_chunks == 0
    assert [receipt.already_stored for receipt in again.receipts] == [True]


async def test_a_worker_in_the_background_memorizes_what_nobody_waits_for(settings) -> None:
    async with app.embedded(None, settings, worker=True) as faces:
        await faces.agent.memorize(memorize(wait=False))
        reply = await faces.agent.memorize(memorize(wait=True), timeout=20)
    assert [receipt.state for receipt in reply.receipts] == [pb.CHUNK_STATE_MEMORIZED]


async def test_a_bank_in_ram_is_gone_when_it_is_closed(settings) -> None:
    async with app.embedded(None, settings) as faces:
        await faces.memory.create_bank("caroline")
    async with app.embedded(None, settings) as faces:
        with pytest.raises(NotFoundError):
            await faces.memory.get_bank("caroline")


async def test_a_folder_that_a_process_holds_is_refused_with_its_pid_and_purpose(settings, tmp_path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "data")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(ConflictError, match=rf"{process.pid}.*127\.0\.0\.1:50051") as raised:
            async with app.embedded(tmp_path / "data", settings):
                pass
        assert raised.value.reason == "STORE_LOCKED"
    finally:
        process.kill()
        process.communicate()


async def test_an_engine_that_there_is_not_is_refused(settings) -> None:
    with pytest.raises(InvalidInputError, match="'wizard'"):
        async with app.embedded(None, settings.replaced(policy_engine="wizard")):
            pass


def test_a_memory_over_the_network_and_in_process_are_one(settings) -> None:
    with memcore.Store.in_memory() as store:
        server = memcore.serve(store, "127.0.0.1:0")
        with MemoryClient.connect(server.address) as client:
            created = client.create_bank("caroline")
            assert store.bank("caroline").bank_uid == created.bank_uid
            with pytest.raises(NotFoundError, match="nobody") as raised:
                client.get_bank("nobody")
            assert raised.value.reason == "BANK_NOT_FOUND"
        server.stop(0)
        assert server.wait(5)
