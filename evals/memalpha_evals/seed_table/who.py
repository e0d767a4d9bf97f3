"""Who wrote the memory and who answered, as a run's manifest says it: names, versions, models, no address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from memalpha_evals.runs import Run


@dataclass(frozen=True, slots=True)
class Who:
    """A policy, or a reader.

    Attributes:
        role: The reader's name, if it asks a policy; empty for what writes memory.
        id: The policy's, or the name of a rule.
        version: Of the weights; 0: it has none.
        model: Whose they are.
        engine: What runs them.
    """

    role: str
    id: str
    version: int = 0
    model: str = ""
    engine: str = ""

    @property
    def said(self) -> str:
        """In a sentence."""
        model = f"model `{self.model}`" if self.model not in ("", self.id) else ""
        beside = ", ".join(each for each in (model, self.engine) if each)
        version = f" version {self.version}" if self.version else ""
        return f"{self.role} `{self.id}`{version}{f' ({beside})' if beside else ''}".strip()


def writers(run: Run) -> list[Who]:
    """Those that systems of the run asked, each once."""
    identities = [each.get("identity", {}) for each in run.manifest["what"]["systems"]]
    return list(dict.fromkeys(_policy("", each["policy"]) for each in identities if "policy" in each))


def reader(run: Run) -> Who:
    """What answered."""
    found = run.manifest["what"]["reader"]
    identity, name = found.get("identity", {}), str(found.get("name", ""))
    return _policy(name, identity["policy"]) if "policy" in identity else Who("", name)


def shown_reader(spec: str) -> str:
    """A reader's word, as `shown`."""
    name, _, policy = spec.partition(":")
    return f"{name}:{shown(policy)}" if policy and name in ("policy", "choice") else shown(spec)


def shown(spec: str) -> str:
    """A policy's word with a model by its folder's name, and `a service` for an address; twice is as once."""
    return ",".join(map(_shown_one, spec.split(",")))


def _shown_one(spec: str) -> str:
    engine, _, rest = spec.partition(":")
    if engine == "transformers":
        return f"transformers:{PurePath(rest).name}"
    return spec if engine == "openai" or not rest else "a service"


def _policy(role: str, identity: Mapping[str, Any]) -> Who:
    model = str(identity.get("model", ""))
    return Who(
        role="" if role == "policy" else role,
        id=_placeless(str(identity.get("id", ""))),
        version=int(identity.get("version", 0)),
        model=_placeless(model),
        engine=str(identity.get("engine", "")),
    )


def _placeless(name: str) -> str:
    """A model that is named by its folder, by the folder's name."""
    return PurePath(name).name if PurePath(name).is_absolute() else name
