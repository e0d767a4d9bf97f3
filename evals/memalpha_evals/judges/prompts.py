"""The words a judge is asked with: files, because a score means nothing without them.

A prompt is known by its digest. `generous` is here to measure what leniency gives, not to be believed; a file
of another benchmark's words is used by its path. A prompt with `$right` asks whether an answer is right, one
with `$nugget` how far it has one item of a rubric, one with `$nugget` and `$line` whether a line of it tells
of the item.
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
GRADED_FIELDS = frozenset({"question", "nugget", "answer"})
ORDERED_FIELDS = frozenset({"question", "nugget", "line"})


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """A template with `$question`, and `$answer` with `$right` or `$nugget`, or `$line` with `$nugget`."""

    name: str
    template: str

    @property
    def sha256(self) -> str:
        """Of the template."""
        return sha256(self.template.encode()).hexdigest()

    @property
    def graded(self) -> bool:
        """It asks for a grade of one nugget, not whether the answer is right."""
        return _fields(Template(self.template)) == GRADED_FIELDS

    @property
    def ordered(self) -> bool:
        """It asks whether a line of an answer is the event of a nugget."""
        return _fields(Template(self.template)) == ORDERED_FIELDS

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
    if not found.is_valid() or _fields(found) not in (FIELDS, GRADED_FIELDS, ORDERED_FIELDS):
        message = (
            f"prompt {path} must use $question, $answer, and $right or $nugget, or $question, $nugget and "
            "$line, and no other $name"
        )
        raise make(InvalidInputError, "JUDGE_PROMPT", message, prompt=name)
    return JudgePrompt(path.stem, template)


def _fields(template: Template) -> frozenset[str]:
    return frozenset(template.get_identifiers())
