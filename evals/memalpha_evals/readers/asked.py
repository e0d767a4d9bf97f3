"""`policy` and `openai`: a model is shown the context and the question, and says the answer.

The same words whoever is asked. Options get letters, and a letter is the answer. The model's thought is not
part of it; a thought that does not end leaves no answer. A prompt that the model cannot hold fails the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.api.policy.v1alpha1.policy_service_pb2 import SamplingParams
from memalpha_evals.endpoints import policy_identity
from memalpha_evals.prompts import ask, call_seed, load, most_new_tokens
from memalpha_evals.protocols import Answer, Context
from memalpha_evals.readers.base import ReaderOptions, lettered
from memalpha_evals.streams import AskedQuestion

TEMPLATE = Path(__file__).parent / "templates" / "answer"


@dataclass(frozen=True, slots=True)
class AskedReader:
    """A model as a reader, under a name of its own."""

    name: str
    options: ReaderOptions

    def __post_init__(self) -> None:
        """Refuses options without a model; for errors see `ReaderOptions.model`."""
        self.options.model(self.name)

    @property
    def about(self) -> str:
        """See `Reader.about`."""
        _, description = self.options.model(self.name)
        return f"{description.policy.policy_id} is asked, with the context before the question"

    @property
    def model_free(self) -> bool:
        """A model answers."""
        return False

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader.identity`."""
        _, description = self.options.model(self.name)
        return {
            "reader": self.name,
            "policy": policy_identity(description),
            "prompt_digest": load(TEMPLATE).digest,
            "max_tokens": self.options.max_tokens,
            "temperature": self.options.temperature,
        }

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader.answer`."""
        policy, description = self.options.model(self.name)
        sampling = SamplingParams(
            max_tokens=most_new_tokens(description, self.options.max_tokens),
            temperature=self.options.temperature,
        )
        if self.options.seed is not None:
            sampling.seed = call_seed(self.options.seed, asked.id, asked.question.text)
        said = await ask(policy, load(TEMPLATE).chat(_values(context, asked)), sampling)
        return Answer(said.text, said.usage)


def _values(context: Context, asked: AskedQuestion) -> dict[str, str]:
    question = asked.question
    options = "\n".join(f"{letter}. {text}" for letter, text in lettered(question))
    return {
        "context": context.text,
        "question": question.text,
        "time": question.time,
        "options": f"<options>\n{options}\n</options>" if options else "",
    }
