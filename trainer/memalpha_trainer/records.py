"""What a rollout leaves behind, as it stands in `rollouts.jsonl`.

A rollout is one reading of one stream by the policy: a sample for each chunk, and an answer for each question
afterwards. Training needs nothing else, so that a file of records trains to the same weights as the run that
wrote it. Token ids and logprobs are the engine's own; no text is ever tokenised again. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from memalpha.tasks.instance import Metric


@dataclass(frozen=True, slots=True)
class Operation:
    """What one call of a chunk's text came to.

    Attributes:
        kind: `insert`, `update`, `delete` or `rejected`.
        memory_type: `core`, `semantic` or `episodic`; empty if rejected.
        memory_id: Of the memory it made or changed; 0 is core memory; None if it did nothing.
        content: What it wrote, or the rejected text; of a delete, what was deleted.
        event_time: As written.
        error: The reason why it did nothing; empty if it was carried out.
    """

    kind: str
    memory_type: str = ""
    memory_id: int | None = None
    content: str = ""
    event_time: str = ""
    error: str = ""

    @property
    def applied(self) -> bool:
        """Whether it changed the memory."""
        return not self.error


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of a completion that were drawn from the same weights."""

    version: int
    tokens: int


@dataclass(frozen=True, slots=True)
class ChunkSample:
    """What the policy wrote about one chunk: one row of training.

    Attributes:
        chunk: Its index in the stream.
        prompt: The prompt's last message, to be looked at; the model saw `prompt_ids`.
        text: The completion as it was parsed.
        prompt_ids: Token ids of the prompt.
        completion_ids: Token ids that were sampled, an end token included.
        logprobs: Theirs, under the distribution that was sampled from.
        versions: Of the weights that drew them, in order.
        seed: Of the sampler.
        finished: Whether the policy ended by itself; False if it was cut at the token limit.
        operations: One for each call, in order.
        memory_tokens: o200k tokens of the whole memory after the chunk.
        failure: Why nothing of it was applied; empty if it was memorized.
    """

    chunk: int
    prompt: str
    text: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    versions: tuple[Span, ...]
    seed: int
    finished: bool
    operations: tuple[Operation, ...] = ()
    memory_tokens: int = 0
    failure: str = ""

    @property
    def oldest(self) -> int:
        """Version of the oldest weights that drew any of its tokens."""
        return min(span.version for span in self.versions)


@dataclass(frozen=True, slots=True)
class Source:
    """Where something that a reader relied on comes from.

    Attributes:
        memory_id: 0 is core memory.
        chunk: Index of the chunk that last wrote it; of a deleted memory, of the chunk that deleted it.
        deleted: Whether it is a tombstone: the reader would have relied on it, had it not been deleted.
    """

    memory_id: int
    chunk: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """One question to the finished memory.

    Attributes:
        evidence: Chunks that decide the right answer, as the task knows them; empty where it does not.
        absent: Whether the right answer is that nothing is known.
        answer: What the reader said.
        score: Of the answer, 0 to 1.
        packed: Ids of the memories that the reader was shown, best first.
        used: What its answer rests on: all that it used, or, with `deleted`, would have used.
    """

    question: str
    kind: str
    metric: Metric
    answers: tuple[str, ...]
    evidence: tuple[int, ...]
    absent: bool
    answer: str
    score: float
    packed: tuple[int, ...] = ()
    used: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One reading of one stream.

    Attributes:
        step: The optimizer step that asked for it.
        group: Its group within the step; the rollouts of a group read the same stream.
        index: Its place in the group.
        instance_id: The stream's.
        source: The instance's source.
        samples: One for each chunk that was read, in order.
        answers: One for each question, in order; empty if `failure`.
        memory_tokens: o200k tokens of the final memory.
        stream_tokens: o200k tokens of all chunks.
        reward: What the user's own reward function says; None leaves it to the scores of the answers.
        failure: Why it ended early; it is trained on no further than its group's rule says.
    """

    step: int
    group: int
    index: int
    instance_id: str
    source: str
    samples: tuple[ChunkSample, ...]
    answers: tuple[Answered, ...]
    memory_tokens: int
    stream_tokens: int
    reward: float | None = None
    failure: str = ""

    def to_json(self) -> str:
        """One line of `rollouts.jsonl`, without its newline; floats survive to the last bit."""
        return json.dumps(self, default=named, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` was given; ValueError, KeyError or TypeError for any other line."""
        raw = json.loads(line)
        samples = tuple(_sample(each) for each in raw.pop("samples"))
        answers = tuple(_answered(each) for each in raw.pop("answers"))
        return cls(samples=samples, answers=answers, **raw)


def named(record: Any) -> dict[str, Any]:
    """A record's fields. `asdict` would copy each id and logprob, which takes longer than writing them."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _sample(raw: Mapping[str, Any]) -> ChunkSample:
    ids = {name: tuple(raw[name]) for name in ("prompt_ids", "completion_ids", "logprobs")}
    versions = tuple(Span(**each) for each in raw["versions"])
    operations = tuple(Operation(**each) for each in raw["operations"])
    return ChunkSample(**{**raw, **ids, "versions": versions, "operations": operations})


def _answered(raw: Mapping[str, Any]) -> Answered:
    lists = {name: tuple(raw[name]) for name in ("answers", "evidence", "packed")}
    return Answered(**{**raw, **lists, "used": tuple(Source(**each) for each in raw["used"])})
