"""What systems are made from, and the one shape all of them have.

A module of this package says how its system reads and what it shows: a `Memory`. Everything else is the same
for all: a session whose model calls are on record and can be replayed (`recording`), a name, a line about it
and an identity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from memalpha.agent import AgentSettings, Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.errors import InvalidInputError, UnsupportedError, make
from memalpha_evals.endpoints import policy_identity
from memalpha_evals.protocols import Context, Session
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.recording import Calls, RecordedSession

LEAST_BUDGET = 64
"""o200k tokens; recall packs no less."""


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What all systems of a run have in common.

    Attributes:
        budget: o200k tokens of a context; what a memory of one text may have at most.
        policy: Writes memory; None: there is none, and only systems that need none can be made.
        description: What `policy.describe()` said when the run began.
        agent: How `memalpha` reads; what a policy was trained with wins.
        prompt_packs: Folders of packs that the policy may have been trained with, besides the built-in ones.
        passage_tokens: Most o200k tokens of what the rag systems find.
        temperature: Of all model calls of the other systems; None leaves it to the policy.
        seed: Of all model calls; None leaves it to the policy.
    """

    budget: int = 4096
    policy: Policy | None = None
    description: GetPolicyResponse | None = None
    agent: AgentSettings = field(default_factory=AgentSettings)
    prompt_packs: tuple[str, ...] = ()
    passage_tokens: int = 256
    temperature: float | None = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no system could work with."""
        if self.budget < LEAST_BUDGET:
            raise _invalid("budget", f"must be at least {LEAST_BUDGET} tokens", self.budget)
        if self.passage_tokens < 16:
            raise _invalid("passage_tokens", "must be at least 16", self.passage_tokens)

    def described(self, system: str) -> GetPolicyResponse:
        """The policy's description, for a system that needs a policy.

        Raises:
            InvalidInputError: POLICY_NOT_NAMED.
        """
        if self.policy is None or self.description is None:
            message = f"system {system} needs a policy that writes its memory: --policy extractive or a model"
            raise make(InvalidInputError, "POLICY_NOT_NAMED", message, system=system)
        return self.description

    def model(self, system: str) -> GetPolicyResponse:
        """As `described`, for a system that needs a model.

        Raises:
            InvalidInputError: POLICY_NOT_NAMED.
            UnsupportedError: POLICY_MODEL_FREE.
        """
        description = self.described(system)
        if description.model_free:
            policy = description.policy.policy_id
            message = (
                f"system {system} needs a model, and policy {policy} is none: it serves memalpha only; "
                "give --policy HOST:PORT, transformers:FOLDER or openai:MODEL"
            )
            raise make(UnsupportedError, "POLICY_MODEL_FREE", message, system=system, policy=policy)
        return description


class Memory(Protocol):
    """What one system makes of one stream. Calls its policy by `Calls` only, so that it can be replayed."""

    async def read(self, place: int) -> None:
        """Reads chunk `place`. If it raises, the memory is as if it had not been called."""
        ...

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        """As `Session.context`."""
        ...

    async def close(self) -> None:
        """Frees what it holds."""
        ...


Begin = Callable[[Stream, AskedQuestion | None, Calls], Awaitable[Memory]]
"""A new memory for a stream; the question is given to systems that are query-aware."""


@dataclass(frozen=True, slots=True)
class Design:
    """A `System`: see there for the fields it has; `begin` makes its memories, `builds` if it reads ahead."""

    name: str
    about: str
    begin: Begin
    options: SystemOptions
    settings: Mapping[str, Any] = field(default_factory=dict)
    query_aware: bool = False
    builds: bool = True
    asks: bool = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `System.identity`: settings, and the policy if it asks one."""
        description = self.options.description if self.asks else None
        policy = {"policy": policy_identity(description)} if description else {}
        return {"system": self.name, **self.settings, **policy}

    def steps(self, stream: Stream) -> int:
        """See `System.steps`."""
        return len(stream.chunks) if self.builds else 0

    async def open(self, stream: Stream, asked: AskedQuestion | None) -> Session:
        """See `System.open`."""
        calls = Calls(self.options.policy, self.options.description, self.options.seed, stream.id)
        return RecordedSession(stream, await self.begin(stream, asked, calls), calls)


def _invalid(name: str, rule: str, value: object) -> InvalidInputError:
    return make(InvalidInputError, "INVALID_OPTION", f"{name} {rule}, not {value}", option=name, value=value)
