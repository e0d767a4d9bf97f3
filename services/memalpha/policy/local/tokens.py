"""Between chats, ids and text.

Text from outside is never read as one of the model's special tokens: a chunk that holds `<|im_end|>` must not
end its message. Ids become text piece by piece, and only where no later id can change what is already said.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memalpha.errors import InvalidInputError, UnsupportedError, make
from memalpha.policy import checks
from memalpha.policy.local.libraries import transformers

_UNFINISHED = "�"
# Tokens; one holds a byte at least, and a character four at most.
_LONGEST_CHARACTER = 4
# Stands for a text while the template is rendered; private-use code points, so that no template looks at it.
_PLACE = "\ue000{}\ue001"


class Tokenizer:
    """A checkpoint's tokenizer and chat template. Safe to use from several threads."""

    def __init__(self, folder: Path, *, thinking: bool = False) -> None:
        """Loads them.

        Args:
            folder: the checkpoint.
            thinking: what templates that know `enable_thinking` are told.

        Raises:
            UnsupportedError: TOKENIZER_NOT_LOADED.
        """
        try:
            loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            message = f"tokenizer of {folder} cannot be loaded: {type(error).__name__}"
            raise make(UnsupportedError, "TOKENIZER_NOT_LOADED", message, path=folder) from error
        if not loaded.is_fast or not loaded.chat_template:
            message = f"tokenizer of {folder} must have a tokenizer.json and a chat template"
            raise make(UnsupportedError, "TOKENIZER_NOT_LOADED", message, path=folder)
        self._template = loaded
        self._thinking = thinking
        self._special = [str(token) for token in loaded.added_tokens_decoder.values() if token.special]
        self._trusting = copy.deepcopy(loaded.backend_tokenizer)
        self._literal = copy.deepcopy(loaded.backend_tokenizer)
        self._literal.encode_special_tokens = True

    def chat(self, messages: Sequence[dict[str, str]], tools_json: str = "") -> list[int]:
        """Ids of a conversation, up to where the model's answer begins.

        Raises:
            InvalidInputError: INVALID_PROMPT: the tools are no JSON array, the template refuses the roles, or
                it does not write each message once where one holds a special token.
        """
        tools = checks.tools(tools_json) if tools_json else None
        if not any(token in message["content"] for message in messages for token in self._special):
            return self._trusting.encode(self._rendered(messages, tools), add_special_tokens=False).ids
        places = {_PLACE.format(number): each["content"] for number, each in enumerate(messages)}
        stand_ins = [{**each, "content": place} for each, place in zip(messages, places, strict=True)]
        return self._spliced(self._rendered(stand_ins, tools), places)

    def text(self, ids: Sequence[int]) -> str:
        """Text of ids, without special tokens."""
        return self._trusting.decode(ids, skip_special_tokens=True)

    def literal(self, text: str) -> list[int]:
        """Ids of a text from outside, special tokens spelt out."""
        return self._literal.encode(text, add_special_tokens=False).ids

    def _rendered(self, messages: Sequence[dict[str, str]], tools: list[Any] | None) -> str:
        try:
            return self._template.apply_chat_template(
                list(messages),
                tools=tools,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=self._thinking,
            )
        except Exception as error:  # noqa: BLE001 - a template is a program of the checkpoint's
            message = f"the model's chat template refuses this chat: {error}"
            raise make(InvalidInputError, "INVALID_PROMPT", message) from None

    def _spliced(self, rendered: str, places: dict[str, str]) -> list[int]:
        """Ids of a rendered text, with what stands at its places read literally."""
        ids: list[int] = []
        for place, content in places.items():
            before, found, rendered = rendered.partition(place)
            ids += self._trusting.encode(before, add_special_tokens=False).ids
            if not found or place in rendered:
                message = (
                    "the model's chat template must write each message once and in order where one holds"
                )
                raise make(InvalidInputError, "INVALID_PROMPT", f"{message} a special token")
            ids += self.literal(content)
        return ids + self._trusting.encode(rendered, add_special_tokens=False).ids


class Decoder:
    """The text of one completion, as its ids come. The work grows with their number only."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """With nothing said yet."""
        self._tokenizer = tokenizer
        # Ids of which the first `_said` have been said, as `_before`: the context that the next ones join.
        self._ids: list[int] = []
        self._said = 0
        self._before = ""
        # Looked at again once there are so many ids.
        self._next = 0

    def push(self, ids: Sequence[int]) -> str:
        """The text that is certain with more ids; a character waits until its last byte is there."""
        self._ids += ids
        count = len(self._ids)
        if count < self._next:
            return ""
        for end in range(count, max(self._said, count - _LONGEST_CHARACTER), -1):
            text = self._news(end)
            if text and not text.endswith(_UNFINISHED):
                self._say(end)
                return text
        # Where more ids than a character has say nothing, they are looked at after ever longer pauses.
        self._next = count + (count - self._said) // _LONGEST_CHARACTER
        return ""

    def finish(self) -> str:
        """What is left, broken characters as replacement characters."""
        text = self._news(len(self._ids))
        self._say(len(self._ids))
        return text

    def _news(self, end: int) -> str:
        return self._tokenizer.text(self._ids[:end])[len(self._before) :]

    def _say(self, end: int) -> None:
        self._ids, self._said, self._next = self._ids[self._said :], end - self._said, 0
        self._before = self._tokenizer.text(self._ids[: self._said])
