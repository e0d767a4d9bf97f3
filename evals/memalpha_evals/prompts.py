"""The words that models are given by systems and readers, and how a model is asked.

A prompt is a folder with `system.md` and `user.md`, in which `$name` is a variable; its digest is part of the
identity of whatever uses it. Texts of others stand between tags that they cannot close. Only what a model
says after its thought counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from string import Template

from memalpha.agent import Policy, escapes
from memalpha.agent.wire.base import answer_start
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatMessage,
    ChatPrompt,
    GenerateRequest,
    GetPolicyResponse,
    Role,
    SamplingParams,
)
from memalpha_evals.protocols import Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """Two templates, and the SHA-256 (hex) of both."""

    system: Template
    user: Template
    digest: str

    def chat(self, values: Mapping[str, str]) -> ChatPrompt:
        """The prompt with its variables filled in."""
        told = {name: escapes.block(value) for name, value in values.items()}
        system = ChatMessage(role=Role.ROLE_SYSTEM, content=self.system.substitute(told))
        user = ChatMessage(role=Role.ROLE_USER, content=self.user.substitute(told))
        return ChatPrompt(messages=[system, user])


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said, without its thought and the space around it."""

    text: str
    usage: Usage


@lru_cache(maxsize=32)
def load(folder: Path) -> Prompt:
    """Reads a prompt, once in a process."""
    system, user = (
        (folder / f"{part}.md").read_text("utf-8").removesuffix("\n") for part in ("system", "user")
    )
    return Prompt(Template(system), Template(user), sha256(f"{system}\0{user}".encode()).hexdigest())


async def ask(policy: Policy, chat: ChatPrompt, sampling: SamplingParams) -> Said:
    """Has a model complete a prompt.

    Raises:
        MemalphaError: As `Policy.generate`.
    """
    done = await policy.generate(GenerateRequest(chat=chat, sampling=sampling))
    usage = Usage(1, done.usage.prompt_tokens, done.usage.cached_tokens, done.usage.completion_tokens)
    return Said(done.text[answer_start(done.text) :].strip(), usage)


def most_new_tokens(description: GetPolicyResponse, wanted: int) -> int:
    """As many as wanted, but at most a quarter of what the model can hold."""
    context = description.max_context_tokens
    return max(1, min(wanted, context // 4)) if context else wanted


def call_seed(seed: int, *names: object) -> int:
    """A seed of its own for each call, from 0 to 2^31 - 1, the same in every run."""
    digest = sha256("\0".join(map(str, (seed, *names))).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
