"""What a file holds, source by source, beside the paper's training data (arXiv 2509.25911, table 7)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

from memalpha.tasks.instance import Instance
from memcore import count_tokens


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the paper's table: instances, and means of chunks, tokens of a chunk and questions."""

    name: str
    instances: int
    chunks: float
    chunk_tokens: float
    questions: float


PAPER = (
    PaperRow("SQuAD", 100, 9.9, 1084, 94.8),
    PaperRow("HotpotQA", 100, 9.7, 1005, 16.7),
    PaperRow("PerLTQA", 27, 23.3, 517, 100),
    PaperRow("LME-Train", 50, 15.4, 1528, 4.0),
    PaperRow("NLU", 49, 10, 611, 100),
    PaperRow("TREC-C", 51, 10, 390, 100),
    PaperRow("PubMed-RCT", 90, 10, 1676, 100),
    PaperRow("BookSum", 100, 7.8, 1910, 1),
)
"""The training data that the paper used; its tokens are Qwen3's, ours are o200k's."""

_COUNTERPARTS: Mapping[str, str] = {
    "squad*": "SQuAD",
    "nq": "SQuAD",
    "hotpotqa*": "HotpotQA",
    "2wiki": "HotpotQA",
    "musique": "HotpotQA",
    "perltqa*": "PerLTQA",
    "beam": "LME-Train",
    "lme_train*": "LME-Train",
    "longmemeval*": "LME-Train",
    "nlu": "NLU",
    "icl_nlu*": "NLU",
    "trec": "TREC-C",
    "icl_trec_coarse*": "TREC-C",
    "csabstruct": "PubMed-RCT",
    "pubmed*": "PubMed-RCT",
    "squality": "BookSum",
    "booksum*": "BookSum",
}


@dataclass(slots=True)
class Summary:
    """Counts of one source."""

    source: str
    instances: int = 0
    chunks: int = 0
    tokens: int = 0
    questions: int = 0
    with_evidence: int = 0

    def add(self, instance: Instance) -> None:
        """Counts an instance."""
        self.instances += 1
        self.chunks += len(instance.chunks)
        self.tokens += sum(count_tokens(chunk.text) for chunk in instance.chunks)
        self.questions += len(instance.questions)
        self.with_evidence += sum(bool(question.evidence) for question in instance.questions)

    @property
    def chunks_per_instance(self) -> float:
        """Mean number of chunks."""
        return self.chunks / self.instances

    @property
    def tokens_per_chunk(self) -> float:
        """Mean o200k tokens of a chunk, its frame included."""
        return self.tokens / self.chunks

    @property
    def questions_per_instance(self) -> float:
        """Mean number of questions."""
        return self.questions / self.instances

    @property
    def paper(self) -> PaperRow | None:
        """The paper's source of the same kind, if it has one."""
        names = (name for pattern, name in _COUNTERPARTS.items() if fnmatch(self.source, pattern))
        wanted = next(names, None)
        return next((row for row in PAPER if row.name == wanted), None)


def summarize(instances: Iterable[Instance]) -> list[Summary]:
    """One summary for each source, in order of first appearance."""
    found: dict[str, Summary] = {}
    for instance in instances:
        found.setdefault(instance.source, Summary(instance.source)).add(instance)
    return list(found.values())
