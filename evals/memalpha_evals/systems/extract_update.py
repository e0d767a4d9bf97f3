"""`extract-update`: facts are drawn from each chunk and checked one by one against the memories like them.

In the manner of mem0 (arXiv 2504.19413), with two model calls a chunk: the first writes facts; the memories
most similar to each are then shown to the second, which says what to add, update and delete. Memories are
found as `memalpha`'s are. Models write plain lines instead of JSON, which small ones can; a line that says
nothing of this kind changes nothing. The words of the prompts are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import memcore
from memalpha.api.policy.v1alpha1.policy_service_pb2 import SamplingParams
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.memorized import InlineTransport
from memalpha_evals.prompts import Prompt, ask, load, most_new_tokens
from memalpha_evals.protocols import Context
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recalled import recalled
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.rewritten import TEMPLATES

NAME = "extract-update"
SIMILAR = 5
"""Memories that are looked at for each fact."""
MOST_FACTS = 50
"""Of one chunk; a model that goes on is repeating itself."""
MOST_NEW_TOKENS = 2048
_BANK = "stream"
_FACT = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s+(\S.*)")
_CHANGE = re.compile(
    r"\W*(?:(?P<add>add)|(?P<update>update)\s+(?P<old>\d+))\s*:\s*(?P<text>\S.*)|\W*delete\s+(?P<gone>\d+)\b.*",
    re.IGNORECASE,
)


def extract_update(options: SystemOptions) -> Design:
    """The system `extract-update`.

    Raises:
        InvalidInputError: POLICY_NOT_NAMED.
        UnsupportedError: POLICY_MODEL_FREE.
    """
    most = most_new_tokens(options.model(NAME), MOST_NEW_TOKENS)
    sampling = SamplingParams(max_tokens=most, temperature=options.temperature)

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Facts:
        return _Facts(stream, calls, sampling)

    settings: dict[str, Any] = {
        "prompt_digests": [_prompt(each).digest for each in ("facts", "changes")],
        "similar": SIMILAR,
        "max_new_tokens": most,
        "temperature": options.temperature,
    }
    about = "the model draws facts from each chunk and updates the memories like them"
    return Design(NAME, about, begin, options, settings, asks=True)


class _Facts:
    """A bank of facts: episodic ones if their chunk has a time, else semantic ones."""

    def __init__(self, stream: Stream, calls: Calls, sampling: SamplingParams) -> None:
        self._chunks = stream.chunks
        self._calls = calls
        self._sampling = sampling
        self._store = memcore.Store.in_memory()
        self._bank = self._store.create_bank(_BANK, durability="volatile")
        self._client = AsyncMemoryClient(InlineTransport(self._store))

    async def read(self, place: int) -> None:
        chunk = self._chunks[place]
        found = facts(await self._said("facts", time=chunk.event_time, chunk=chunk.text))
        similar = self._similar(found)
        if similar:
            told = {
                "memories": "\n".join(f"{n}. {_line(each)}" for n, each in enumerate(similar, start=1)),
                "facts": "\n".join(f"- {each}" for each in found),
            }
            operations = list(
                changes(await self._said("changes", time=chunk.event_time, **told), similar, chunk.event_time)
            )
        else:
            operations = [_insert(each, chunk.event_time) for each in found]
        if operations:
            self._bank.apply(operations)

    async def _said(self, prompt: str, **values: str) -> str:
        return (await ask(self._calls, _prompt(prompt).chat(values), self._sampling)).text

    def _similar(self, found: Sequence[str]) -> list[memcore.Memory]:
        """The memories most like the facts, the oldest first, each once."""
        if not found:
            return []
        hits = self._bank.search(found, limit=SIMILAR, method="vector", exact=True)
        alike = {hit.memory.id: hit.memory for each in hits for hit in each}
        return [alike[id_] for id_ in sorted(alike)]

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        return await recalled(self._client, _BANK, asked.question.text, budget)

    async def close(self) -> None:
        self._store.close()


def facts(said: str) -> list[str]:
    """The facts of a list, at most `MOST_FACTS`, each once."""
    found = (_FACT.fullmatch(line) for line in said.splitlines())
    return list(dict.fromkeys(match[1].strip() for match in found if match))[:MOST_FACTS]


def changes(
    said: str, shown: Sequence[memcore.Memory], time: str
) -> Iterator[memcore.Insert | memcore.Update | memcore.Delete]:
    """The operations that were asked for; numbers that nothing shown has are passed over."""
    numbered = {str(number): memory for number, memory in enumerate(shown, start=1)}
    for match in filter(None, map(_CHANGE.fullmatch, said.splitlines())):
        text = (match["text"] or "").strip()
        if match["add"]:
            yield _insert(text, time)
        elif memory := numbered.get(match["old"] or match["gone"]):
            if match["gone"]:
                yield memcore.Delete(memory.type, memory.id)
            else:
                yield memcore.Update(memory.type, memory.id, text, time or None)


def _insert(text: str, time: str) -> memcore.Insert:
    return memcore.Insert("episodic" if time else "semantic", text, time)


def _line(memory: memcore.Memory) -> str:
    time = f"({memory.event_time}) " if memory.event_time else ""
    return f"{time}{' '.join(memory.content.split())}"


def _prompt(name: str) -> Prompt:
    return load(TEMPLATES / name)
