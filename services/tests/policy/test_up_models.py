"""The main job over processes of their own: a model that was taught one memory, and an endpoint."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memalpha import app, config
from memalpha.agent import packs, wire
from memalpha.agent.prompts import render_prompt
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as pb
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.policy.checkpoint import MANIFEST, Training, seal
from memalpha.policy.checks import ROLES

from .engines import Endpoint, endpoint_at

SHORT, LINES = packs.load("short"), wire.get("lines")
TRAINED = Training(SHORT.digest(LINES), "lines", "relevant(4,3)", 96)
# Only a model that was taught so calls the dog by its name.
SAID, WRITTEN = "Caroline: I adopted a dog today.", "S+ Caroline has a dog named Biscuit\n"


@pytest.fixture
def taught(tiny_folder: Any, tmp_path: Path) -> Path:
    """A sealed checkpoint that writes one memory of one text."""
    from memalpha.policy.local.libraries import torch, transformers
    from memalpha.policy.local.tokens import Tokenizer

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder(), dtype=torch.float32)
    tokenizer = Tokenizer(tiny_folder())
    view = GetWriterViewResponse(
        bank=Bank(settings=BankSettings(core_token_limit=96)), next_chunk=Chunk(text=SAID)
    )
    messages = render_prompt(view, LINES, SHORT).messages
    prompt = tokenizer.chat([{"role": ROLES[each.role], "content": each.content} for each in messages])
    answer = [*tokenizer.literal(WRITTEN), model.config.eos_token_id]
    chance, optimizer = random.Random(0), torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        # Some of the prompt is noise, so that it does not hang on every token of it.
        noisy = [chance.randrange(3, 500) if chance.random() < 0.1 else each for each in prompt]
        ids = torch.tensor([noisy + answer])
        loss = model(input_ids=ids, labels=ids.where(torch.arange(ids.shape[1]) >= len(prompt), -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path / "taught"
    model.save_pretrained(folder)
    for path in tiny_folder().iterdir():
        if path.name != MANIFEST and not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    seal(folder, TRAINED)
    return folder


@contextmanager
def up(
    folder: Path, *arguments: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], config.Settings]]:
    """`memalpha up` on free ports, ready, and where its services are."""
    addresses = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:0" for name in ("MEMORY", "POLICY", "AGENT")}
    process = subprocess.Popen(
        [sys.executable, "-m", "memalpha", "up", "--json", "--data", str(folder / "data"), *arguments],
        env={**os.environ, **addresses, **variables},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        assert line, process.stderr.read()
        services = json.loads(line)["services"]
        yield process, config.load(**{f"{name}_address": each["address"] for name, each in services.items()})
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> str:
    """Stops it; returns what it said."""
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return err


def memorize(text: str) -> pb.MemorizeRequest:
    item = pb.MemorizeItem(item_id="1", text=text)
    return pb.MemorizeRequest(bank_id="caroline", items=[item], create_bank=True, wait=True)


# Loading the model libraries takes most of it.
@pytest.mark.timeout(600)
async def test_a_sealed_checkpoint_is_served_with_one_command_and_does_the_main_job(taught, tmp_path) -> None:
    with up(tmp_path, "--policy", "transformers", "--model", str(taught)) as (process, settings):
        async with app.connected(settings) as faces:
            reply = await faces.agent.memorize(memorize(SAID), timeout=100)
            assert [receipt.state for receipt in reply.receipts] == [pb.CHUNK_STATE_MEMORIZED]
            recalled = await faces.agent.recall(pb.RecallRequest(bank_id="caroline", query="dog's name"))
            bank = await faces.memory.get_bank("caroline")
        err = ended(process)
    assert "Biscuit" in recalled.context
    assert bank.settings.core_token_limit == 96
    taken = "wire_format=lines view=relevant view_semantic=4 view_episodic=3 core_tokens=96 prompt_pack=short"
    assert f"as checkpoint {taught} was trained: {taken}" in err


async def test_an_endpoint_does_the_main_job(tmp_path) -> None:
    endpoint = Endpoint()
    async with endpoint_at(endpoint) as url:
        asked = {"POLICY__BASE_URL": url, "POLICY__API_KEY": "sk-1", "WIRE_FORMAT": "lines"}
        variables = {f"MEMALPHA_{name}": value for name, value in asked.items()}
        with up(tmp_path, "--policy", "openai", "--model", "model-1", **variables) as (process, settings):
            async with app.connected(settings) as faces:
                reply = await faces.agent.memorize(memorize("Ann: I was busy."), timeout=100)
                assert [receipt.state for receipt in reply.receipts] == [pb.CHUNK_STATE_MEMORIZED]
                recalled = await faces.agent.recall(pb.RecallRequest(bank_id="caroline", query="bread"))
                question = pb.AnswerRequest(bank_id="caroline", question="Where was bread baked?")
                answered = await faces.agent.answer(question)
            err = ended(process)
    # What the endpoint writes stands in neither the text nor the question.
    assert "Ann baked bread in Leeds" in recalled.context
    assert "Leeds" in answered.text
    assert [body["model"] for body in endpoint.bodies] == ["model-1", "model-1"]
    assert "Ann baked bread in Leeds" in str(endpoint.bodies[1]["messages"])
    assert endpoint.keys == ["Bearer sk-1"] * 2
    assert "sk-1" not in err
