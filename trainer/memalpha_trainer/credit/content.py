"""Whether what a chunk wrote is sound, r4 of Mem-alpha (arXiv 2509.25911), by a task that knows or a judge.

The ledger's truth needs no model: a memory is sound if it says something of the stream so far, all of it true
and none of it a rumour. Elsewhere a model is asked about each memory, with the chunk beside it.

Only inserts and updates that were carried out are looked at: a call that did nothing is the matter of r2, and
a deletion has no content. A chunk that wrote nothing wrote nothing unsound and gets 1, as in r2; with
`quirks` it gets 0, as in the paper's code. A chunk that failed gets 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from memalpha.agent.prompts import read_prompt
from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage, ChatPrompt, GenerateRequest, Role
from memalpha.tasks.ledger import grammar
from memalpha.tasks.ledger.grammar import Clause
from memalpha.tasks.ledger.truth import REVOKED, VALID, State, Truth
from memalpha.tasks.ledger.wording import Act
from memalpha_trainer.credit.groups import mean
from memalpha_trainer.records import ChunkSample, Operation, Rollout

_WRITES = ("insert", "update")
_VERDICT_TOKENS = 8


class ContentCheck(Protocol):
    """Judges what was written. Called once for the rollouts of a step."""

    def shares(self, rollouts: Sequence[Rollout]) -> list[tuple[float, ...]]:
        """For each sample of each rollout, the share of its writes that are sound.

        Raises:
            MemalphaError: The judge cannot be had; the step is not trained on.
        """
        ...


class Judge(Protocol):
    """A model that judges; `memalpha.client.PolicyClient` is one. Called from several threads."""

    def generate(self, request: GenerateRequest) -> Completion:
        """Completes one prompt."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerContent:
    """A `ContentCheck` of ledger rollouts, by the published grammar.

    What the stream told is read off the prompts, so that a record is all that is needed.
    """

    quirks: bool = False

    def shares(self, rollouts: Sequence[Rollout]) -> list[tuple[float, ...]]:
        """See `ContentCheck`; `InvalidInputError` for prompts of another layout than the agent's."""
        return [self._shares(rollout) for rollout in rollouts]

    def _shares(self, rollout: Rollout) -> tuple[float, ...]:
        truth, shares = Truth(), list[float]()
        for sample in rollout.samples:
            truth.tell(grammar.strict(read_prompt(sample.prompt).chunk), sample.chunk)
            verdicts = [float(is_true(write, truth)) for write in writes(sample)]
            shares.append(_share(sample, verdicts, quirks=self.quirks))
        return tuple(shares)


@dataclass(frozen=True, slots=True)
class JudgedContent:
    """A `ContentCheck` that asks a model about each write; the same question is asked once.

    Attributes:
        judge: Answers greedily.
        concurrency: Questions in work at once.
    """

    judge: Judge
    quirks: bool = False
    concurrency: int = 16

    def shares(self, rollouts: Sequence[Rollout]) -> list[tuple[float, ...]]:
        """See `ContentCheck`."""
        samples = [sample for rollout in rollouts for sample in rollout.samples]
        asked = {question(write, sample): None for sample in samples for write in writes(sample)}
        with ThreadPoolExecutor(self.concurrency) as threads:
            verdicts = dict(zip(asked, threads.map(self._verdict, asked), strict=True))
        return [tuple(self._share(sample, verdicts) for sample in each.samples) for each in rollouts]

    def _share(self, sample: ChunkSample, verdicts: dict[str, float]) -> float:
        found = [verdicts[question(write, sample)] for write in writes(sample)]
        return _share(sample, found, quirks=self.quirks)

    def _verdict(self, text: str) -> float:
        request = GenerateRequest(
            chat=ChatPrompt(
                messages=[
                    ChatMessage(role=Role.ROLE_SYSTEM, content=_TASK),
                    ChatMessage(role=Role.ROLE_USER, content=text),
                ]
            )
        )
        request.sampling.max_tokens, request.sampling.temperature = _VERDICT_TOKENS, 0.0
        said = self.judge.generate(request).text.rpartition("</think>")[2]
        return float(said.strip().casefold().startswith("sound"))


def writes(sample: ChunkSample) -> list[Operation]:
    """The inserts and updates of a sample that were carried out."""
    return [each for each in sample.operations if each.applied and each.kind in _WRITES]


def is_true(write: Operation, truth: Truth) -> bool:
    """Whether a memory says something by the ledger's grammar, all of it true; hedges do not excuse."""
    clauses = grammar.loose(write.content)
    return bool(clauses) and all(_holds(each, truth[each.key], write.event_time) for each in clauses)


def question(write: Operation, sample: ChunkSample) -> str:
    """What a judge is asked about a write: its kind, time and content, beside the prompt that it came of."""
    time = f" ({write.event_time})" if write.event_time else ""
    entry = f"<entry store={write.memory_type}>{time} {write.content}</entry>"
    return f"{sample.prompt}\n{entry}\nIs the entry sound?"


def _share(sample: ChunkSample, verdicts: Sequence[float], *, quirks: bool) -> float:
    if sample.failure:
        return 0.0
    return mean(verdicts) if verdicts else float(not quirks)


def _holds(clause: Clause, state: State, time: str) -> bool:
    match clause.act:
        case Act.RETRACT | Act.CANCEL:
            return state.value is None and state.mentioned is not None
        case Act.VALID | Act.REVOKE:
            return state.value == (VALID if clause.act is Act.VALID else REVOKED)
        case Act.FORMER:
            return clause.values == (state.former,)
        case Act.EVENT if not clause.values:
            return bool(time) and time == state.value
        case _:
            return clause.values == (state.value,) and clause.former in ("", state.former)


_TASK = """\
You check entries of a memory that an assistant keeps while it reads a text piece by piece. You are shown the
memory before the newest piece, that piece, and one entry that was written about it. An entry is sound if all
of this holds:
- The piece or the memory says so; nothing is made up, and what is only rumoured is not told as a fact.
- It can be understood by itself: it names who or what it is about.
- It stands in the right store. core: who the people are, in short. semantic: facts, definitions, how to do
  something. episodic: something that happened or will happen, with its time.
- It has content; it is no placeholder and no remark on the task.
Answer with one word: sound or unsound."""
