"""The tokens of a completion, each with what the policy and the trainer thought of it.

A run keeps ids, not texts; the tokenizer of its checkpoints tells the texts. Where there is none, ids stand
in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from memalpha.errors import MemalphaError
from memalpha_trainer.records import ChunkSample
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.view.html import Html, join, tag

Decoder = Callable[[Sequence[int]], list[str]]
"""The text of each token; of tokens that only together make a character, the last has it."""

# Bounds of how a token is coloured, by -logprob and by |trainer - policy|.
SURPRISE = (0.05, 0.5, 1.5, 3.0)
DIFFERENCE = (1e-4, 1e-3, 1e-2, 1e-1)


def decoder(run: RunFiles) -> Decoder | None:
    """By the tokenizer of the run's weights, or of the checkpoint it began with; None if neither is there."""
    found = _tokenizer(run)
    if found is None:
        return None
    try:
        tokenizer = import_module("tokenizers").Tokenizer.from_file(str(found))
    except ImportError:
        return None
    return lambda ids: pieces(ids, lambda some: tokenizer.decode(some, skip_special_tokens=False))


def pieces(ids: Sequence[int], decode: Callable[[list[int]], str]) -> list[str]:
    """The text of each token, by a function that decodes several."""
    found, waiting = list[str](), list[int]()
    for each in ids:
        waiting.append(each)
        text = decode(waiting)
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}")
        found.append(text if whole else "")
        waiting = [] if whole else waiting
    if waiting:
        found[-1] = decode(waiting)
    return found


def shown(sample: ChunkSample, trainer: Sequence[float], texts: Sequence[str]) -> Html:
    """A completion token by token.

    Args:
        sample: Whose completion it is.
        trainer: The trainer's logprobs; empty if they are not known.
        texts: Of the tokens; empty if they are not known.
    """
    ids = sample.completion_ids
    theirs: Sequence[float | None] = trainer if len(trainer) == len(ids) else [None] * len(ids)
    return join(map(_token, ids, texts or [f"‹{each}›" for each in ids], sample.logprobs, theirs))


def _token(number: int, text: str, logprob: float, trainer: float | None) -> Html:
    cls = f"s{_level(-logprob, SURPRISE)}"
    data = f"{number} {logprob:.6g}"
    if trainer is not None:
        cls += f" d{_level(abs(trainer - logprob), DIFFERENCE)}"
        data += f" {trainer:.6g} {trainer - logprob:+.3g}"
    return tag("i", text or "·", cls=cls, data_t=data)


def _level(value: float, bounds: Sequence[float]) -> int:
    return sum(value >= bound for bound in bounds)


def _tokenizer(run: RunFiles) -> Path | None:
    for pattern in ("tokenizer.json", "*/tokenizer.json", "*/*/tokenizer.json"):
        if found := sorted(run.path.glob(pattern)):
            return found[-1]
    try:
        model = run.config.policy.model
    except MemalphaError:  # settings of another version; the page does without
        return None
    path = None if model is None else model / "tokenizer.json"
    return path if path is not None and path.is_file() else None
