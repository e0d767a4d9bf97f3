"""How the services are: what each says of itself, and the few numbers that tell whether work gets done."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from grpc_health.v1 import health_pb2

from memalpha.client.memory import AsyncMemoryClient
from memalpha.client.methods import AGENT, CHECK_HEALTH, MEMORY, POLICY
from memalpha.client.policy import AsyncPolicyClient
from memalpha.config import Settings
from memalpha.errors import MemalphaError, UnavailableError
from memalpha.transport import AsyncGrpcTransport

Name = Literal["memory", "policy", "agent"]
Status = Literal["serving", "not_serving", "unreachable"]

_SERVICES: dict[Name, str] = {"memory": MEMORY, "policy": POLICY, "agent": AGENT}
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How one service is.

    `detail` holds, for the memory, `pending_banks`, `pending_chunks`, `parked_banks`, and `unembedded_banks`
    and `unembedded_memories`, which wait for vectors of an external embedder; for the policy,
    `policy_id`, `policy_version`, `engine` and `wire_format`; and `error` if something stayed unknown.
    """

    name: Name
    address: str
    status: Status
    detail: dict[str, str | int] = field(default_factory=dict)


async def health(settings: Settings) -> list[ServiceHealth]:
    """Asks memory, policy and agent at once; a service that does not answer is a finding, not an error."""
    memory = _health("memory", settings.memory_address)
    policy = _health("policy", settings.policy_address)
    agent = _health("agent", settings.agent_address)
    return list(await asyncio.gather(memory, policy, agent))


async def check(name: Name, address: str, *, seconds: float = _SECONDS) -> Status:
    """Asks `grpc.health.v1` whether a service serves.

    Raises:
        MemalphaError: It gave no answer; UnavailableError if nobody did.
    """
    transport = AsyncGrpcTransport(address)
    try:
        request = health_pb2.HealthCheckRequest(service=_SERVICES[name])
        reply = await transport.call(CHECK_HEALTH, request, timeout=seconds)
    finally:
        await transport.close()
    return "serving" if reply.status == health_pb2.HealthCheckResponse.SERVING else "not_serving"


async def _health(name: Name, address: str) -> ServiceHealth:
    try:
        status = await check(name, address)
    except MemalphaError as error:
        answered = not isinstance(error, UnavailableError)
        return ServiceHealth(
            name, address, "not_serving" if answered else "unreachable", {"error": str(error)}
        )
    try:
        return ServiceHealth(name, address, status, await _detail(name, address))
    except MemalphaError as error:
        return ServiceHealth(name, address, status, {"error": str(error)})


async def _detail(name: Name, address: str) -> dict[str, str | int]:
    if name == "memory":
        return await _memory_detail(address)
    return await _policy_detail(address) if name == "policy" else {}


async def _memory_detail(address: str) -> dict[str, str | int]:
    async with AsyncMemoryClient(AsyncGrpcTransport(address)) as memory:
        return await backlog(memory)


async def backlog(memory: AsyncMemoryClient) -> dict[str, str | int]:
    """What a memory has that waits for a policy or for an external embedder."""
    pending = [bank async for bank in memory.pending_banks()]
    unembedded = [bank.stats.unembedded_count async for bank in memory.banks(unembedded_only=True)]
    return {
        "pending_banks": len(pending),
        "pending_chunks": sum(bank.pending_chunks for bank in pending),
        "parked_banks": sum(bank.parked for bank in pending),
        "unembedded_banks": sum(count > 0 for count in unembedded),
        "unembedded_memories": sum(unembedded),
    }


async def _policy_detail(address: str) -> dict[str, str | int]:
    async with AsyncPolicyClient(AsyncGrpcTransport(address)) as policy:
        described = await policy.describe()
    return {
        "policy_id": described.policy.policy_id,
        "policy_version": described.policy.policy_version,
        "engine": described.engine,
        "wire_format": described.wire_format,
    }
