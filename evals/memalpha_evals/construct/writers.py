"""The writers that `construct` compares: the extractive engine, and choices that understand nothing.

All go through the agent's own loop, chunk by chunk, and none may have written more than its share of the
tokens read so far; what one chunk leaves unused, a later one may use. The scripted ones take sentences that
are cut as the engine cuts them, with their speaker, and the code that it passes over, so that only the
choice and the wording differ; and no memory of theirs is longer than `LONGEST`, so that what they store can
be found.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from memalpha.agent.prompts import PromptView, read_prompt
from memalpha.agent.protocols import Completion, Policy
from memalpha.agent.tools import ToolCall
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse
from memalpha.policy.engine import InProcessPolicy
from memalpha.policy.extractive import ExtractiveEngine
from memalpha.policy.extractive.lexicon import HELPERS
from memalpha.policy.extractive.segment import Sentence, sentences
from memalpha.tasks.writers import insert
from memcore import count_tokens

LONGEST = 128
"""Most tokens of a scripted writer's memory, unless one sentence alone has more."""

Choice = Literal["heads", "random turns", "people first", "random sentences"]


def extractive(share: float) -> Policy:
    """The engine, kept to its share by the limit of what it may write."""
    return _Limited(InProcessPolicy(ExtractiveEngine("lines")), share)


class _Limited:
    """A policy that may write a share of the tokens it reads, counted with its calls' syntax."""

    def __init__(self, policy: Policy, share: float) -> None:
        self._policy = policy
        self._share = share
        self._room = 0.0

    async def generate(self, request: GenerateRequest) -> Completion:
        self._room += self._share * count_tokens(read_prompt(request.chat.messages[-1].content).chunk)
        limited = GenerateRequest()
        limited.CopyFrom(request)
        limited.sampling.max_tokens = max(1, min(request.sampling.max_tokens, int(self._room)))
        completion = await self._policy.generate(limited)
        self._room -= count_tokens(completion.text)
        return completion

    async def describe(self) -> GetPolicyResponse:
        return await self._policy.describe()


@dataclass(slots=True)
class Chosen:
    """Stores turns or sentences of a chunk as they are, chosen without reading them.

    Attributes:
        choice: The first sentences of every turn; or whole turns, whole turns with those of assistants
            last, or single sentences, drawn at random.
        share: Of the tokens.
        generator: Draws.
    """

    choice: Choice
    share: float
    generator: random.Random
    _room: float = field(default=0.0, init=False)
    _stored: set[str] = field(default_factory=set, init=False)

    def calls(self, view: PromptView) -> list[ToolCall]:
        """One insert for each memory."""
        said = sentences(view.chunk, view.chunk_time, code=True)
        turns = [list(turn) for _, turn in groupby(said, key=lambda each: (each.turn, each.speaker))]
        room = self.share * count_tokens(view.chunk)
        kept = self._heads(turns, room) if self.choice == "heads" else self._drawn(turns, room)
        return [insert(text, time) for text, time in kept]

    def _heads(self, turns: Sequence[Sequence[Sentence]], room: float) -> list[tuple[str, str]]:
        sizes = [sum(count_tokens(each.text) for each in turn) for turn in turns]
        kept = list[tuple[str, str]]()
        for turn, size in zip(turns, sizes, strict=True):
            self._room += room * size / sum(sizes)
            head = list[Sentence]()
            for sentence in turn:
                if count_tokens(_text([*head, sentence])) > self._room:
                    break
                head.append(sentence)
            kept += [memory for memory in _memories(head) if self._takes(memory[0])]
        return kept

    def _drawn(self, turns: Sequence[Sequence[Sentence]], room: float) -> list[tuple[str, str]]:
        self._room += room
        units = [[each] for turn in turns for each in turn] if self.choice == "random sentences" else [*turns]
        self.generator.shuffle(units)
        if self.choice == "people first":
            units.sort(key=lambda unit: unit[0].speaker.lower() in HELPERS)
        return [memory for unit in units for memory in _memories(unit) if self._takes(memory[0])]

    def _takes(self, text: str) -> bool:
        """Whether there is room, which is then used, and a bank would not refuse the text as a duplicate."""
        tokens = count_tokens(text)
        if tokens > self._room or text in self._stored:
            return False
        self._room -= tokens
        self._stored.add(text)
        return True


def _memories(turn: Sequence[Sentence]) -> Iterator[tuple[str, str]]:
    """The turn's sentences, put together as long as they stay within `LONGEST`."""
    part = list[Sentence]()
    for sentence in turn:
        if part and count_tokens(_text([*part, sentence])) > LONGEST:
            yield _memory(part)
            part = []
        part.append(sentence)
    if part:
        yield _memory(part)


def _memory(part: Sequence[Sentence]) -> tuple[str, str]:
    return _text(part), part[0].time


def _text(part: Sequence[Sentence]) -> str:
    label = f"{part[0].speaker}: " if part[0].speaker else ""
    return label + " ".join(sentence.text for sentence in part)
