"""Suites that other benchmarks have put together, and classification by example."""

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from memalpha.tasks.data.readers import labels
from memalpha.tasks.data.readers.labels import Example
from memalpha_evals.datasets import Dataset, babilong, examples, instances, memoryagentbench, ruler
from memalpha_evals.datasets.examples import Labels
from memalpha_evals.suites.model import Ask, Layout, Protocol, Suite

_Read = Callable[[Path], Iterable[Example]]

_TRAINED = "Mem-alpha is trained on this set, with the sentences that MemoryAgentBench asks about."
_INSTANCES = Protocol(
    chunk_tokens=2560, source="chunks as they are in the file, at most 2,048 tokens of Qwen3 and a frame"
)
_MAB = Protocol(chunk_tokens=4096, source="MemoryAgentBench's configurations: chunks of 4,096 tokens")


def _instances(name: str, about: str, pattern: str) -> Suite:
    layout = Layout((pattern,), lambda ask: instances.memalpha(ask.paths[0], ask.draw))
    return Suite(name, about, "of each source", name, (layout,), _INSTANCES)


def _nlu(path: Path) -> Iterable[Example]:
    return labels.rasa(path) if ".json" in path.name else labels.pairs(path)


def _labelled(name: str, read: _Read, licence: str, *layouts: tuple[str, ...], folder: str = "") -> Suite:
    """Sentences that are told in all files but the last of a layout, and asked from that one."""

    def load(ask: Ask) -> Dataset:
        told, asked = (ask.paths[:-1], ask.paths[-1:]) if len(ask.paths) > 1 else (ask.paths, ())
        caveats = (_TRAINED,) if name in ("trec", "nlu") else ()
        sets = Labels(name, _all(read, told), _all(read, asked), ask.paths, licence, caveats)
        return examples.read(sets, ask.draw)

    about = f"{name}: sentences are labelled by example"
    forms = tuple(Layout(patterns, load) for patterns in layouts)
    return Suite(name, about, licence, folder or name, forms, Protocol())


def _all(read: _Read, paths: Iterable[Path]) -> list[Example]:
    return list(chain.from_iterable(map(read, paths)))


def _clinc150(ask: Ask) -> Dataset:
    told, asked = (list(labels.clinc150(ask.paths[0], (part,))) for part in ("train", "test"))
    return examples.read(Labels("clinc150", told, asked, ask.paths, "CC BY 3.0"), ask.draw)


_TREC = (("train_5500*.label", "TREC_10*.label"), ("train_5500*.label",))

BENCHMARKS = (
    Suite(
        "memoryagentbench",
        "MemoryAgentBench as released: retrieval, learning, understanding, conflicts",
        "MIT",
        "memoryagentbench",
        (Layout(("*.parquet",), lambda ask: memoryagentbench.read(ask.paths, ask.draw), many=True),),
        _MAB,
    ),
    _instances("memalpha", "Mem-alpha's test instances", "test*.parquet"),
    _instances("memalpha-memoryagentbench", "MemoryAgentBench as Mem-alpha processed it", "*.parquet"),
    Suite(
        "ruler-qa",
        "RULER-QA: a question over numbered documents, in files of MemAgent or of RULER",
        "CC BY-SA 4.0",
        "ruler-qa",
        (Layout(("*.json*",), lambda ask: ruler.read(ask.paths[0], ask.draw)),),
        Protocol(budget=1024, source="MemAgent (arXiv 2507.02259), table 2"),
    ),
    Suite(
        "babilong",
        "BABILong: bAbI's facts scattered over a book",
        "Apache-2.0; bAbI BSD",
        "babilong",
        (
            Layout(("qa*/*.json",), lambda ask: babilong.read(ask.paths, ask.draw), many=True),
            Layout(("*.json",), lambda ask: babilong.read(ask.paths, ask.draw), many=True),
            Layout(("qa*.parquet",), lambda ask: babilong.read(ask.paths, ask.draw), many=True),
        ),
        Protocol(budget=1024),
    ),
    _labelled("trec", labels.trec_coarse, "none stated", *_TREC),
    _labelled("trec-fine", labels.trec_fine, "none stated", *_TREC, folder="trec"),
    _labelled("banking77", labels.pairs, "CC BY 4.0", ("train*.csv", "test*.csv")),
    Suite(
        "clinc150",
        "clinc150: sentences are labelled by example",
        "CC BY 3.0",
        "clinc150",
        (Layout(("data_full*.json",), _clinc150),),
    ),
    _labelled("nlu", _nlu, "CC BY 4.0", ("*train*.csv", "*test*.json")),
    _labelled(
        "csabstruct",
        labels.csabstruct,
        "Apache-2.0",
        ("train*.jsonl", "test*.jsonl"),
        ("train*.jsonl", "dev*.jsonl"),
    ),
)
