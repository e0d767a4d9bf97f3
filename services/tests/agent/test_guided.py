"""The schema of calls: what it lets through can be carried out, and what cannot be is not let through."""

import json
import re
from calendar import monthrange
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from memalpha.agent import packs, wire
from memalpha.agent.consolidate import Consolidator
from memalpha.agent.fit import check_policy
from memalpha.agent.guided import MOST_CALLS, MOST_CHARACTERS, call_list
from memalpha.agent.loop import Memorizer, PolicyOutage
from memalpha.agent.operations import operations
from memalpha.agent.prompts import render_prompt
from memalpha.agent.settings import AgentSettings
from memalpha.agent.tools import ToolCall
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ConsolidateRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    ApplyOperationsRequest,
    GetWriterViewRequest,
    GetWriterViewResponse,
)
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.client import AsyncMemoryClient
from memalpha.errors import UnsupportedError

from .support import (
    CORE,
    EPISODIC,
    QUICK,
    SEMANTIC,
    PlainPolicy,
    ScriptedPolicy,
    append,
    contents,
    delete,
    insert,
    update,
    update_core,
    write,
)

GUIDED = QUICK.model_copy(update={"guided_calls": True})
LISTS = [name for name in wire.NAMES if wire.get(name).reads_lists]
EVENT = {"kind": "episodic_memory", "event_time": "2023-05-08"}


def view(
    *, core: str = "Ann", semantic: int = 2, episodic: int = 1, disabled: Sequence[MemoryType.ValueType] = ()
) -> GetWriterViewResponse:
    """Memories a, b … of both types, in this order."""
    bank = Bank(settings=BankSettings(core_token_limit=8, disabled_types=disabled))
    return GetWriterViewResponse(
        bank=bank,
        core=Memory(type=CORE, content=core),
        semantic=[Memory(id=1 + n, type=SEMANTIC, content="x") for n in range(semantic)],
        episodic=[Memory(id=9 + n, type=EPISODIC, content="x") for n in range(episodic)],
        next_chunk=Chunk(text="c"),
    )


def schema(shown: GetWriterViewResponse, name: str = "hermes", **more: Any) -> dict[str, Any]:
    form = wire.get(name)
    return json.loads(call_list(shown, render_prompt(shown, form).aliases, form, **more))


def keeps(value: Any, rule: dict[str, Any]) -> bool:
    """Whether a value is of a schema: the words of JSON Schema that are used here."""
    if "anyOf" in rule:
        return any(keeps(value, each) for each in rule["anyOf"])
    if rule["type"] == "array":
        within = isinstance(value, list) and len(value) <= rule["maxItems"]
        return within and all(keeps(each, rule["items"]) for each in value)
    if rule["type"] == "string":
        # Of a pattern, `$` is the very end, as in ECMAScript.
        fits = re.fullmatch(rule.get("pattern", ".*").removeprefix("^").removesuffix("$"), value, re.DOTALL)
        return bool(fits) and value in rule.get("enum", [value])
    assert not rule["additionalProperties"]
    known = value.keys() <= rule["properties"].keys() and value.keys() >= set(rule["required"])
    return known and all(keeps(each, rule["properties"][name]) for name, each in value.items())


def listed(*calls: ToolCall) -> list[dict[str, object]]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


GOOD = [
    insert("Ann has a dog"),
    insert('she said "no\\never", 3 > 2 … ü 犬'),
    insert("Ann moved", **EVENT),
    insert("Ann moved", kind="episodic_memory", event_time="2023-05-08T13:56"),
    insert("Ann moved", kind="episodic_memory", event_time="2024-02-29T23:59:59"),
    insert("a\u00a0b\u3000"),
    insert("犬" * MOST_CHARACTERS),
    update("b", "Ann has two dogs"),
    update("c", "Ann moved again", kind="episodic_memory"),
    update_core("Ann, teacher"),
    # Longer than the eight tokens that there are, and cut.
    update_core("犬" * 32),
    delete("a"),
    delete("c", kind="episodic_memory"),
    ToolCall("memory_delete", {"memory_type": "core_memory"}),
]
BAD = [
    ToolCall("memory_forget", {}),
    insert("Ann", kind="core_memory"),
    insert(""),
    insert(" "),
    *(insert(f"{blank}x") for blank in "\u00a0\u1680\u2000\u200a\u202f\u205f\u3000"),
    insert("two\nlines"),
    insert("two\u0085lines"),
    insert("two\u2028lines"),
    insert("</tool_call>"),
    insert("x" * (MOST_CHARACTERS + 1)),
    insert("x", event_time="yesterday"),
    insert("x", event_time="2023-13-01"),
    insert("x", event_time="2023-02-30"),
    insert("x", event_time="2023-02-29"),
    insert("x", event_time="2023-04-31T10:00"),
    ToolCall("new_memory_insert", {"memory_type": "semantic_memory"}),
    ToolCall("memory_update", {"memory_type": "semantic_memory", "new_content": "x"}),
    # Not shown; shown as another type; longer than core memory may be.
    update("z", "x"),
    delete("c"),
    update_core("x" * 33),
]


async def shown_bank(memory: AsyncMemoryClient) -> GetWriterViewResponse:
    """A bank with what `view` shows."""
    await memory.create_bank("b", settings=BankSettings(core_token_limit=8))
    await append(memory, "c")
    await write(memory, update_core("Ann"), insert("x"), insert("x 2"), insert("y", **EVENT))
    return await memory.get_writer_view(GetWriterViewRequest(bank_id="b"))


@pytest.mark.parametrize("call", GOOD)
async def test_a_call_that_can_be_carried_out_is_let_through(
    memory: AsyncMemoryClient, call: ToolCall
) -> None:
    shown = await shown_bank(memory)
    assert keeps(listed(call), schema(shown))
    chosen = operations([call], render_prompt(shown, wire.get("hermes")).aliases)
    request = ApplyOperationsRequest(bank_id="b", operations=chosen)
    (result,) = (await memory.apply_operations(request)).results
    assert not result.HasField("error")


@pytest.mark.parametrize("call", [*GOOD, *BAD])
def test_the_grammar_that_is_sampled_under_lets_through_the_same(call: ToolCall) -> None:
    llguidance = pytest.importorskip("llguidance", reason="comes with vllm: uv sync --group vllm")
    tokenizer = llguidance.LLTokenizer("byte")
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        json.dumps(schema(view())), overrides={"whitespace_flexible": False}
    )
    matcher = llguidance.LLMatcher(tokenizer, grammar)
    tokens = tokenizer.tokenize_str(json.dumps(listed(call), ensure_ascii=False, separators=(",", ":")))
    whole = matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
    assert whole == (call in GOOD)


def test_days_are_those_of_the_calendar() -> None:
    def day(text: str) -> bool:
        return keeps(listed(insert("x", event_time=text)), rule)

    rule = schema(view())
    days = [*product((1900, 2023, 2024), range(14), range(33)), *product(range(1000, 3000), [2], [29])]
    for year, month, number in days:
        exists = 1 <= month <= 12 and 1 <= number <= monthrange(year, month)[1]
        assert day(f"{year}-{month:02}-{number:02}") == exists


def test_only_a_format_with_tags_bars_their_beginning() -> None:
    calls = listed(insert("a < b </tool_call><tool_call>{}"))
    assert not keeps(calls, schema(view(), "hermes"))
    assert keeps(calls, schema(view(), "openai"))
    (found,) = wire.get("openai").parse(json.dumps(calls))
    assert isinstance(found, ToolCall)
    # The control: `hermes` finds something else in it.
    assert found.arguments not in [
        each.arguments for each in wire.get("hermes").parse(json.dumps(calls)) if isinstance(each, ToolCall)
    ]


def test_core_memory_is_not_deleted_where_that_would_be_refused() -> None:
    call = listed(ToolCall("memory_delete", {"memory_type": "core_memory"}))
    assert keeps(call, schema(view()))
    assert not keeps(call, schema(view(), may_empty_core=False))
    assert keeps(listed(update_core("Ann"), delete("a")), schema(view(), may_empty_core=False))


@pytest.mark.parametrize("call", BAD)
def test_a_call_that_cannot_is_not(call: ToolCall) -> None:
    assert not keeps(listed(call), schema(view()))


def test_a_list_may_be_empty_and_has_an_end() -> None:
    call = insert("Ann has a dog")
    assert keeps([], schema(view()))
    assert keeps(listed(*[call] * MOST_CALLS), schema(view()))
    assert not keeps(listed(*[call] * (MOST_CALLS + 1)), schema(view()))


@pytest.mark.parametrize(
    ("shown", "lost"),
    [
        (view(semantic=0), [update("a", "x"), delete("a")]),
        (view(core=""), [ToolCall("memory_delete", {"memory_type": "core_memory"})]),
        (view(disabled=[EPISODIC]), [insert("x", **EVENT), delete("c", kind="episodic_memory")]),
        (view(disabled=[CORE]), [update_core("x")]),
    ],
    ids=["nothing of a type is shown", "core memory is empty", "a type is switched off", "core is"],
)
def test_what_a_view_does_not_have_cannot_be_called(
    shown: GetWriterViewResponse, lost: list[ToolCall]
) -> None:
    for call in lost:
        assert keeps(listed(call), schema(view(semantic=2)))
        assert not keeps(listed(call), schema(shown))


@pytest.mark.parametrize("name", LISTS)
def test_a_format_that_reads_lists_reads_every_call_of_one(name: str) -> None:
    form = wire.get(name)
    for ascii_only in (True, False):
        found = form.parse(json.dumps(listed(*GOOD), ensure_ascii=ascii_only, separators=(",", ":")))
        assert [(each.name, each.arguments) for each in found if isinstance(each, ToolCall)] == [
            (call.name, call.arguments) for call in GOOD
        ]
        assert len(found) == len(GOOD)
    assert form.parse("[]") == []


@pytest.mark.parametrize("name", LISTS)
def test_of_a_list_that_breaks_off_whole_calls_are_read_and_the_last_is_an_error(name: str) -> None:
    text = json.dumps(listed(insert("Ann has a dog"), insert("Ann has a cat")))
    whole = text.index("}}") + 2
    for end in range(whole + 3, len(text) - 2):
        first, broken = wire.get(name).parse(text[:end])
        assert isinstance(first, ToolCall)
        assert not isinstance(broken, ToolCall)


def test_a_format_that_says_it_reads_no_lists_does_not() -> None:
    text = json.dumps(listed(*GOOD))
    for name in set(wire.NAMES) - set(LISTS):
        assert not any(isinstance(each, ToolCall) for each in wire.get(name).parse(text))


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ({"engine": "transformers", "wire_format": "hermes"}, "engine transformers has no grammars"),
        ({"engine": "extractive", "wire_format": "hermes"}, "engine extractive has no grammars"),
        ({"engine": "openai", "wire_format": "openai"}, "engine openai was tried with no endpoint"),
        ({"engine": "vllm", "wire_format": "lines"}, "lines, which reads no list"),
        ({"engine": "vllm", "wire_format": "qwen_agent"}, "qwen_agent, which reads no list"),
    ],
)
def test_a_policy_that_cannot_be_guided_is_refused_if_it_is_to_be(description, why) -> None:
    described = GetPolicyResponse(**description)
    check_policy(described, AgentSettings(), packs.load("default"))
    with pytest.raises(UnsupportedError, match=why) as caught:
        check_policy(described, AgentSettings(guided_calls=True), packs.load("default"))
    assert caught.value.reason == "CALLS_NOT_GUIDED"


@pytest.mark.parametrize("settings", [GUIDED, QUICK], ids=["guided", "control"])
async def test_the_policy_is_given_the_schema_of_what_it_is_shown(
    memory: AsyncMemoryClient, settings: AgentSettings
) -> None:
    await write(memory, insert("Ann likes coffee"))
    await append(memory, "Ann: tea, please")
    policy = ScriptedPolicy(json.dumps(listed(update("a", "Ann likes tea"))))
    await Memorizer(memory, policy, settings).next_chunk("b")
    assert await contents(memory) == ["Ann likes tea"]
    sent = policy.requests[0].sampling.json_schema
    assert bool(sent) == settings.guided_calls
    if sent:
        assert keeps(listed(update("a", "x")), json.loads(sent))
        assert not keeps(listed(update("b", "x")), json.loads(sent))


async def test_a_chunk_waits_for_a_policy_that_can_be_guided(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    with pytest.raises(PolicyOutage, match="reads no list"):
        await Memorizer(memory, ScriptedPolicy("", wire_format="lines"), GUIDED).next_chunk("b")
    assert (await memory.get_bank("b")).failures.count == 0


@pytest.mark.parametrize("settings", [GUIDED, QUICK], ids=["guided", "control"])
async def test_so_is_the_policy_that_puts_memories_in_order(
    memory: AsyncMemoryClient, settings: AgentSettings
) -> None:
    await write(memory, update_core("Ann"), insert("Ann has a dog"), insert("Ann has a dog, Rex"))
    policy = PlainPolicy(json.dumps(listed(delete("a"))))
    request = ConsolidateRequest(bank_id="b")
    done = [piece async for piece in Consolidator(memory, policy, settings).consolidate(request)]
    assert [piece.refused for piece in done] == [""]
    assert await contents(memory) == ["Ann has a dog, Rex"]
    sent = policy.requests[0].sampling.json_schema
    assert bool(sent) == settings.guided_calls
    if sent:
        # It would lose what is not in any piece, and be refused.
        emptied = ToolCall("memory_delete", {"memory_type": "core_memory"})
        assert keeps(listed(delete("a")), json.loads(sent))
        assert not keeps(listed(emptied), json.loads(sent))
