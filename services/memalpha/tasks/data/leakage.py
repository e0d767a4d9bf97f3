"""Does training see the test? Three ways in which it would, each found without a model.

- **question**: a test question, or a near copy of it, is a training question with an answer in common, or a
  line of a training chunk. Of questions that are answered by a label the words alone count, as labels are
  renamed from instance to instance.
- **context**: a line that holds the answer of a test question stands, more or less word by word, in a
  training chunk, however the lines are broken there. Where answers are not copied from the text, half of
  the evidence has to stand in one instance: a phrase of politeness is no leak.
- **composition**: the test's questions were composed of questions of a source that is trained on.

Alike are texts that share most of their shingles, which are runs of words: of two words for questions
(Jaccard resemblance), of five for contexts (containment). Of scripts that put no spaces between words, each
character counts as one. Only the test is held in memory; training is streamed, and what is told depends on
the two files alone. Frames are not data and count for nothing.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from typing import Literal

from memalpha.tasks.data.builders.labels import ASK
from memalpha.tasks.data.frames import LINES
from memalpha.tasks.data.splits import COMPOSED_OF
from memalpha.tasks.instance import Instance, Question

RESEMBLANCE = 0.8
"""Of two questions: the share of their two-word runs that both have."""
CONTAINMENT = 0.5
"""Of an answering line: the share of its five-word runs that one training chunk has; and of evidence that
answers only as a whole: the share of its words that stand in such lines."""
SHORTEST_CONTEXT = 8
"""Words of a line that can tell anything of its own."""

_SHARED_BY = 3
"""A line that so many questions of one instance end in is an instruction."""
_ROLE = re.compile(r"^(?:<[^>]{1,40}>|(?:User|Assistant|System|Sentence):)\s*")
_HEADERS = r"Conversation on |What happened to |Dialogue (?:between|at) |Event happened on "
_NOT_DATA = re.compile(rf"\[(?:(?:{_HEADERS})[^\]]*|[\d\s:/.-]+)\]$|Labels?:")
"""Headers of frames, here and in the official data, of one line each; and labels."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese: no space says where a word ends."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_RUN = 5
"""Words of a context's shingle."""
_COPIED = ("substring", "strict", "exact_match", "f1", "parts")

Words = tuple[str, ...]
Kind = Literal["question", "context", "composition"]


@dataclass(frozen=True, slots=True)
class Leak:
    """A test question that training has seen: where, and how alike the texts are (1 is the same)."""

    kind: Kind
    test: str
    train: str
    alike: float
    text: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """A test question in the index."""

    place: str
    pairs: frozenset[Words]
    answers: frozenset[str]
    by_label: bool


@dataclass(slots=True)
class _Evidence:
    """What answers a test question: `words` is 0 if any line does alone, else the words of all of them."""

    place: str
    words: int = 0


@dataclass(slots=True)
class Test:
    """The test's questions and the lines that answer them, indexed by their shingles."""

    sources: set[str] = field(default_factory=set)
    questions: int = 0
    _asked: list[_Asked] = field(default_factory=list)
    _evidence: list[_Evidence] = field(default_factory=list)
    _answering: dict[Words, list[int]] = field(default_factory=lambda: defaultdict(list))
    _by_pair: dict[Words, list[int]] = field(default_factory=lambda: defaultdict(list))
    _by_run: dict[Words, list[Words]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, instances: Iterable[Instance]) -> "Test":
        """Indexes the instances of a test file."""
        test = cls()
        for instance in instances:
            test.sources.add(instance.source)
            common = _instructions(instance.questions)
            for number, question in enumerate(instance.questions, start=1):
                test.questions += 1
                test._add(instance, question, f"{instance.instance_id}, question {number}", common)
        return test

    def leaks(self, train: Iterable[Instance]) -> Iterator[Leak]:
        """Every test question that training has seen, once for each kind, as training is read."""
        told: set[tuple[Kind, str]] = set()
        for instance in train:
            for leak in chain(self._composed(instance), self._of_instance(instance)):
                if (leak.kind, leak.test) not in told:
                    told.add((leak.kind, leak.test))
                    yield leak

    def sees(self, lines: Iterable[str]) -> bool:
        """Whether an instance that says these lines would leak."""
        return any(True for _ in self._of_chunks([("", list(lines))]))

    def leaks_into(self, instance: Instance) -> bool:
        """Whether an instance says or asks what would leak, whatever the test was composed of."""
        return any(True for _ in self._of_instance(instance))

    def _add(self, instance: Instance, question: Question, place: str, common: set[str]) -> None:
        pairs = _shingles(_words(_core(question.question, common)), 2)
        answers = frozenset(map(_plain, question.answers))
        for pair in pairs:
            self._by_pair[pair].append(len(self._asked))
        self._asked.append(_Asked(place, pairs, answers, question.metric == "label"))
        found = map(_words, _evidence(instance, question))
        lines = sorted({line for line in found if len(line) >= SHORTEST_CONTEXT})
        for line in lines:
            if line not in self._answering:
                for run in _shingles(line, _RUN):
                    self._by_run[run].append(line)
            self._answering[line].append(len(self._evidence))
        is_copied = question.metric in _COPIED
        self._evidence.append(_Evidence(place, 0 if is_copied else sum(map(len, lines))))

    def _composed(self, instance: Instance) -> Iterator[Leak]:
        for test in sorted(self.sources):
            if instance.source in COMPOSED_OF.get(test, ()):
                yield Leak("composition", test, instance.source, 1.0, "")

    def _of_instance(self, instance: Instance) -> Iterator[Leak]:
        common = _instructions(instance.questions)
        for number, question in enumerate(instance.questions, start=1):
            answers = set(map(_plain, question.answers))
            place = f"{instance.instance_id}, question {number}"
            yield from self._as_question(_core(question.question, common), place, answers)
        yield from self._of_chunks(
            (f"{instance.instance_id}, chunk {number}", list(_lines(chunk.text)))
            for number, chunk in enumerate(instance.chunks)
        )

    def _of_chunks(self, chunks: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Leak]:
        """Leaks of one instance's chunks, each with its place and its lines."""
        seen: dict[int, set[Words]] = defaultdict(set)
        for place, lines in chunks:
            for line in lines:
                yield from self._as_question(line, place, None)
            for found, alike, line in self._alike(lines):
                for number in self._answering[found]:
                    evidence = self._evidence[number]
                    seen[number].add(found)
                    share = sum(map(len, seen[number])) / evidence.words if evidence.words else alike
                    if share >= CONTAINMENT:
                        yield Leak("context", evidence.place, place, share, line)

    def _as_question(self, text: str, place: str, answers: set[str] | None) -> Iterator[Leak]:
        """Test questions that a text resembles; `answers` is None for a line, which has none of its own."""
        pairs = _shingles(_words(text), 2)
        rarest = sorted(pairs, key=lambda pair: (len(self._by_pair.get(pair, ())), pair))
        # Two sets this much alike share at least one of so many elements, whichever are taken.
        probed = rarest[: len(pairs) - ceil(RESEMBLANCE * len(pairs)) + 1]
        for number in sorted({number for pair in probed for number in self._by_pair.get(pair, ())}):
            asked = self._asked[number]
            alike = len(pairs & asked.pairs) / len(pairs | asked.pairs)
            is_same_answer = answers is None or asked.by_label or bool(answers & asked.answers)
            if alike >= RESEMBLANCE and is_same_answer:
                yield Leak("question", asked.place, place, alike, text)

    def _alike(self, lines: Sequence[str]) -> Iterator[tuple[Words, float, str]]:
        """Answering lines that a chunk's lines contain together, how much of each, and the line with most."""
        words = [(word, line) for line in lines for word in _words(line)]
        hits: dict[Words, dict[Words, str]] = defaultdict(dict)
        for start in range(len(words) - _RUN + 1):
            run = tuple(word for word, _ in words[start : start + _RUN])
            for found in self._by_run.get(run, ()):
                hits[found].setdefault(run, words[start][1])
        for found, runs in sorted(hits.items()):
            alike = len(runs) / len(_shingles(found, _RUN))
            if alike >= CONTAINMENT:
                yield found, alike, Counter(runs.values()).most_common(1)[0][0]


def _evidence(instance: Instance, question: Question) -> Iterator[str]:
    """Lines of the evidence that hold an answer; all of them where answers are not copied from the text.

    A label is told by examples, which are questions themselves: it has no such line.
    """
    if question.metric == "label":
        return
    places = question.evidence or range(len(instance.chunks))
    answers = [_plain(answer) for answer in question.answers]
    for place in places:
        for line in _lines(instance.chunks[place].text):
            if question.metric not in _COPIED or any(answer in _plain(line) for answer in answers):
                yield line


def _lines(text: str) -> Iterator[str]:
    """A chunk's lines without roles, headers, labels and frames."""
    for line in text.split("\n"):
        said = _ROLE.sub("", line.strip())
        if said and said not in LINES and not _NOT_DATA.match(said):
            yield said


def _instructions(questions: Iterable[Question]) -> set[str]:
    """Lines below a question's first that its instance repeats: they ask nothing."""
    last = Counter(line for question in questions for line in question.question.split("\n")[1:])
    return {ASK, *(line for line, count in last.items() if count >= _SHARED_BY)}


def _core(question: str, common: set[str]) -> str:
    lines = [_ROLE.sub("", line.strip()) for line in question.split("\n") if line not in common]
    return " ".join(lines)


def _words(text: str) -> Words:
    return tuple(_WORD.findall(_plain(text)))


def _plain(text: str) -> str:
    """A text as it is compared: the same letters are the same characters."""
    return unicodedata.normalize("NFC", text.strip().lower())


def _shingles(words: Words, size: int) -> frozenset[Words]:
    """Runs of `size` words; all words as one if there are fewer."""
    if len(words) <= size:
        return frozenset({words}) if words else frozenset()
    return frozenset(words[start : start + size] for start in range(len(words) - size + 1))
