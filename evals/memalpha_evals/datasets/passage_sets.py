"""Sets of questions with passages, their licences, and what has to be said with their figures.

A file may be in the set's own form or in FlashRAG's, which its first row tells.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from memalpha.tasks.data.readers import passages
from memalpha.tasks.data.readers.passages import PassageQuestion
from memalpha_evals.datasets import flashrag

Read = Callable[[Path], Iterable[PassageQuestion]]


@dataclass(frozen=True, slots=True)
class Set:
    """A set of questions with passages. `clean`: distractors that hold an answer are left out."""

    name: str
    read: Read
    licence: str
    clean: bool = False
    caveats: tuple[str, ...] = ()

    def rows(self, path: Path) -> Iterable[PassageQuestion]:
        """The questions of a file in the set's own form or in FlashRAG's."""
        return flashrag.read(path) if flashrag.is_one(path) else self.read(path)


HOTPOTQA = Set(
    "hotpotqa",
    passages.hotpotqa,
    "CC BY-SA 4.0",
    caveats=("MemAgent, MemOCR and Mem-alpha are trained on HotpotQA's training questions.",),
)
TWOWIKI = Set("2wiki", passages.twowiki, "Apache-2.0; text CC BY-SA")
MUSIQUE = Set(
    "musique",
    passages.musique,
    "CC BY 4.0",
    caveats=("Its questions are composed of questions of SQuAD, Natural Questions and others.",),
)
NQ = Set(
    "nq",
    passages.nq,
    "CC BY-SA 3.0",
    clean=True,
    caveats=(
        "Distractors are gold passages of other questions, not retrieved ones: easier than published.",
        "`memalpha data build nq` makes training instances of the same questions: a policy trained on them "
        "has seen these.",
    ),
)
TRIVIAQA = Set(
    "triviaqa",
    flashrag.read,
    "Apache-2.0",
    caveats=(
        "No public file with passages is known here; FlashRAG's form was compared with code only.",
        "The split and the construction of the published contexts were not seen.",
    ),
)
SETS = {each.name: each for each in (HOTPOTQA, TWOWIKI, MUSIQUE, NQ, TRIVIAQA)}
