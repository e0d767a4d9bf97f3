"""The ledger's own readers: they know the grammar that its streams are written in, and are no models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memalpha.agent import escapes
from memalpha.agent.prompts import alias_names
from memalpha.tasks.ledger import READERS
from memalpha_evals.protocols import Answer, Context
from memalpha_evals.readers import evidence
from memalpha_evals.streams import AskedQuestion


@dataclass(frozen=True, slots=True)
class LedgerReader:
    """One of `memalpha.tasks.ledger.READERS`; `rule` is its name there."""

    rule: str = "literal"

    @property
    def name(self) -> str:
        """See `Reader.name`."""
        return "ledger" if self.rule == "literal" else f"ledger-{self.rule}"

    @property
    def about(self) -> str:
        """See `Reader.about`."""
        return f"understands the ledger's grammar ({self.rule})"

    @property
    def model_free(self) -> bool:
        """It is a rule."""
        return True

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader.identity`."""
        return {"reader": self.name}

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader.answer`; what is not understood, or not told, is answered with `not known`."""
        found = READERS[self.rule].answer(asked.question.text, _as_told(context.text))
        return Answer(found.text, details={"relied_on": len(found.used)})


def _as_told(context: str) -> str:
    """The context's sentences as the ledger shows memories: one line each, its time behind an alias."""
    lines = []
    for alias, told in zip(alias_names(), evidence.read(context), strict=False):
        time = f"({told.time}) " if told.time else ""
        lines.append(f"[{alias}] {time}{escapes.line(told.text)}")
    return "\n".join(lines)
