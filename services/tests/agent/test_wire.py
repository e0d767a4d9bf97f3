import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memalpha.agent import wire
from memalpha.agent.tools import ParseError, ToolCall, checked
from memalpha.errors import InvalidInputError

INSERT: dict[str, object] = {"memory_type": "semantic_memory", "content": "Ann's dog"}
HERMES, LINES = wire.get("hermes"), wire.get("lines")
QWEN_AGENT, OPENAI = wire.get("qwen_agent"), wire.get("openai")

PIECES = [
    *(
        "<tool_call>",
        "</tool_call>",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\",
        "\n",
        "\r",
        "```",
        "```json\n",
        " ",
        ",",
    ),
    *("<think>", "</think>", '{"name": ', '"memory_update"', '"arguments": {', '"content": "', "2023-05-08 "),
    *(
        "✿FUNCTION✿: ",
        "✿ARGS✿:",
        "✿RESULT✿",
        "✿RETURN✿: ",
        "✿",
        '{"function": ',
        '"tool_calls": ',
        "5}",
        '"}',
        "'}",
    ),
    *("S+ ", "E=", "C=", "S-a", "x", "…", "\x00", "\ud800"),
]
texts = st.text(max_size=80) | st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
iso_times = st.sampled_from(["", "2023-05-08", "2023-05-08T13:56", "2023-05-08T13:56:07Z"])
stores = st.sampled_from(["semantic_memory", "episodic_memory"])
aliases = st.from_regex(r"[a-z]{1,3}", fullmatch=True)


def _call(**rest: object) -> str:
    return json.dumps({"name": "new_memory_insert", **rest})


CALL = _call(arguments=INSERT)


def _with(arguments: dict[str, object], event_time: str) -> dict[str, object]:
    return arguments | {"event_time": event_time} if event_time else arguments


inserts = st.builds(
    lambda kind, content, event_time: ToolCall(
        "new_memory_insert", _with({"memory_type": kind, "content": content}, event_time)
    ),
    stores,
    texts,
    iso_times,
)
updates = st.builds(
    lambda kind, alias, content, event_time: ToolCall(
        "memory_update", _with({"memory_type": kind, "memory_id": alias, "new_content": content}, event_time)
    ),
    stores,
    aliases,
    texts,
    iso_times,
)
core_updates = st.builds(
    lambda content: ToolCall("memory_update", {"memory_type": "core_memory", "new_content": content}), texts
)
deletes = st.builds(
    lambda kind, alias: ToolCall("memory_delete", {"memory_type": kind, "memory_id": alias}), stores, aliases
)
core_deletes = st.just(ToolCall("memory_delete", {"memory_type": "core_memory"}))
calls = st.lists(inserts | updates | core_updates | deletes | core_deletes, max_size=4)


def _named(found: list[ToolCall | ParseError]) -> list[tuple[str, dict[str, object]]]:
    assert not [each for each in found if isinstance(each, ParseError)]
    return [(each.name, each.arguments) for each in found if isinstance(each, ToolCall)]


@pytest.mark.parametrize("name", wire.NAMES)
@given(written=calls)
def test_what_is_rendered_is_parsed_back_whatever_it_holds(name: str, written: list[ToolCall]) -> None:
    parsed = wire.get(name).parse(wire.get(name).render(written))
    assert _named(parsed) == [(call.name, call.arguments) for call in written]


@pytest.mark.parametrize("name", wire.NAMES)
@given(text=texts)
@example("<tool_call>" + "[" * 100_000)
@example("<tool_call>" + '{"a":' * 20_000)
@example('<tool_call>{"name": "x", "arguments": {"n": ' + "1" * 5000 + "}}")
@example("<tool_call>{}</tool_call>")
@example("<tool_call>'")
@example("✿FUNCTION✿: x\n✿ARGS✿: " + "[" * 100_000)
@example("✿ARGS✿: {}\n✿FUNCTION✿:\n✿ARGS✿: {}")
@example('[{"function": ' * 20_000)
@example('[{"name": "x", "arguments": "' + "[" * 20_000 + '"}]')
@example('<tool_call>{"```json[```</tool_call>')
@example('✿FUNCTION✿: x\n✿ARGS✿: {"```json[```\n✿RESULT✿')
@example('[{"```json[```}]')
def test_no_text_makes_a_parser_raise_and_errors_say_where_they_are(name: str, text: str) -> None:
    for each in wire.get(name).parse(text):
        assert each.text in text
        if isinstance(each, ParseError):
            assert text[each.start : each.end] == each.text
            assert each.message


@pytest.mark.parametrize("name", ["hermes", "qwen_agent", "openai"])
@pytest.mark.parametrize("depth", [10, 40, 300, 900, 960, 980, 990])
def test_a_call_nested_too_deep_is_an_error_and_never_an_exception(name: str, depth: int) -> None:
    form = wire.get(name)
    filled = form.render([ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": "@"})])
    for opener, closer in (("[", "]"), ('{"a":', "}")):
        deep = opener * depth + "1" + closer * depth
        # `openai` has arguments as JSON in JSON.
        text = filled.replace('"@"', deep).replace('\\"@\\"', deep.replace('"', '\\"'))
        found = form.parse(text)
        # The control: ten levels are no error of the format, but one of the tool.
        assert any(isinstance(each, ParseError) for each in found) == (depth > 10)
        for call in [each for each in found if isinstance(each, ToolCall)]:
            with pytest.raises(ValueError, match="content: Input should be a valid string"):
                checked(call)


@pytest.mark.parametrize("name", ["hermes", "qwen_agent", "openai"])
@given(written=calls, share=st.floats(0, 1))
@example(
    written=[
        ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": 'at 5}\' or "}" or 5} x'})
    ],
    share=0.9,
)
def test_of_a_truncated_text_whole_calls_are_read_and_no_call_changes(
    name: str, written: list[ToolCall], share: float
) -> None:
    text = wire.get(name).render(written)
    for end in (int(len(text) * share), text.rfind("}", 0, int(len(text) * share)) + 1):
        parsed = wire.get(name).parse(text[:end])
        whole = [each for each in parsed if isinstance(each, ToolCall)]
        assert [(each.name, each.arguments) for each in whole] == [
            (c.name, c.arguments) for c in written[: len(whole)]
        ]


def test_a_format_nobody_has_is_refused_with_the_choices() -> None:
    with pytest.raises(
        InvalidInputError, match="wire_format must be one of hermes, lines, qwen_agent, openai, not 'yaml'"
    ):
        wire.get("yaml")


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{CALL}</tool_call>",
        f"Let me think.\n<tool_call>\n{CALL}",
        f"<tool_call>\n```json\n{CALL}\n```\n</tool_call>",
        f"<tool_call>{_call(parameters=INSERT)}</tool_call>",
        f"<tool_call>{_call(arguments=json.dumps(INSERT))}</tool_call>",
        f"<tool_call>[{CALL}]</tool_call>",
        f"<tool_call><tool_call>{CALL}</tool_call></tool_call>",
        '<tool_call>{"function": ' + CALL + "}</tool_call>",
        f"<tool_call>{CALL}}}</tool_call>",
        """<tool_call>{"name": "new_memory_insert", "arguments": {"memory_type": "semantic_memory",
           "content": "Ann's dog",},}</tool_call>""",
        """<tool_call>{'name': 'new_memory_insert', 'arguments': {'memory_type': 'semantic_memory',
           'content': 'Ann\\'s dog'}}</tool_call>""",
        f"```json\n{CALL}\n```",
        f"<think>maybe <tool_call>{{}}</tool_call></think><tool_call>{CALL}</tool_call>",
    ],
)
def test_hermes_reads_the_usual_deviations_as_the_same_call(text: str) -> None:
    assert _named(HERMES.parse(text)) == [("new_memory_insert", INSERT)]


def test_several_calls_between_one_pair_of_tags_are_all_read() -> None:
    one, two = ({"name": name, "arguments": {"n": name}} for name in ("one", "two"))
    text = f"<tool_call>\n{json.dumps(one)}\n{json.dumps(two)}\n</tool_call>"
    assert _named(HERMES.parse(text)) == [("one", {"n": "one"}), ("two", {"n": "two"})]


def test_a_good_call_survives_a_bad_one_before_it() -> None:
    bad, good = HERMES.parse(
        '<tool_call>[}</tool_call> <tool_call>{"name": "x", "arguments": {}}</tool_call>'
    )
    assert isinstance(bad, ParseError)
    assert good == ToolCall("x", {}, '{"name": "x", "arguments": {}}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<tool_call>{"arguments": {}}</tool_call>', "a call needs a `name`"),
        ('<tool_call>{"name": "x"}</tool_call>', "a call needs `arguments`, a JSON object"),
        ('<tool_call>{"name": "x", "arguments": 3}</tool_call>', "a call needs `arguments`, a JSON object"),
        ("<tool_call>Done</tool_call>", "a call must be a JSON object"),
        ("<tool_call>7</tool_call>", "a call must be a JSON object"),
        ("<tool_call></tool_call>", "a call without content"),
        (
            '<tool_call>{"name": "x", "arguments": {"content": "Ann lives in',
            "the text ends before the call's JSON does",
        ),
    ],
)
def test_hermes_says_why_a_piece_is_no_call(text: str, message: str) -> None:
    (error,) = HERMES.parse(text)
    assert isinstance(error, ParseError)
    assert error.message == message


@pytest.mark.parametrize(
    "text", ["", "Done.", "Nothing new here: {braces} do not count.", "<think><tool_call>{}"]
)
def test_prose_and_unfinished_thoughts_hold_no_calls(text: str) -> None:
    assert HERMES.parse(text) == []


def test_lines_reads_each_kind_of_line() -> None:
    text = (
        "S+ Ann has a dog\nE+ 2023-05-08 Ann moved\nS=a Two\\ndogs\nE=c 2023-05-09 x\n"
        "C= Ann\n\nS-a\r\nE-c\nC-\n"
    )
    assert _named(LINES.parse(text)) == [
        ("new_memory_insert", {"memory_type": "semantic_memory", "content": "Ann has a dog"}),
        (
            "new_memory_insert",
            {"memory_type": "episodic_memory", "content": "Ann moved", "event_time": "2023-05-08"},
        ),
        ("memory_update", {"memory_type": "semantic_memory", "memory_id": "a", "new_content": "Two\ndogs"}),
        (
            "memory_update",
            {
                "memory_type": "episodic_memory",
                "memory_id": "c",
                "new_content": "x",
                "event_time": "2023-05-09",
            },
        ),
        ("memory_update", {"memory_type": "core_memory", "new_content": "Ann"}),
        ("memory_delete", {"memory_type": "semantic_memory", "memory_id": "a"}),
        ("memory_delete", {"memory_type": "episodic_memory", "memory_id": "c"}),
        ("memory_delete", {"memory_type": "core_memory"}),
    ]


def test_a_line_of_no_known_form_is_an_error_with_its_place() -> None:
    call, error = LINES.parse("S+ a\n  I have stored it.\n")
    assert isinstance(call, ToolCall)
    # "S+ a\n" is 5 characters, then two blanks.
    assert error == ParseError(
        "I have stored it.", error.message if isinstance(error, ParseError) else "", 7, 24
    )


def test_a_year_at_the_start_of_content_is_no_time() -> None:
    assert _named(LINES.parse("S+ 2023 was a good year")) == [
        ("new_memory_insert", {"memory_type": "semantic_memory", "content": "2023 was a good year"})
    ]


def test_after_a_thousand_calls_reading_stops_with_an_error_that_says_so() -> None:
    calls = [ToolCall("new_memory_insert", INSERT)] * 1001
    for each in map(wire.get, wire.NAMES):
        found = each.parse(each.render(calls))
        assert len(found) == 1000
        assert isinstance(found[998], ToolCall)
        assert isinstance(found[999], ParseError)
        assert found[999].message == "more than 999 calls; the rest was not read"


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" * 100_000,
        '<tool_call>{"' * 100_000,
        "<tool_call>{" + " " * 1_000_000,
        '<tool_call>{"name": "x", "arguments": {"content": "' + 'say "so" and ' * 80_000 + '"}}</tool_call>',
        "<tool_call>" + '{"' * 8_000 + "</tool_call>",
        "✿FUNCTION✿: x\n✿ARGS✿: " + '{"' * 8_000 + "\n✿RESULT✿",
        "```" * 300_000,
        "✿FUNCTION✿: x ✿ARGS✿: " * 40_000,
        '✿ARGS✿: {"' * 100_000,
        "✿FUNCTION✿: x ✿ARGS✿: {" + '"} ' * 300_000,
        '[{"' + "}" * 500_000 + " " * 500_000,
        '[{"name": "x", "arguments": "' + "{" * 1_000_000,
    ],
)
@pytest.mark.parametrize("name", wire.NAMES)
@pytest.mark.timeout(60)  # no clock of its own: work that grows with the square would not end by then
def test_a_megabyte_of_nonsense_is_read_to_its_end(name: str, text: str) -> None:
    assert all(isinstance(found, ToolCall | ParseError) for found in wire.get(name).parse(text))


def test_the_paper_s_models_calls_are_read() -> None:
    text = (
        "I will store two things.\n"
        '✿FUNCTION✿: new_memory_insert\n✿ARGS✿: {"memory_type": "semantic_memory", "content": "Ann\'s dog"}\n'
        '✿FUNCTION✿: memory_delete\n✿ARGS✿: {"memory_type": "core_memory"} // nothing left\n'
        '✿RESULT✿: ok\n✿FUNCTION✿: made_up\n✿ARGS✿: {"by": "the model"}\n✿RETURN✿: Done'
    )
    assert _named(QWEN_AGENT.parse(text)) == [
        ("new_memory_insert", INSERT),
        ("memory_delete", {"memory_type": "core_memory"}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"✿FUNCTION✿: new_memory_insert ✿ARGS✿: {json.dumps(INSERT)}",
        f"✿FUNCTION✿：new_memory_insert\n✿ARGS✿：{json.dumps(INSERT)}\n✿RETURN✿",
        f"✿FUNCTION✿: new_memory_insert\n✿ARGS✿:\n```json\n{json.dumps(INSERT)}\n```\n",
        """✿FUNCTION✿: new_memory_insert
           ✿ARGS✿: {'memory_type': 'semantic_memory', 'content': 'Ann\\'s dog',}""",
        f"<think>✿FUNCTION✿: x</think>✿FUNCTION✿: new_memory_insert\n✿ARGS✿: {json.dumps(INSERT)}",
    ],
)
def test_qwen_agent_reads_the_usual_deviations_as_the_same_call(text: str) -> None:
    assert _named(QWEN_AGENT.parse(text)) == [("new_memory_insert", INSERT)]


def test_a_marker_within_a_string_ends_nothing_and_is_written_so_that_others_see_none() -> None:
    content = "she wrote ✿RESULT✿: fine"
    call = ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": content})
    assert QWEN_AGENT.render([call]).count("✿") == 4
    raw = QWEN_AGENT.render([call]).replace("\\u273f", "✿")
    assert raw.count("✿") == 6
    assert _named(QWEN_AGENT.parse(raw)) == [(call.name, call.arguments)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("✿FUNCTION✿: memory_delete", "a call needs ✿ARGS✿ after its name"),
        ("✿FUNCTION✿: memory_delete ✿RESULT✿", "a call needs ✿ARGS✿ after its name"),
        ("✿ARGS✿: {}", "a call needs ✿FUNCTION✿ and a name before its ✿ARGS✿"),
        ("✿FUNCTION✿: x ✿ARGS✿: ✿RETURN✿", "a call without arguments"),
        ("✿FUNCTION✿: x ✿ARGS✿: Done", "a call must be a JSON object"),
        ("✿FUNCTION✿: x ✿ARGS✿: [1]", "arguments must be a JSON object"),
        ('✿FUNCTION✿: x ✿ARGS✿: {"content": "Ann', "the text ends before the call's JSON does"),
        ('✿FUNCTION✿: x ✿ARGS✿: {"content": "5}', "the text ends before the call's JSON does"),
    ],
)
def test_qwen_agent_says_why_a_piece_is_no_call(text: str, message: str) -> None:
    (error,) = QWEN_AGENT.parse(text)
    assert isinstance(error, ParseError)
    assert error.message == message


NATIVE = {"type": "function", "function": {"name": "new_memory_insert", "arguments": json.dumps(INSERT)}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([NATIVE]),
        json.dumps([NATIVE | {"id": "call_1", "index": 0}]),
        json.dumps({"role": "assistant", "content": None, "tool_calls": [NATIVE]}),
        json.dumps(NATIVE),
        json.dumps([{"name": "new_memory_insert", "arguments": INSERT}], indent=2),
        f"Here you are: {json.dumps([NATIVE])} Done.",
        f"```json\n{json.dumps([NATIVE])}\n```",
        f"<think>[{{}}]</think>{json.dumps([NATIVE])}",
        f"The list was [] before.\n{json.dumps([NATIVE])}",
    ],
)
def test_openai_reads_native_calls_and_what_models_make_of_them(text: str) -> None:
    assert _named(OPENAI.parse(text)) == [("new_memory_insert", INSERT)]


def test_arguments_of_any_length_are_read() -> None:
    long = ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": "dog " * 20_000})
    assert _named(OPENAI.parse(OPENAI.render([long]))) == [(long.name, long.arguments)]


def test_a_cut_array_gives_its_whole_calls_and_an_error_for_the_rest() -> None:
    text = json.dumps([NATIVE, NATIVE])[:-20]
    whole, broken = OPENAI.parse(text)
    assert isinstance(whole, ToolCall)
    assert isinstance(broken, ParseError)
    assert broken.message == "the text ends before the call's JSON does"
    assert text[broken.start : broken.end] == broken.text


@pytest.mark.parametrize("text", ["", "Done.", "[]", "Nothing {new} [here].", '<think>[{"name"'])
@pytest.mark.parametrize("name", ["qwen_agent", "openai"])
def test_neither_prose_nor_an_empty_array_holds_calls(name: str, text: str) -> None:
    assert wire.get(name).parse(text) == []


@pytest.mark.parametrize("name", wire.NAMES)
def test_tools_stand_in_the_prompt_or_beside_it(name: str) -> None:
    form = wire.get(name)
    native = bool(form.tools_json())
    assert native == (name == "openai")
    assert native != any(
        word in form.instructions() for word in ("new_memory_insert", "add a semantic memory")
    )
