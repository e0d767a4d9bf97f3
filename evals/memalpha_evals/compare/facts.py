"""What a run's manifest says of things that decide whether figures may stand side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RULE_READS = (
    "The reader is a rule, not a model: figures compare systems with one another here, and stand beside no "
    "figure of a model."
)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A system of a run, as it described itself."""

    name: str
    about: str = ""
    query_aware: bool = False
    identity: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A run, by its manifest.

    Attributes:
        dataset: The suite's name.
        sha256: Of the data's file.
        streams_sha256: Of every chunk and every question as systems got them.
        licence: The data's.
        caveats: What has to be said with every figure of this data.
        apart: Categories that the paper's overall figure leaves out.
        budget: Most o200k tokens of a context.
        chunk_tokens: Most o200k tokens of a chunk.
        reader: Its name.
        reader_about: How it works.
        reader_identity: All that its answers depend on.
        model_free: The reader is a rule.
        systems: In the run's order.
        seed: Of every call to a model; None: unknown.
        judges: Who gave each score that a model gave, by its name.
        done: All rows are there, scored.
    """

    dataset: str = ""
    sha256: str = ""
    streams_sha256: str = ""
    licence: str = ""
    caveats: tuple[str, ...] = ()
    apart: frozenset[str] = frozenset()
    budget: int | None = None
    chunk_tokens: int | None = None
    reader: str = ""
    reader_about: str = ""
    reader_identity: Mapping[str, Any] | None = None
    model_free: bool = False
    systems: tuple[SystemFacts, ...] = ()
    seed: int | None = None
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    done: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said before any figure."""
        return (*self.caveats, RULE_READS) if self.model_free else self.caveats

    def system(self, name: str) -> SystemFacts:
        """The facts of a system; one that the manifest does not know is taken as it is named."""
        return next((each for each in self.systems if each.name == name), SystemFacts(name))


def facts(manifest: Mapping[str, Any], *, done: bool = True) -> Facts:
    """Reads `what` of a manifest and the seed of its plan; what it does not say stays empty."""
    what = manifest.get("what", {})
    data, reader = what.get("data", {}), what.get("reader", {})
    return Facts(
        dataset=data.get("name", ""),
        sha256=data.get("sha256", ""),
        streams_sha256=what.get("streams", {}).get("sha256", ""),
        licence=data.get("licence", ""),
        caveats=tuple(data.get("caveats", ())),
        apart=frozenset(data.get("apart", ())),
        budget=what.get("budget"),
        chunk_tokens=what.get("chunk_tokens"),
        reader=reader.get("name", ""),
        reader_about=reader.get("about", ""),
        reader_identity=reader.get("identity"),
        model_free=bool(reader.get("model_free")),
        systems=tuple(_system(each) for each in what.get("systems", ())),
        seed=manifest.get("plan", {}).get("seed"),
        judges=manifest.get("judges", {}),
        done=done,
    )


def _system(raw: Mapping[str, Any]) -> SystemFacts:
    return SystemFacts(raw["name"], raw.get("about", ""), bool(raw.get("query_aware")), raw.get("identity"))
