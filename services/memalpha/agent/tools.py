"""The three tools a policy writes memory with (Mem-alpha, arXiv 2509.25911, section 3.2).

Names and arguments are the paper's public ones, with `event_time` added. A wire format turns a model's text
into `ToolCall`s without looking at the arguments; `checked` then gives the typed call or says what is wrong.
Every schema a model is shown comes from the same pydantic models that check its calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from memalpha.api.memory.v1alpha1.memory_pb2 import MemoryType

TYPES: dict[str, MemoryType.ValueType] = {
    "core_memory": MemoryType.MEMORY_TYPE_CORE,
    "semantic_memory": MemoryType.MEMORY_TYPE_SEMANTIC,
    "episodic_memory": MemoryType.MEMORY_TYPE_EPISODIC,
}
TYPE_NAMES: dict[MemoryType.ValueType, str] = {value: name for name, value in TYPES.items()}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as a wire format read it; `text` is its span of the model's text, or empty."""

    name: str
    arguments: dict[str, object]
    text: str = ""


@dataclass(frozen=True, slots=True)
class ParseError:
    """A piece of a model's text that is no call: the piece, why, and where it is (`text[start:end]`)."""

    text: str
    message: str
    start: int
    end: int


def _type_name(value: object) -> object:
    # Models that were trained before the suffix was added still leave it out.
    return f"{value}_memory" if value in ("core", "semantic", "episodic") else value


def _bare_id(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip().removeprefix("[").removesuffix("]") if isinstance(value, str) else value


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return value


Text = Annotated[str, AfterValidator(_encodable)]
StoreName = Annotated[Literal["semantic_memory", "episodic_memory"], BeforeValidator(_type_name)]
TypeName = Annotated[
    Literal["core_memory", "semantic_memory", "episodic_memory"], BeforeValidator(_type_name)
]
MemoryId = Annotated[Text | None, BeforeValidator(_bare_id)]


class _Tool(BaseModel):
    model_config = ConfigDict(frozen=True)


class NewMemoryInsert(_Tool):
    """Store something new."""

    memory_type: StoreName = Field(
        description="semantic_memory for timeless facts, episodic_memory for events"
    )
    content: Text = Field(description="one self-contained statement")
    event_time: Text = Field(default="", description="when it happened, as an ISO 8601 date or date-time")


class MemoryUpdate(_Tool):
    """Replace a memory that has become wrong or incomplete; core memory is replaced as a whole."""

    memory_type: TypeName = Field(description="which part of the memory")
    new_content: Text = Field(description="the whole new text")
    memory_id: MemoryId = Field(
        default=None, description="letters in brackets before the memory; none for core_memory"
    )
    event_time: Text | None = Field(
        default=None, description="new ISO 8601 date or date-time; leave out to keep the old one"
    )


class MemoryDelete(_Tool):
    """Remove a memory that is no longer true or useful."""

    memory_type: TypeName = Field(description="which part of the memory")
    memory_id: MemoryId = Field(
        default=None, description="letters in brackets before the memory; none for core_memory"
    )


TypedCall = NewMemoryInsert | MemoryUpdate | MemoryDelete
TOOLS: dict[str, type[NewMemoryInsert] | type[MemoryUpdate] | type[MemoryDelete]] = {
    "new_memory_insert": NewMemoryInsert,
    "memory_update": MemoryUpdate,
    "memory_delete": MemoryDelete,
}


def checked(call: ToolCall) -> TypedCall:
    """The typed call.

    Raises:
        ValueError: The tool does not exist or an argument breaks its rule; the message says which.
    """
    tool = TOOLS.get(call.name)
    if tool is None:
        raise ValueError(f"tool must be one of {', '.join(TOOLS)}, not {call.name!r:.100}")
    try:
        return tool.model_validate(call.arguments)
    except ValidationError as error:
        raise ValueError("; ".join(_complaints(error))) from None


def is_core_insert(call: ToolCall) -> bool:
    """True if the call would insert into core memory, which is only ever updated."""
    return call.name == "new_memory_insert" and _type_name(call.arguments.get("memory_type")) == "core_memory"


def schemas() -> list[dict[str, object]]:
    """The tools in the OpenAI function format."""
    return [{"type": "function", "function": function_schema(name)} for name in TOOLS]


def function_schema(name: str) -> dict[str, object]:
    """One tool's name, description and parameters."""
    schema = _schema(name)
    properties = {key: _property(value) for key, value in schema["properties"].items()}
    parameters = {"type": "object", "properties": properties, "required": [*schema["required"]]}
    return {"name": name, "description": schema["description"], "parameters": parameters}


@cache
def _schema(name: str) -> dict[str, Any]:
    """What pydantic says of a tool: made once, for every prompt asks for it, and it takes milliseconds."""
    return TOOLS[name].model_json_schema()


def _property(schema: dict[str, object]) -> dict[str, object]:
    """The parts of a property that a model needs: no titles, no defaults, no null branch."""
    kinds = {"type": "string", "enum": schema.get("enum"), "description": schema.get("description")}
    return {key: value for key, value in kinds.items() if value is not None}


def _complaints(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    ]
