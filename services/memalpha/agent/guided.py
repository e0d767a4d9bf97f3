"""A grammar for a policy's calls: the JSON schema of a list of calls, each of which alone can be carried out.

An engine that samples under it leaves a model nothing but its choices and its words. It offers the tools, and
of the memories those that the prompt shows, in the types that the bank keeps; texts and lists have bounds, so
that a model that was never taught to end one ends it all the same. The list may always be empty. A schema
cannot bar that two calls name the same memory: after a deletion, the second one fails. Nor does it count
tokens: core memory that is longer than its limit, as in scripts of a token or more a character, is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memalpha.agent.prompts import Aliases, core_limit
from memalpha.agent.tools import TOOLS, TYPE_NAMES
from memalpha.agent.wire import WireFormat
from memalpha.api.memory.v1alpha1.memory_pb2 import MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse

# Of one completion, and of one memory. What a chunk of a thousand tokens gives rise to stays well below.
MOST_CALLS = 32
MOST_CHARACTERS = 1000

_CORE = MemoryType.MEMORY_TYPE_CORE
_STORES = (MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC)
# A token of English; core memory has its limit in tokens.
_CORE_CHARACTERS_PER_TOKEN = 4
# Control characters and line breaks, which no text holds; and Unicode's White_Space, with which none begins.
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_BLANKS = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_LEAP_YEAR = r"([12][0-9](0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)"
_MONTH_DAY = r"((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
_DAY = rf"([12][0-9]{{3}}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_TIME = rf"^{_DAY}(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)?$"

Schema = dict[str, Any]


def call_list(
    view: GetWriterViewResponse,
    aliases: Aliases,
    form: WireFormat,
    *,
    may_empty_core: bool = True,
    most_calls: int = MOST_CALLS,
    most_characters: int = MOST_CHARACTERS,
) -> str:
    """The schema of the calls that a policy may write, as JSON.

    Args:
        view: What its prompt shows.
        aliases: What the prompt calls the memories in it.
        form: How the list will be read.
        may_empty_core: Whether core memory may be deleted.
        most_calls: Of the list.
        most_characters: Of a memory's text.
    """
    barred = "<" if form.has_tags else ""
    core = _text(_CORE_CHARACTERS_PER_TOKEN * core_limit(view.bank), barred)
    may_delete = bool(view.core.content) and may_empty_core
    calls = [
        *_core_calls(view, core, may_delete=may_delete),
        *_store_calls(view, aliases, _text(most_characters, barred)),
    ]
    return json.dumps({"type": "array", "items": {"anyOf": calls}, "maxItems": most_calls})


def _core_calls(view: GetWriterViewResponse, text: Schema, *, may_delete: bool) -> Iterator[Schema]:
    if _CORE in view.bank.settings.disabled_types:
        return
    kind = _one_of(TYPE_NAMES[_CORE])
    yield _call("memory_update", memory_type=kind, new_content=text)
    if may_delete:
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


def _text(most_characters: int, barred: str) -> Schema:
    """A text's schema; `barred` are further characters that it does not hold."""
    first, others = f"[^{_CONTROLS}{_BLANKS}{barred}]", f"[^{_CONTROLS}{barred}]"
    return {"type": "string", "pattern": f"^{first}{others}{{0,{most_characters - 1}}}$"}
