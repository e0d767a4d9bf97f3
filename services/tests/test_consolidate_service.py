"""Consolidate over gRPC, with the real agent, and on the command line, with the real store and the rules."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from memalpha import app as composition
from memalpha.agent import Agent, AgentSettings
from memalpha.agent.operations import operations
from memalpha.agent.tools import ToolCall
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ConsolidateRequest, ConsolidateResponse
from memalpha.api.agent.v1alpha1.agent_service_pb2_grpc import add_AgentServiceServicer_to_server
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest
from memalpha.cli import app
from memalpha.client import AgentClient, AsyncAgentClient, AsyncMemoryClient
from memalpha.config import load
from memalpha.errors import BusyError, InvalidInputError, NotFoundError, make
from memalpha.policy.engine import InProcessPolicy
from memalpha.policy.extractive import ExtractiveEngine
from memalpha.services.agent import AgentServicer

SEMANTIC = pb.MEMORY_TYPE_SEMANTIC
FACTS = ["Ann lives in Oslo.", "Ann has a dog.", "Ann lives in Bergen.", "Ann has a dog"]


async def write(memory: AsyncMemoryClient, *facts: str) -> None:
    """Stores facts as a person would."""
    calls = [
        ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": fact}) for fact in facts
    ]
    await memory.ensure_bank("b")
    await memory.apply_operations(ApplyOperationsRequest(bank_id="b", operations=operations(calls, {})))


async def contents(memory: AsyncMemoryClient) -> list[str]:
    return [each.content async for each in memory.memories("b") if each.id]


@asynccontextmanager
async def served(faces: composition.Embedded, agent: Agent | None = None) -> AsyncIterator[str]:
    """The agent service over an agent of this process; yields its address."""
    server = grpc.aio.server()
    add_AgentServiceServicer_to_server(AgentServicer(agent or faces.agent), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0.1)


async def test_pieces_come_over_the_wire_and_a_dry_run_writes_nothing() -> None:
    async with composition.embedded(None, load()) as faces:
        await write(faces.memory, *FACTS)
        before = await faces.memory.get_bank("b")
        async with served(faces) as address, AsyncAgentClient.connect(address) as client:
            request = ConsolidateRequest(bank_id="b", dry_run=True)
            (foreseen,) = [piece async for piece in client.consolidate(request)]
            assert await faces.memory.get_bank("b") == before
            (done,) = [piece async for piece in client.consolidate(ConsolidateRequest(bank_id="b"))]
        gone = ["Ann lives in Oslo.", "Ann has a dog."]
        assert [change.before.content for change in foreseen.changes] == gone
        assert foreseen.changes == done.changes
        assert (done.revision, await contents(faces.memory)) == (before.revision + 1, FACTS[2:])
        assert done.policy.policy_id == "extractive-1"


async def test_the_blocking_client_streams_too() -> None:
    async with composition.embedded(None, load()) as faces:
        await write(faces.memory, *FACTS)
        async with served(faces) as address:

            def consolidate() -> list[int]:
                with AgentClient.connect(address) as client:
                    pieces = client.consolidate(ConsolidateRequest(bank_id="b"))
                    return [len(piece.changes) for piece in pieces]

            assert await asyncio.to_thread(consolidate) == [2]


async def test_errors_keep_their_reasons_over_the_wire() -> None:
    async with (
        composition.embedded(None, load()) as faces,
        served(faces) as address,
        AsyncAgentClient.connect(address) as client,
    ):
        with pytest.raises(NotFoundError) as missing:
            _ = [piece async for piece in client.consolidate(ConsolidateRequest(bank_id="b"))]
        with pytest.raises(InvalidInputError) as bad:
            _ = [p async for p in client.consolidate(ConsolidateRequest(bank_id="b", max_pieces=0))]
    assert (missing.value.reason, bad.value.reason) == ("BANK_NOT_FOUND", "INVALID_MAX_PIECES")


async def test_a_caller_that_stops_listening_ends_the_work() -> None:
    async with composition.embedded(None, load()) as faces:
        await write(faces.memory, *(f"Ann has a dog number {n} in Oslo" for n in range(40)))
        policy = InProcessPolicy(ExtractiveEngine("hermes"))
        agent = Agent(faces.memory, policy, AgentSettings(piece=2))
        pieces = len([p async for p in agent.consolidate(ConsolidateRequest(bank_id="b", dry_run=True))])
        assert pieces >= 20
        ended, seen = threading.Event(), list[int]()

        class Watched:
            async def consolidate(self, request: ConsolidateRequest):
                try:
                    async for piece in agent.consolidate(request):
                        seen.append(piece.pieces_done)
                        yield piece
                        await asyncio.sleep(0.05)
                finally:
                    ended.set()

        watched: object = Watched()
        async with (
            served(faces, watched) as address,  # pyright: ignore[reportArgumentType]
            AsyncAgentClient.connect(address) as client,
        ):
            replies = client.consolidate(ConsolidateRequest(bank_id="b", dry_run=True))
            assert (await anext(replies)).pieces_done == 1
            await replies.aclose()
            assert await asyncio.to_thread(ended.wait, 10)
        assert len(seen) < pieces


class Line:
    """Runs commands on one store in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"

    def run(self, *args: str) -> Result:
        return CliRunner().invoke(app, [*args, "--embedded", str(self.store)])

    def ok(self, *args: str) -> str:
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return result.stdout

    def hold(self, *facts: str) -> None:
        async def opened() -> None:
            async with composition.embedded(self.store, load()) as faces:
                await write(faces.memory, *facts)

        asyncio.run(opened())

    def shown(self) -> Sequence[str]:
        memories = json.loads(self.ok("show", "--bank", "b", "--json"))["memories"]
        return [each["content"] for each in memories if each["id"]]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_the_screen_shows_every_change_and_what_they_come_to(line: Line) -> None:
    line.hold(*FACTS)
    assert line.ok("consolidate", "b") == (
        "piece 1 of 1: 4 memories\n"
        "   - semantic #1  Ann lives in Oslo.\n"
        "   - semantic #2  Ann has a dog.\n"
        "bank b: 1 piece looked at; 2 removed\n"
    )
    assert line.shown() == FACTS[2:]
    assert line.ok("consolidate", "b") == "bank b: 1 piece looked at; nothing to change\n"


def test_a_dry_run_shows_the_same_and_leaves_the_store_as_it_was(line: Line) -> None:
    line.hold(*FACTS)
    before = line.ok("show", "--bank", "b", "--json")
    dry = line.run("consolidate", "b", "--dry-run")
    assert line.ok("show", "--bank", "b", "--json") == before
    assert "would be: 2 removed" in dry.stdout
    assert "dry run: nothing was written" in dry.stderr
    real = line.ok("consolidate", "b")
    assert dry.stdout.replace("would be: ", "") == real
    assert line.ok("show", "--bank", "b", "--json") != before


def test_updates_show_both_texts_and_what_was_refused_says_why(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.hold(*FACTS)
    calls = {
        "old": pb.Operation(update=pb.UpdateOperation(type=SEMANTIC, memory_id=2, content="Ann has a pug.")),
        "new": pb.Operation(insert=pb.InsertOperation(type=SEMANTIC, content="Ann has\x1b[2J two dogs")),
    }
    error = pb.OperationError(reason=pb.OperationError.REASON_DUPLICATE_CONTENT, message="already there")
    changed = pb.OperationApplied(
        operation=calls["old"],
        before=pb.Memory(id=2, type=SEMANTIC, content="Ann has a dog."),
        result=pb.OperationResult(memory=pb.Memory(id=2, type=SEMANTIC, content="Ann has a pug.")),
    )
    added = pb.OperationApplied(
        operation=calls["new"],
        result=pb.OperationResult(memory=pb.Memory(type=SEMANTIC, content="Ann has\x1b[2J two dogs")),
    )
    refused = pb.OperationApplied(operation=calls["old"], result=pb.OperationResult(error=error))

    async def pieces(self: Agent, request: ConsolidateRequest) -> AsyncIterator[ConsolidateResponse]:
        yield ConsolidateResponse(changes=[changed, added], memory_ids=[2], pieces_done=1, pieces_total=2)
        yield ConsolidateResponse(
            changes=[refused], refused="already there", memory_ids=[2, 3], pieces_done=2, pieces_total=2
        )

    monkeypatch.setattr(Agent, "consolidate", pieces)
    assert line.ok("consolidate", "b", "--dry-run") == (
        "piece 1 of 2: 1 memory\n"
        "   ~ semantic #2  \n"
        "     - Ann has a dog.\n"
        "     + Ann has a pug.\n"
        "   + semantic  Ann has\\x1b[2J two dogs\n"
        "piece 2 of 2: 2 memories\n"
        "   x update semantic #2: Ann has a pug.\n"
        "     duplicate_content: already there\n"
        "   left as it is: already there\n"
        "bank b: 2 pieces looked at; would be: 1 added, 1 changed\n"
        "1 piece left as before\n"
    )


def test_json_is_one_piece_per_line_with_its_documented_keys(line: Line) -> None:
    line.hold(*FACTS)
    (piece,) = map(json.loads, line.ok("consolidate", "b", "--dry-run", "--json").splitlines())
    assert list(piece) == [
        *("changes", "refused", "memory_ids", "pieces_done", "pieces_total", "next_memory_id", "revision"),
        *("policy", "usage", "prompt_digest"),
    ]
    assert [change["before"]["content"] for change in piece["changes"]] == FACTS[:2]
    assert {*piece["changes"][0]} == {"operation", "result", "before"}


def test_what_is_left_of_a_large_bank_can_be_gone_on_with(line: Line) -> None:
    # More than two pieces of 20.
    line.hold(*(f"Ann has a dog number {n} in Oslo" for n in range(45)))
    first = line.run("consolidate", "b", "--max-pieces", "1")
    assert "more is left: go on with --from " in first.stderr
    start = first.stderr.rstrip().rsplit(" ", 1)[1]
    rest = line.run("consolidate", "b", "--from", start)
    assert rest.exit_code == 0
    assert "more is left" not in rest.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [(KeyboardInterrupt(), 130), (make(BusyError, "POLICY_OVERLOADED", "not now"), 1)],
    ids=["Ctrl-C", "outage"],
)
def test_whatever_ends_it_early_the_screen_says_from_where_to_go_on(
    line: Line, monkeypatch: pytest.MonkeyPatch, end: BaseException, code: int
) -> None:
    async def pieces(self: Agent, request: ConsolidateRequest) -> AsyncIterator[ConsolidateResponse]:
        yield ConsolidateResponse(memory_ids=[1, 2], pieces_done=1, pieces_total=2, next_memory_id=37)
        raise end

    line.hold(*FACTS)
    monkeypatch.setattr(Agent, "consolidate", pieces)
    result = line.run("consolidate", "b")
    assert result.exit_code == code
    assert "more is left: go on with --from 37" in result.stderr


def test_a_bank_of_one_memory_has_nothing_to_put_in_order(line: Line) -> None:
    line.hold("Ann has a dog")
    assert line.ok("consolidate", "b") == "bank b: 0 pieces looked at; nothing to change\n"
    assert line.ok("consolidate", "b", "--json") == ""


def test_history_and_recall_name_the_policy_that_put_a_bank_in_order(line: Line) -> None:
    line.hold(*FACTS)
    line.ok("consolidate", "b")
    assert "edit by extractive-1" in line.ok("history", "--bank", "b")
    assert "edited by hand" in line.ok("recall", "dog", "--bank", "b")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--max-pieces", "0"), "max_pieces must be between 1 and 10000, got 0"),
        (("--from", "-1"), "--from must be between 0 and"),
    ],
)
def test_numbers_that_make_no_sense_are_bad_usage(line: Line, args: tuple[str, ...], message: str) -> None:
    line.hold(*FACTS)
    result = line.run("consolidate", "b", *args)
    assert result.exit_code == 2
    assert message in result.output


def test_a_bank_that_is_not_there_is_an_error(line: Line) -> None:
    line.hold(*FACTS)
    result = line.run("consolidate", "nobody")
    assert result.exit_code == 1
    assert "BANK_NOT_FOUND" in result.output
