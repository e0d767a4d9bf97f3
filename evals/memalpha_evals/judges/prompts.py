"""The words a judge is asked with: files, because a score means nothing without them.

A prompt is known by its digest. `generous` is here to measure what leniency gives, not to be believed; a file
of another benchmark's words is used by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template

from memalpha.errors import InvalidInputError, make

_HERE = Path(__file__).with_name("prompts")
BUILT_IN = tuple(sorted(path.stem for path in _HERE.glob("*.txt")))
FIELDS = frozenset({"question", "right", "answer"})


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """A template with `$question`, `$right` and `$answer`."""

    name: str
    template: str

    @property
    def sha256(self) -> str:
        """Of the template."""
        return sha256(self.template.encode()).hexdigest()

    def filled(self, values: Mapping[str, str]) -> str:
        """The prompt for one answer; what is filled in is not read as a template again."""
        return Template(self.template).substitute(values)


def load(name: str) -> JudgePrompt:
    """A built-in prompt by its name, or a file by its path.

    Raises:
        InvalidInputError: JUDGE_PROMPT; there is no such prompt, or it does not use its three fields.
    """
    path = _HERE / f"{name}.txt" if name in BUILT_IN else Path(name)
    try:
        template = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"prompt {name} must be one of {', '.join(BUILT_IN)} or a text file: {error}"
        raise make(InvalidInputError, "JUDGE_PROMPT", message, prompt=name) from error
    found = Template(template)
    if not found.is_valid() or frozenset(found.get_identifiers()) != FIELDS:
        message = f"prompt {path} must use $question, $right and $answer, and no other $name"
        raise make(InvalidInputError, "JUDGE_PROMPT", message, prompt=name)
    return JudgePrompt(path.stem, template)
