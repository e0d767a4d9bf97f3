"""An instance while it is built: its material, its questions, and whether the limits let it through."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from memalpha.tasks.data.limits import Limits
from memalpha.tasks.data.packing import Packing, draw_targets
from memalpha.tasks.instance import Chunk, Instance, Question
from memcore import count_tokens


@dataclass(slots=True)
class Draft:
    """What one instance will be made of.

    `rng` is the instance's own: what is drawn for one instance moves no draw of another.
    """

    name: str
    source: str
    limits: Limits
    rng: Random
    questions: list[Question] = field(default_factory=list)

    def packing(self, separator: str = "\n\n") -> Packing:
        """Empty chunks of the sizes that are drawn now."""
        return Packing(draw_targets(self.limits, self.rng), self.limits.chunk_tokens[1], separator)

    def finish(self, chunks: Sequence[Chunk]) -> Instance | None:
        """The instance, or None if it has too few chunks or questions. Too many questions are drawn from."""
        fewest, most = self.limits.questions
        if not self.limits.chunks[0] <= len(chunks) <= self.limits.chunks[1] or len(self.questions) < fewest:
            return None
        kept = self.questions
        if len(kept) > most:
            chosen = sorted(self.rng.sample(range(len(kept)), most))
            kept = [kept[place] for place in chosen]
        return Instance(self.name, self.source, tuple(chunks), tuple(kept))


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a builder: where its instances are from, how large they are, and the seed of all draws."""

    source: str
    split: str
    limits: Limits
    seed: int

    def draft(self, number: int) -> Draft:
        """The instance with this number, from 1."""
        name = f"{self.source}-{self.split}-{number:05}"
        return Draft(name, self.source, self.limits, Random(f"{self.seed}/{name}"))


def is_short(answers: Sequence[str], limits: Limits) -> bool:
    """Whether there are answers, and the shortest is within the limit."""
    if not answers:
        return False
    return not limits.answer_tokens or min(map(count_tokens, answers)) <= limits.answer_tokens
