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
    """The text of one completion, as its ids come."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """With nothing said yet."""
        self._tokenizer = tokenizer
        # Ids of which the first `_said` have been said; those before are kept as context for joining.
        self._ids: list[int] = []
        self._said = 0

    def push(self, token: int) -> str:
        """The text that is certain now; a character waits until its last byte is there."""
        self._ids.append(token)
        text = self._news()
        if not text or text.endswith(_UNFINISHED):
            return ""
        self._ids, self._said = self._ids[self._said :], len(self._ids) - self._said
        return text

    def finish(self) -> str:
        """What is left, broken characters as replacement characters."""
        text = self._news()
        self._ids, self._said = [], 0
        return text

    def _news(self) -> str:
        before = self._tokenizer.text(self._ids[: self._said])
        return self._tokenizer.text(self._ids)[len(before) :]
