"""Answers from end to end: the command, the agent service, and a reader that is a service of its own."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

import memcore
from memalpha.agent import Agent, packs
from memalpha.api.agent.v1alpha1.agent_service_pb2 import AnswerRequest
from memalpha.api.agent.v1alpha1.agent_service_pb2_grpc import add_AgentServiceServicer_to_server
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import (
    PolicyServiceServicer,
    add_PolicyServiceServicer_to_server,
)
from memalpha.cli import app
from memalpha.client import AsyncAgentClient, AsyncMemoryClient, AsyncPolicyClient
from memalpha.errors import NotFoundError, UnsupportedError
from memalpha.policy.engine import InProcessPolicy, create
from memalpha.services.agent import AgentServicer
from memalpha.transport import AsyncEmbeddedTransport

TEXT = "Ada: My dog is called Biscuit.\nAda: I live in Oslo.\n"


class Reader(PolicyServiceServicer):
    """Quotes the line of its prompt that holds `Biscuit`, under the name it has there."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def GetPolicy(self, request: pb.GetPolicyRequest, context: grpc.ServicerContext) -> pb.GetPolicyResponse:
        return pb.GetPolicyResponse(policy=pb.PolicyIdentity(policy_id="quoting-1"), wire_format="hermes")

    def Score(self, request: pb.ScoreRequest, context: grpc.ServicerContext) -> pb.ScoreResponse:
        raise NotImplementedError

    def LoadWeights(
        self, request: pb.LoadWeightsRequest, context: grpc.ServicerContext
    ) -> pb.LoadWeightsResponse:
        raise NotImplementedError

    def Generate(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GenerateResponse]:
        prompt = request.chat.messages[-1].content
        self.prompts.append(prompt)
        lines = [line for line in prompt.split("\n") if "Biscuit" in line]
        yield pb.GenerateResponse(text=lines[0].partition("]")[0] + "] is " if lines else "I cannot tell")
        yield pb.GenerateResponse(
            text="what you want" if lines else "",
            finish_reason=pb.FINISH_REASON_STOP,
            policy=pb.PolicyIdentity(policy_id="quoting-1"),
            usage=pb.Usage(prompt_tokens=1234, completion_tokens=5),
        )


@contextmanager
def serving(reader: Reader) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    add_PolicyServiceServicer_to_server(reader, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A store whose bank `ada` knows of the dog."""
    (tmp_path / "notes.txt").write_text(TEXT)
    done = run(
        "memorize", str(tmp_path / "notes.txt"), "--bank", "ada", "--embedded", str(tmp_path / "store")
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "store"


def run(*args: str) -> Result:
    return CliRunner().invoke(app, [*args])


def test_the_command_prints_the_answer_and_the_memories_it_cites(bank: Path) -> None:
    with serving(Reader()) as address:
        done = run("answer", "ada", "What is the dog called?", "--embedded", str(bank), "--reader", address)
    assert done.exit_code == 0, done.output
    answer, *cited = done.stdout.strip().split("\n")
    assert answer.endswith("] is what you want")
    assert len(cited) == 1
    assert cited[0].strip().startswith(answer.partition(" ")[0])
    assert "Biscuit" in cited[0]
    assert "1 of " in done.stderr
    assert "1,234 + 5 tokens" in done.stderr


def test_as_json_the_answer_tells_what_was_shown_and_what_was_cited(bank: Path) -> None:
    reader = Reader()
    with serving(reader) as address:
        args = ("answer", "ada", "Biscuit?", "--embedded", str(bank), "--reader", address, "--json")
        reply = json.loads(run(*args).stdout)
    cited = [each["memory"]["content"] for each in reply["evidence"] if each.get("cited")]
    assert len(cited) == 1
    assert "Biscuit" in cited[0]
    assert len(reply["evidence"]) > 1
    assert reply["reader"]["policy_id"] == "quoting-1"
    assert all(f"[{each['alias']}] " in reader.prompts[0] for each in reply["evidence"])


def test_a_prompt_pack_of_ones_own_is_what_the_reader_sees(bank: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for file in (Path(packs.__file__).parent / "templates" / "short").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "reader_user.md").write_text("$core $semantic $episodic QUESTION: $question")
    reader = Reader()
    args = ("answer", "ada", "Biscuit?", "--embedded", str(bank), "--prompt-pack", str(folder))
    with serving(reader) as address:
        done = run(*args, "--reader", address)
    assert done.exit_code == 0, done.output
    assert reader.prompts[0].endswith("QUESTION: Biscuit?")


def test_the_extractive_policy_refuses_to_answer_and_says_what_to_do(bank: Path) -> None:
    done = run("answer", "ada", "Which dog?", "--embedded", str(bank))
    assert done.exit_code == 1
    assert "reader extractive-1 is no model and cannot answer questions" in " ".join(done.stderr.split())
    assert "reader_address" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--reader", "127.0.0.1:1"), "go with --embedded"),
        (("--embedded", "STORE", "--reader", "nowhere"), "must be host:port"),
        (("--embedded", "STORE", "--prompt-pack", "verbose"), "one of default, short, paper or a folder"),
        (("--embedded", "STORE", "--limit", "0"), "limit must be between 1 and 1000"),
        (("--embedded", "STORE", "--budget", "63"), "token_budget must be between 64"),
    ],
)
def test_bad_options_are_refused_with_the_rule(bank: Path, args: tuple[str, ...], message: str) -> None:
    given = [str(bank) if each == "STORE" else each for each in args]
    done = run("answer", "ada", "Which dog?", *given)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_reader_that_is_away_is_named(bank: Path) -> None:
    done = run("answer", "ada", "Which dog?", "--embedded", str(bank), "--reader", "127.0.0.1:1")
    assert done.exit_code == 3
    assert "127.0.0.1:1" in done.stderr


@contextmanager
def agent_service(server: grpc.aio.Server, agent: Agent) -> Iterator[str]:
    add_AgentServiceServicer_to_server(AgentServicer(agent), server)
    yield f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"


async def test_over_the_network_the_agent_answers_and_a_model_free_policy_is_unimplemented() -> None:
    policy = InProcessPolicy(create("extractive", wire_format="hermes"))
    server = grpc.aio.server()
    with memcore.Store.in_memory() as store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        await memory.ensure_bank("b")
        with agent_service(server, Agent(memory, policy)) as address:
            await server.start()
            async with AsyncAgentClient.connect(address) as client, grpc.aio.insecure_channel(address) as raw:
                with pytest.raises(UnsupportedError, match="extractive-1 is no model") as caught:
                    await client.answer(AnswerRequest(bank_id="b", question="Which dog?"))
                assert caught.value.reason == "UNIMPLEMENTED"
                call = raw.unary_unary("/memalpha.api.agent.v1alpha1.AgentService/Answer")
                with pytest.raises(grpc.aio.AioRpcError) as status:
                    await call(AnswerRequest(bank_id="b", question="Which dog?").SerializeToString())
                assert status.value.code() is grpc.StatusCode.UNIMPLEMENTED
            await server.stop(None)


async def test_over_the_network_an_answer_has_its_evidence() -> None:
    policy = InProcessPolicy(create("extractive", wire_format="hermes"))
    server = grpc.aio.server()
    with serving(Reader()) as reader_address, memcore.Store.in_memory() as store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        await memory.ensure_bank("b")
        await memory.append_chunks("b", [Chunk(chunk_id="c", text="Ada: My dog is called Biscuit.")])
        async with AsyncPolicyClient.connect(reader_address) as reader:
            with agent_service(server, Agent(memory, policy, reader=reader)) as address:
                await server.start()
                async with AsyncAgentClient.connect(address) as client:
                    reply = await client.answer(AnswerRequest(bank_id="b", question="Which dog?"))
                    with pytest.raises(NotFoundError):
                        await client.answer(AnswerRequest(bank_id="other", question="Which dog?"))
                await server.stop(None)
    (only,) = reply.evidence
    assert (only.pending.chunk_id, only.alias, only.cited) == ("c", "a", True)
    assert reply.usage.prompt_tokens == 1234
