"""How large an instance is. Defaults are the paper's (arXiv 2509.25911, appendix A), source by source.

Tokens are o200k tokens of the material; the frame around it comes on top. The paper counted with Qwen3's
tokenizer, which differs by a few per cent on English text.
"""

from dataclasses import dataclass, replace
from typing import Self

from memalpha.tasks.data.readers.files import DatasetError

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of an instance and of the whole.

    Attributes:
        chunk_tokens: Each chunk is filled up to a number of tokens drawn from this range, from 16.
        chunks: Fewest and most chunks; an instance with fewer is dropped.
        questions: Fewest and most; an instance with fewer is dropped, of more that many are drawn.
        answer_tokens: Questions whose shortest answer has more tokens are left out; 0 for no limit.
        instances: Most instances of one source; 0 for no limit.
    """

    chunk_tokens: Range = (100, 2048)
    chunks: Range = (2, 10)
    questions: Range = (1, 100)
    answer_tokens: int = 0
    instances: int = 100

    def __post_init__(self) -> None:
        """Refuses ranges that no instance can keep."""
        for name, lowest in (("chunk_tokens", 16), ("chunks", 1), ("questions", 1)):
            low, high = getattr(self, name)
            if not lowest <= low <= high:
                raise DatasetError(f"{name} must be a range from {lowest} or more, not {low}-{high}")
        for name in ("answer_tokens", "instances"):
            if getattr(self, name) < 0:
                raise DatasetError(f"{name} must be 0 or more, not {getattr(self, name)}")

    def with_(self, **settings: Range | int | None) -> Self:
        """A copy with the settings that are not None."""
        return replace(self, **{name: value for name, value in settings.items() if value is not None})


SQUAD = Limits(chunks=(5, 10), questions=(30, 100), answer_tokens=4)
"""Ten chunks of 100 to 2,048 tokens; gold answers under five tokens; 30 to 100 questions."""

HOTPOTQA = Limits(chunks=(3, 10), questions=(10, 100), answer_tokens=4)
"""About 10,000 tokens of the articles that questions need; 10 to 100 questions."""

TREC = Limits(chunk_tokens=(260, 390), chunks=(10, 10), questions=(100, 100))
"""Ten chunks of about 390 tokens with their frame, 100 questions."""

NLU = Limits(chunk_tokens=(470, 620), chunks=(10, 10), questions=(100, 100))
"""Ten chunks of about 610 tokens with their frame, 100 questions."""

INTENTS = Limits(chunk_tokens=(700, 1100), chunks=(10, 10), questions=(100, 100))
"""For 77 and 150 labels, which the paper only tests on: room for several examples of each."""

PUBMED = Limits(chunk_tokens=(1024, 2048), chunks=(10, 10), questions=(100, 100))
"""Ten chunks of 1,024 to 2,048 tokens, 100 questions."""

STORIES = Limits(chunk_tokens=(1024, 2048), chunks=(3, 20), questions=(1, 100))
"""Chunks of at most 2,048 tokens. The paper's chapters have five or more; SQuALITY's stories are shorter."""

SESSIONS = Limits(chunk_tokens=(1024, 2048), chunks=(2, 16), questions=(1, 100))
"""About 15 chunks of about 1,530 tokens, few questions."""

PERLTQA = Limits(chunk_tokens=(2048, 2048), chunks=(2, 30), questions=(20, 100))
"""One chunk for each event, at most 30; 20 to 100 questions."""
