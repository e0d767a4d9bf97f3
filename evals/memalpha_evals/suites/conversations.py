"""Suites of conversations."""

from collections.abc import Iterable
from dataclasses import replace

from memalpha_evals.datasets import (
    Dataset,
    beam,
    locomo,
    longmemeval,
    perltqa,
    personamem,
    personamem_sessions,
)
from memalpha_evals.suites.model import FOLDER, Ask, Layout, Protocol, Suite

DEV = frozenset(f"conv-{number}" for number in (26, 30, 41, 42, 43, 44))
"""LoCoMo's conversations before conv-47: settings are chosen on them, the others are held out."""

_WHOLE = Protocol(source="all questions of the file")


def _locomo(ask: Ask) -> Dataset:
    return _some(locomo.read(*ask.paths), ask)


def _locomo_dev(ask: Ask) -> Dataset:
    dataset = locomo.read(*ask.paths)
    kept = tuple(each for each in dataset.conversations if each.id in DEV)
    return _some(replace(dataset, conversations=kept), ask)


def _some(dataset: Dataset, ask: Ask) -> Dataset:
    return replace(dataset, conversations=tuple(ask.draw.first(dataset.conversations)))


def _beam(ask: Ask) -> Dataset:
    return beam.read(ask.paths[0], most=ask.draw.conversations)


def _locomo_suites() -> Iterable[Suite]:
    plain, audited = ("locomo10*.json",), ("locomo10*.json", "*errors*.json")
    forms = (
        ("locomo", "LoCoMo: ten dialogues of 19 to 32 sessions", plain, _locomo),
        ("locomo-dev", "LoCoMo's six conversations before conv-47", plain, _locomo_dev),
        ("locomo-audited", "LoCoMo with the labels of an audit", audited, _locomo),
        (
            "locomo-dev-audited",
            "LoCoMo's dev conversations with the labels of an audit",
            audited,
            _locomo_dev,
        ),
    )
    for name, about, patterns, read in forms:
        yield Suite(name, about, "CC BY-NC 4.0", "locomo", (Layout(patterns, read),), _WHOLE)


def _beam_suites() -> Iterable[Suite]:
    for name, tier in (("beam", "100K"), ("beam-500k", "500K"), ("beam-1m", "1M"), ("beam-10m", "10M")):
        about = f"BEAM: chats of {tier} tokens with probing questions of ten kinds"
        layout = Layout((FOLDER,), _beam)
        yield Suite(name, about, "CC BY-SA 4.0", f"beam{tier.lower()}", (layout,), _WHOLE)


def _personamem_suites() -> Iterable[Suite]:
    for name, size in (("personamem", "32k"), ("personamem-128k", "128k"), ("personamem-1m", "1M")):
        official = (f"questions_{size}*.csv", f"shared_contexts_{size}*.jsonl")
        split = (f"queries_{size}*.json", f"documents_{size}*.json")
        layouts = (
            Layout(official, lambda ask: personamem.read(ask.paths[0], ask.paths[1], ask.draw)),
            Layout(split, lambda ask: personamem_sessions.read(ask.paths[0], ask.paths[1], ask.draw)),
        )
        about = f"PersonaMem {size}: choices among four replies to a persona"
        yield Suite(name, about, personamem.LICENCE, "personamem", layouts, _WHOLE)


def _longmemeval_suites() -> Iterable[Suite]:
    forms = (
        ("longmemeval", "S: about 115K tokens", "longmemeval_s*.json"),
        ("longmemeval-m", "M: about 1.5M tokens", "longmemeval_m*.json"),
        ("longmemeval-oracle", "oracle: evidence sessions only", "longmemeval_oracle*.json"),
    )
    for name, size, pattern in forms:
        layout = Layout((pattern,), lambda ask: longmemeval.read(ask.paths[0], ask.draw))
        about = f"LongMemEval {size}, a question each"
        yield Suite(name, about, "MIT", "longmemeval", (layout,), _WHOLE)


_PERLTQA = Suite(
    "perltqa",
    "PerLTQA: events and dialogues of characters",
    "CC BY-NC 4.0",
    "perltqa",
    (
        Layout(
            ("perltmem*.json", "perltqa*.json"),
            lambda ask: perltqa.read(ask.paths[0], ask.paths[1], ask.draw),
        ),
    ),
    _WHOLE,
)

CONVERSATIONS = (
    *_locomo_suites(),
    *_beam_suites(),
    *_personamem_suites(),
    *_longmemeval_suites(),
    _PERLTQA,
)
