"""Prompt packs: all texts that a writer and a reader are given, in one folder.

    pack.toml                             what the pack is, and how memories are shown
    writer_system.md, writer_user.md      the prompt for a chunk
    reader_system.md, reader_user.md      the prompt for a question
    consolidate_system.md, …_user.md      optional: the prompt for memories to put in order
    tools.md                              optional: stands for the wire format's text about tools

In the templates `$name` is a variable and `$$` a dollar. Some packs come with the package; any folder of
this form is another one. A pack is checked when it is read, and its digest covers every byte of it that
reaches a writer or a reader, so that two agents with one digest say the same. Consolidating has a digest of
its own: policies are trained to write and to read, and its words may change without making them strangers.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memalpha.agent import wire
from memalpha.agent.wire import WireFormat
from memalpha.errors import InvalidInputError, make

BUILT_IN = ("default", "short", "paper")

_FOLDER = Path(__file__).parent / "templates"
_MOST_FILE_BYTES = 1 << 20
_MEMORY = ("core", "semantic", "episodic")
_WRITER = {
    *(*_MEMORY, "core_limit", "semantic_shown", "semantic_total", "episodic_shown", "episodic_total"),
    *("attributes", "chunk", "chunk_time", "chunk_source", "disabled", "tools"),
}
_READER = {*_MEMORY, "pending", "prefix", "question"}
_CONSOLIDATE = _WRITER - {"attributes", "chunk", "chunk_time", "chunk_source"}


class Manifest(BaseModel):
    """What stands in `pack.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    description: str = Field(default="", max_length=1000)
    # The wire formats that the texts go with.
    wire_formats: tuple[str, ...] = Field(min_length=1)
    # Short names of memories: a, b, c … to the writer, or four hexadecimal digits.
    aliases: Literal["letters", "hex"] = "letters"
    # And to the reader: `[a]`, or `1.`.
    reader_aliases: Literal["letters", "numbers"] = "letters"
    # What stands for a part of the memory that holds nothing.
    empty: str = Field(default="", max_length=200)
    reader_empty: str = Field(default="", max_length=200)


@dataclass(frozen=True, slots=True)
class PromptPack:
    """A checked pack.

    `tools` is None if the wire format's own text about tools is used; `consolidate`, system and user
    template, if the pack has no words for consolidating.
    """

    manifest: Manifest
    writer_system: Template
    writer_user: Template
    reader_system: Template
    reader_user: Template
    tools: str | None
    consolidate: tuple[Template, Template] | None = None

    def instructions(self, wire: WireFormat) -> str:
        """How to call the tools."""
        return wire.instructions() if self.tools is None else self.tools

    def digest(self, wire: WireFormat) -> str:
        """SHA-256 (hex) of everything in its prompts that does not depend on a bank."""
        return _digest(
            self, wire, (self.writer_system, self.writer_user, self.reader_system, self.reader_user)
        )

    def consolidate_digest(self, wire: WireFormat) -> str:
        """As `digest`, of the prompt for consolidating."""
        return _digest(self, wire, self.consolidate or ())


@lru_cache(maxsize=64)
def _digest(pack: PromptPack, wire: WireFormat, templates: tuple[Template, ...]) -> str:
    shown = pack.manifest.model_dump_json(exclude={"name", "description", "wire_formats"})
    texts = [each.template for each in templates]
    digest = sha256()
    for part in (shown, *texts, wire.name, pack.instructions(wire), wire.tools_json()):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


@lru_cache(maxsize=32)
def load(name: str) -> PromptPack:
    """Reads a pack, once in a process.

    Args:
        name: One of `BUILT_IN`, or a folder.

    Raises:
        InvalidInputError: UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK; it names the file and the rule.
    """
    folder = _FOLDER / name if name in BUILT_IN else Path(name)
    if not folder.is_dir():
        message = f"prompt_pack must be one of {', '.join(BUILT_IN)} or a folder, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_PROMPT_PACK", message, prompt_pack=name)
    tools = folder / "tools.md"
    return PromptPack(
        _manifest(folder / "pack.toml"),
        *_templates(folder, "writer", _WRITER, {*_MEMORY, "chunk", "tools"}),
        *_templates(folder, "reader", _READER, {*_MEMORY, "question"}),
        _text(tools).removesuffix("\n") if tools.exists() else None,
        _consolidate(folder),
    )


def _manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate(tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for each in manifest.wire_formats:
        if each not in wire.NAMES:
            raise _invalid(path, f"wire_formats must be of {', '.join(wire.NAMES)}, not {each!r}")
    return manifest


def _consolidate(folder: Path) -> tuple[Template, Template] | None:
    if not any((folder / f"consolidate_{part}.md").exists() for part in ("system", "user")):
        return None
    return _templates(folder, "consolidate", _CONSOLIDATE, {*_MEMORY, "tools"})


def _templates(folder: Path, who: str, known: set[str], needed: set[str]) -> tuple[Template, Template]:
    """System and user template of one prompt, whose variables are known and, together, complete."""
    system, user = (_template(folder / f"{who}_{part}.md", known) for part in ("system", "user"))
    missing = needed - {*system.get_identifiers(), *user.get_identifiers()}
    if missing:
        names = ", ".join(f"${each}" for each in sorted(missing))
        raise _invalid(folder, f"{who}_system.md and {who}_user.md must show {names}")
    return system, user


def _template(path: Path, known: set[str]) -> Template:
    template = Template(_text(path).removesuffix("\n"))
    if not template.is_valid():
        raise _invalid(path, "a dollar that begins no variable must be written $$")
    unknown = sorted(set(template.get_identifiers()) - known)
    if unknown:
        choices = ", ".join(f"${each}" for each in sorted(known))
        raise _invalid(path, f"${unknown[0]} is no variable; there are {choices}")
    return template


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > _MOST_FILE_BYTES:
            raise _invalid(path, f"must have at most {_MOST_FILE_BYTES} bytes, got {len(data)}")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise _invalid(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _invalid(path, "must be UTF-8 text") from None


def _invalid(path: Path, rule: str) -> InvalidInputError:
    return make(InvalidInputError, "INVALID_PROMPT_PACK", f"prompt pack {path}: {rule}", path=path)
