"""What is imitated: the messages of a prompt and the text that answers them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its completion.

    Attributes:
        system: First message; an empty one is left out.
        user: Last message.
        completion: What is to be written, without an end token; may be empty.
    """

    system: str
    user: str
    completion: str

    def messages(self) -> list[dict[str, str]]:
        """The prompt as an engine's tokenizer takes it."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user}]
