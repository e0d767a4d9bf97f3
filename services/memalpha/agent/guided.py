"""A grammar for a policy's calls: the JSON schema of a list of calls, each of which can be carried out.

An engine that samples under it leaves a model nothing but its choices and its words. It offers the tools, and
of the memories those that the prompt shows, in the types that the bank keeps; texts and lists have bounds, so
that a model that was never taught to end one ends it all the same. The list may always be empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memalpha.agent.prompts import Aliases, core_limit
from memalpha.agent.tools import TOOLS, TYPE_NAMES
from memalpha.api.memory.v1alpha1.memory_pb2 import MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse

# Of one completion, and of one memory. What a chunk of a thousand tokens gives rise to stays well below.
MOST_CALLS = 32
MOST_CHARACTERS = 1000

_CORE = MemoryType.MEMORY_TYPE_CORE
_STORES = (MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC)
# A token of English; core memory has its limit in tokens.
_CORE_CHARACTERS_PER_TOKEN = 4
# No control characters; and no tags, by which a wire format would find another call within a text.
_TEXT = r"^[^\x00-\x20\x7f<][^\x00-\x1f\x7f<]{0,%d}$"
_DAY = r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = rf"^{_DAY}(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)?$"

Schema = dict[str, Any]


def call_list(
    view: GetWriterViewResponse,
    aliases: Aliases,
    *,
    most_calls: int = MOST_CALLS,
    most_characters: int = MOST_CHARACTERS,
) -> str:
    """The schema of the calls that a policy may write, as JSON.

    Args:
        view: What its prompt shows.
        aliases: What the prompt calls the memories in it.
        most_calls: Of the list.
        most_characters: Of a memory's text.
    """
    calls = [*_core_calls(view), *_store_calls(view, aliases, _text(most_characters))]
    return json.dumps({"type": "array", "items": {"anyOf": calls}, "maxItems": most_calls})


def _core_calls(view: GetWriterViewResponse) -> Iterator[Schema]:
    if _CORE in view.bank.settings.disabled_types:
        return
    kind = _one_of(TYPE_NAMES[_CORE])
    text = _text(_CORE_CHARACTERS_PER_TOKEN * core_limit(view.bank))
    yield _call("memory_update", memory_type=kind, new_content=text)
    if view.core.content:
        yield _call("memory_delete", memory_type=kind)


def _store_calls(view: GetWriterViewResponse, aliases: Aliases, text: Schema) -> Iterator[Schema]:
    """Calls on what is not core memory; `text` is the schema of a memory's text."""
    kept = [kind for kind in _STORES if kind not in view.bank.settings.disabled_types]
    time = {"type": "string", "pattern": _TIME}
    if kept:
        kinds = _one_of(*(TYPE_NAMES[kind] for kind in kept))
        yield _call("new_memory_insert", memory_type=kinds, content=text, event_time=time)
    for kind in kept:
        shown = [alias for alias, (of, _) in aliases.items() if of == kind]
        if shown:
            named = {"memory_type": _one_of(TYPE_NAMES[kind]), "memory_id": _one_of(*shown)}
            yield _call("memory_update", **named, new_content=text, event_time=time)
            yield _call("memory_delete", **named)


def _call(name: str, **arguments: Schema) -> Schema:
    """One call, whose arguments come in this order; a time may be left out."""
    assert name in TOOLS
    required = [argument for argument in arguments if argument != "event_time"]
    return _object({"name": _one_of(name), "arguments": _object(arguments, required)}, ["name", "arguments"])


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _text(most_characters: int) -> Schema:
    return {"type": "string", "pattern": _TEXT % (most_characters - 1)}
