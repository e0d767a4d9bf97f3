"""The life of a service process, and what its calls answer when something goes wrong."""

import asyncio
import json
import logging
import os
import signal
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memalpha import config, telemetry
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from memalpha.client import AsyncAgentClient, AsyncPolicyClient, methods
from memalpha.client.health import check, health
from memalpha.errors import (
    BusyError,
    ConflictError,
    InternalError,
    InvalidInputError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memalpha.services import agent as agent_service
from memalpha.services.policy import PolicyServicer
from memalpha.services.policy import run as run_policy
from memalpha.services.serving import Gate, check_address, serve
from memalpha.up.ports import free_port


class Engine:
    """Writes one piece, waits until it is let go, and writes the rest."""

    def __init__(self, error=None):
        self.error = error
        self.go = asyncio.Event()
        self.started = asyncio.Event()
        self.closed = False

    def describe(self):
        return pb.GetPolicyResponse(policy=pb.PolicyIdentity(policy_id="scripted-1", policy_version=3))

    async def generate(self, request):
        self.started.set()
        try:
            yield pb.GenerateResponse(text="one ")
            await self.go.wait()
            if self.error is not None:
                raise self.error
            yield pb.GenerateResponse(text="two", finish_reason=pb.FINISH_REASON_STOP)
        finally:
            self.closed = True


@pytest.fixture
def _signals_and_logs_as_before():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before
    for number, handler in handlers.items():
        signal.signal(number, handler)


pytestmark = pytest.mark.usefixtures("_signals_and_logs_as_before")


def free_address() -> str:
    return f"127.0.0.1:{free_port('127.0.0.1')}"


async def until_serving(name, address) -> None:
    for _ in range(200):
        try:
            if await check(name, address) == "serving":
                return
        except UnavailableError:
            await asyncio.sleep(0.02)
    raise AssertionError(f"{name} did not get ready")


@asynccontextmanager
async def policy_service(engine, *, grace_seconds=5.0):
    """The policy service in this process; yields its address, a client and the task of its life."""
    address, servicer = free_address(), PolicyServicer(engine)
    life = asyncio.create_task(
        serve(
            address,
            methods.POLICY,
            lambda server: add_PolicyServiceServicer_to_server(servicer, server),
            grace_seconds=grace_seconds,
        )
    )
    await until_serving("policy", address)
    async with AsyncPolicyClient.connect(address) as client:
        yield SimpleNamespace(address=address, client=client, life=life, servicer=servicer)
        if not life.done():
            os.kill(os.getpid(), signal.SIGTERM)
            assert await life == 0


async def test_a_stopping_service_says_so_and_finishes_the_calls_in_flight() -> None:
    engine = Engine()
    async with policy_service(engine) as service, grpc.aio.insecure_channel(service.address) as channel:
        call = asyncio.create_task(service.client.generate(pb.GenerateRequest()))
        await engine.started.wait()
        request = health_pb2.HealthCheckRequest(service=methods.POLICY)
        checks: Any = health_pb2_grpc.HealthStub(channel)
        watch = checks.Watch(request)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        engine.go.set()
        assert (await call).text == "one two"
        assert await service.life == 0


async def test_health_follows_an_engine_that_is_down_for_a_while() -> None:
    engine: Any = Engine()
    engine.serving = True
    address, statuses = free_address(), health_pb2.HealthCheckResponse
    life = asyncio.create_task(run_policy(engine, address, 1.0))
    await until_serving("policy", address)
    async with grpc.aio.insecure_channel(address) as channel:
        checks: Any = health_pb2_grpc.HealthStub(channel)
        watch = checks.Watch(health_pb2.HealthCheckRequest(service=methods.POLICY))
        assert (await watch.read()).status == statuses.SERVING
        for serving, said in ((False, statuses.NOT_SERVING), (True, statuses.SERVING)):
            engine.serving = serving
            assert (await watch.read()).status == said
        watch.cancel()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await life == 0


async def test_a_call_that_outlasts_the_grace_is_cut_off() -> None:
    engine = Engine()
    async with policy_service(engine, grace_seconds=0.2) as service:
        call = asyncio.create_task(service.client.generate(pb.GenerateRequest()))
        await engine.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(service.life, 5) == 0
        with pytest.raises(UnavailableError):
            await call


async def test_an_error_of_the_engine_reaches_the_caller_as_it_is() -> None:
    engine = Engine(make(BusyError, "WEIGHTS_UPDATING", "weights are being loaded; try again"))
    engine.go.set()
    async with policy_service(engine) as service:
        with pytest.raises(BusyError, match="weights are being loaded") as raised:
            await service.client.generate(pb.GenerateRequest())
    assert raised.value.reason == "WEIGHTS_UPDATING"


async def test_an_unexpected_error_is_internal_and_its_traceback_stays_in_the_log(capsys) -> None:
    telemetry.configure("info", "json")
    engine = Engine(ZeroDivisionError("secret detail"))
    engine.go.set()
    async with policy_service(engine) as service:
        with pytest.raises(InternalError) as raised:
            await service.client.generate(pb.GenerateRequest())
    assert "secret detail" not in str(raised.value)
    assert "Traceback" not in str(raised.value)
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (failure,) = [entry for entry in logged if entry["event"] == "call failed"]
    assert failure["request_id"] == raised.value.metadata["request_id"]
    assert "ZeroDivisionError: secret detail" in failure["exception"]


async def test_health_finds_what_serves_and_what_cannot_be_reached() -> None:
    nobody = "127.0.0.1:1"
    async with policy_service(Engine()) as service:
        settings = config.load(
            policy_address=service.address, memory_address=nobody, agent_address=service.address
        )
        memory, policy, agent = await health(settings)
    assert (memory.name, memory.address, memory.status) == ("memory", nobody, "unreachable")
    assert memory.detail["error"]
    assert (policy.status, policy.detail["policy_id"], policy.detail["policy_version"]) == (
        "serving",
        "scripted-1",
        3,
    )
    # At the agent's address somebody answers, but knows no agent.
    assert (agent.name, agent.status) == ("agent", "not_serving")


async def test_weights_older_than_asked_for_are_refused() -> None:
    engine = Engine()
    engine.go.set()
    async with policy_service(engine) as service:
        with pytest.raises(UnsupportedError, match=r"min_policy_version 4: .* version 3") as raised:
            await service.client.generate(pb.GenerateRequest(min_policy_version=4))
        assert raised.value.reason == "POLICY_TOO_OLD"
        assert (await service.client.generate(pb.GenerateRequest(min_policy_version=3))).text == "one two"


async def test_calls_beyond_the_limit_are_refused_and_places_are_given_back() -> None:
    engine = Engine()
    async with policy_service(engine) as service:
        service.servicer._completions = Gate(1)
        first = asyncio.create_task(service.client.generate(pb.GenerateRequest()))
        await engine.started.wait()
        with pytest.raises(BusyError, match="at most 1 at once") as raised:
            await service.client.generate(pb.GenerateRequest())
        assert raised.value.reason == "OVERLOADED"
        engine.go.set()
        await first
        assert (await service.client.generate(pb.GenerateRequest())).text == "one two"


class Roomy(Engine):
    """Takes 300 completions at once, which is more than a service takes calls by itself."""

    capacity = 300

    def __init__(self):
        super().__init__()
        self.inside = 0

    async def generate(self, request):
        if self.inside == self.capacity:
            raise make(BusyError, "POLICY_OVERLOADED", "completions at once: at most 300")
        self.inside += 1
        async for piece in super().generate(request):
            yield piece


async def test_a_service_lets_in_what_its_engine_takes_and_the_engine_refuses_the_rest() -> None:
    engine = Roomy()
    async with policy_service(engine) as service, AsyncPolicyClient.connect(service.address) as other:
        # One client has at most 256 calls in flight.
        calls = [
            client.generate(pb.GenerateRequest()) for client in (service.client, other) for _ in range(155)
        ]
        asked = asyncio.gather(*calls, return_exceptions=True)
        while engine.inside < 300:
            await asyncio.sleep(0.01)
        engine.go.set()
        replies = await asked
    refused = [each.reason for each in replies if isinstance(each, BusyError)]
    # Ten of 310, none of them by the gate, whose reason is OVERLOADED.
    assert refused == ["POLICY_OVERLOADED"] * 10


async def test_cancelling_a_call_ends_its_generation() -> None:
    engine = Engine()
    async with policy_service(engine) as service:
        call = asyncio.create_task(service.client.generate(pb.GenerateRequest()))
        await engine.started.wait()
        call.cancel()
        for _ in range(100):
            if engine.closed:
                break
            await asyncio.sleep(0.02)
        assert engine.closed


class ScriptedAgent:
    """Answers at once unless `go` is cleared; its worker runs until it is told to stop, or dies."""

    def __init__(self, *, dies=False):
        self.dies = dies
        self.worker_ended = False
        self.go = asyncio.Event()
        self.go.set()

    async def memorize(self, request, timeout=None):
        self.timeout = timeout
        await self.go.wait()
        return agent_pb.MemorizeResponse(pending_chunks=len(request.items))

    async def recall(self, request):
        return agent_pb.RecallResponse(context=request.query)

    async def run_worker(self, stop) -> None:
        if self.dies:
            raise OSError("worker broke")
        await stop.wait()
        self.worker_ended = True


async def test_the_agent_service_answers_and_its_worker_ends_with_it() -> None:
    address = free_address()
    agent: Any = ScriptedAgent()
    life = asyncio.create_task(agent_service.run(agent, address, 5.0))
    await until_serving("agent", address)
    async with AsyncAgentClient.connect(address) as client:
        request = agent_pb.MemorizeRequest(bank_id="b", items=[agent_pb.MemorizeItem(item_id="1", text="x")])
        assert (await client.memorize(request, timeout=60)).pending_chunks == 1
        # The reply needs some of the caller's sixty seconds.
        assert 50 < agent.timeout < 60
        assert (await client.recall(agent_pb.RecallRequest(bank_id="b", query="who?"))).context == "who?"
    os.kill(os.getpid(), signal.SIGINT)
    assert await life == 0
    assert agent.worker_ended


async def test_calls_that_wait_for_the_policy_leave_room_for_questions(monkeypatch) -> None:
    monkeypatch.setattr(agent_service, "Gate", lambda: Gate(1))
    address = free_address()
    agent: Any = ScriptedAgent()
    agent.go.clear()
    life = asyncio.create_task(agent_service.run(agent, address, 5.0))
    await until_serving("agent", address)
    async with AsyncAgentClient.connect(address) as client:
        waiting = [asyncio.create_task(client.memorize(agent_pb.MemorizeRequest())) for _ in range(2)]
        refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(BusyError, match="at most 1 at once"):
            await refused.pop()
        assert (await client.recall(agent_pb.RecallRequest(query="who?"))).context == "who?"
        agent.go.set()
        await asyncio.wait(waiting)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await life == 0


async def test_a_dead_worker_ends_the_agent_service_loudly(capsys) -> None:
    telemetry.configure("info", "json")
    agent: Any = ScriptedAgent(dies=True)
    status = await asyncio.wait_for(agent_service.run(agent, free_address(), 5.0), 10)
    assert status == 1
    assert "OSError: worker broke" in capsys.readouterr().err


def test_an_address_in_use_is_refused() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ConflictError, match="another process listens") as raised:
            check_address(f"127.0.0.1:{listener.getsockname()[1]}")
    assert raised.value.reason == "ADDRESS_IN_USE"


@pytest.mark.parametrize(
    ("address", "reason"),
    [("0.0.0.0:50099", "NON_LOOPBACK_ADDRESS"), ("no.such.host.invalid:50099", "ADDRESS_NOT_USABLE")],
)
def test_an_address_that_must_not_or_cannot_be_served_is_refused(address, reason) -> None:
    with pytest.raises(InvalidInputError, match=address) as raised:
        check_address(address)
    assert raised.value.reason == reason
