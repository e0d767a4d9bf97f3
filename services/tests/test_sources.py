import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from memalpha.sources import Format, SourceError, Turn, event_time, files, read


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refusal(path: str, format: Format = Format.AUTO, **options: str) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, format, **options)
    return str(caught.value)


def test_every_paragraph_of_a_plain_text_is_a_turn(tmp_path) -> None:
    path = written(tmp_path, "notes.txt", "I moved\nto Oslo.\r\n\r\n \n\nMy cat is Miu.\n")
    assert read(path) == [
        Turn(text="I moved\nto Oslo.", source="notes.txt"),
        Turn(text="My cat is Miu.", source="notes.txt"),
    ]


def test_options_fill_in_what_a_plain_text_does_not_say(tmp_path) -> None:
    path = written(tmp_path, "notes.txt", "I moved.")
    assert read(path, speaker="Ada", time="2024-05-01") == [
        Turn(text="I moved.", speaker="Ada", event_time="2024-05-01", source="notes.txt")
    ]


def test_standard_input_is_read_for_a_dash(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"I moved.")))
    assert read("-") == [Turn(text="I moved.", source="stdin")]


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path) -> None:
    assert read(written(tmp_path, "a.txt", b"\xef\xbb\xbfHello"))[0].text == "Hello"


@pytest.mark.parametrize("content", ["", " \n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, content) -> None:
    assert refusal(written(tmp_path, "a.txt", content)) == "a.txt is empty: there is nothing to memorize"


def test_a_byte_that_is_not_utf8_is_named_by_offset_and_line(tmp_path) -> None:
    # "ab\n" is bytes 0 to 2, "é" is 3 and 4, and 0xff is the sixth byte
    path = written(tmp_path, "a.txt", "ab\né".encode() + b"\xff")
    assert refusal(path) == "a.txt: byte 5 (line 2) is 0xff, which is not UTF-8"


def test_a_nul_is_named_by_offset_and_line(tmp_path) -> None:
    message = refusal(written(tmp_path, "a.txt", b"ab\ncd\0"))
    assert message == "a.txt holds a NUL at byte 5 (line 2): it is not plain text"


def test_a_nul_that_json_spells_out_is_found_too(tmp_path) -> None:
    path = written(tmp_path, "a.json", '[{"role": "user", "content": "ab\\u0000"}]')
    assert refusal(path) == "a.json, turn 1 holds a NUL at character 2: it is not plain text"


def test_half_a_surrogate_pair_is_refused(tmp_path) -> None:
    path = written(tmp_path, "a.json", '[{"role": "user", "content": "ab\\ud83d"}]')
    assert refusal(path) == "a.json, turn 1 holds half of a surrogate pair, U+D83D, at character 2"


def test_utf16_is_refused_by_name(tmp_path) -> None:
    assert refusal(written(tmp_path, "a.txt", "hello".encode("utf-16"))) == (
        "a.txt is UTF-16; only UTF-8 can be memorized"
    )


def test_a_file_over_the_limit_is_refused_with_the_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    path = written(tmp_path, "a.txt.gz", gzip.compress(b"x" * (2**20 + 1)))
    assert refusal(path) == "a.txt.gz is larger than 1 MiB, the most that one file may hold: split it"


def test_a_gzip_file_that_ends_early_is_refused(tmp_path) -> None:
    path = written(tmp_path, "a.txt.gz", gzip.compress(b"hello" * 100)[:-12])
    assert refusal(path) == "a.txt.gz: its gzip data ends early"


def test_a_missing_file_and_a_folder_are_refused_with_the_reason(tmp_path) -> None:
    assert refusal(str(tmp_path / "no.txt")) == f"cannot read {tmp_path}/no.txt: No such file or directory"
    assert refusal(str(tmp_path)) == f"cannot read {tmp_path}: Is a directory"


def test_markdown_sections_carry_the_headings_above_them(tmp_path) -> None:
    content = (
        "# Guide\nIntro.\n## Install\nRun it.\n\n```sh\n# no heading\n```\n## Use\nCall it.\n# Other\nEnd.\n"
    )
    turns = read(written(tmp_path, "a.md", content))
    assert [turn.text for turn in turns] == [
        "# Guide\nIntro.",
        "# Guide > Install\nRun it.\n\n```sh\n# no heading\n```",
        "# Guide > Use\nCall it.",
        "# Other\nEnd.",
    ]


def test_a_front_matter_names_and_dates_markdown(tmp_path) -> None:
    content = '---\ntitle: "Trip"\ntags: [a]\ndate: 2024-05-01\n---\nWe left.\n'
    assert read(written(tmp_path, "a.md", content)) == [
        Turn(text="# Trip\nWe left.", event_time="2024-05-01", source="a.md")
    ]


def test_a_heading_that_is_a_date_dates_its_section(tmp_path) -> None:
    content = "Preface.\n# 2024-05-01\n## Morning\nSwam.\n# 2024-05-02\nRan.\n"
    assert [(turn.event_time, turn.text) for turn in read(written(tmp_path, "a.md", content))] == [
        ("", "Preface."),
        ("2024-05-01", "# 2024-05-01 > Morning\nSwam."),
        ("2024-05-02", "# 2024-05-02\nRan."),
    ]


def test_a_heading_without_a_section_is_kept(tmp_path) -> None:
    turns = read(written(tmp_path, "a.md", "# Alone\n# Parent\n## Child\n"))
    assert [turn.text for turn in turns] == ["# Alone", "# Parent > Child"]


def test_a_long_section_repeats_its_headings_in_every_piece(tmp_path) -> None:
    # 3 paragraphs of 900 characters: two fit into a piece of 2000, the third does not
    paragraph = "x" * 900
    turns = read(written(tmp_path, "a.md", f"# Long\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n"))
    assert [turn.text for turn in turns] == [f"# Long\n{paragraph}\n\n{paragraph}", f"# Long\n{paragraph}"]


MESSAGES = [
    {"role": "user", "content": "I moved.", "name": "Ada", "time": "2024-05-01 10:00"},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "Where"}, {"type": "image_url"}],
        "timestamp": 0,
    },
    {"role": "tool", "content": "12 °C", "created_at": "1714557600"},
]
# 1714557600 s = 19844 days and 36000 s after 1970-01-01; day 19844 is 2024-05-01, 36000 s are 10 h
TURNS = [
    ("Ada", "2024-05-01T10:00", "I moved."),
    ("assistant", "1970-01-01T00:00:00Z", "Where\n[image_url]"),
    ("tool", "2024-05-01T10:00:00Z", "12 °C"),
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(MESSAGES, indent=1)),
        ("object.json", json.dumps({"messages": MESSAGES, "model": "x"}, indent=1)),
        ("one-line.json", json.dumps({"messages": MESSAGES})),
        ("lines.jsonl", "\n\n".join(json.dumps(message) for message in MESSAGES)),
        ("lines-of-chats.jsonl", json.dumps({"messages": MESSAGES}) + "\n"),
        ("no-suffix", "\n".join(json.dumps(message) for message in MESSAGES)),
        ("other-no-suffix", json.dumps(MESSAGES)),
    ],
)
def test_chats_are_read_in_each_of_their_forms(tmp_path, name, content) -> None:
    turns = read(written(tmp_path, name, content))
    assert [(turn.speaker, turn.event_time, turn.text) for turn in turns] == TURNS


def test_the_user_of_a_chat_can_be_named(tmp_path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    turns = read(written(tmp_path, "a.json", json.dumps(messages)), speaker="Ada")
    assert [turn.speaker for turn in turns] == ["Ada", "assistant"]


def test_tool_calls_are_kept_and_messages_without_text_are_not_turns(tmp_path) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": ""},
    ]
    turns = read(written(tmp_path, "a.json", json.dumps(messages)))
    assert [turn.text for turn in turns] == ['[calls weather({"city": "Oslo"})]']


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01 10:00:30+0200", "2024-05-01T10:00:30+02:00"),
        ("2024-05-01T10:00Z", "2024-05-01T10:00Z"),
        (1714557600000, "2024-05-01T10:00:00Z"),  # milliseconds
        (0, "1970-01-01T00:00:00Z"),
        (None, ""),
    ],
)
def test_a_time_is_kept_as_the_memory_writes_it(value, expected) -> None:
    assert event_time(value) == expected


@pytest.mark.parametrize("value", ["2024-02-30", "20240501", "١٩٧٠-01-01", 10**400, float("nan"), True, [1]])
def test_what_is_no_time_is_refused(value) -> None:
    with pytest.raises(ValueError, match=r"a time must be ISO 8601"):
        event_time(value)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ('[{"content": "x"}]', '"role" must be a string such as "user", not null'),
        ('[{"role": 3, "content": "x"}]', '"role" must be a string such as "user", not 3'),
        (
            '[{"role": "user", "content": 3}]',
            '"content" must be a string or a list of text parts, not a number',
        ),
        ('["hello"]', "must be an object with role and content, not a string"),
    ],
)
def test_a_message_of_another_form_is_named_with_the_rule(tmp_path, messages, message) -> None:
    path = written(tmp_path, "a.json", messages)
    assert refusal(path, Format.CHAT).startswith("a.json, message 1")
    assert refusal(path, Format.CHAT).endswith(message)


def test_a_time_that_is_none_is_refused(tmp_path) -> None:
    path = written(tmp_path, "a.json", '[{"role": "user", "content": "x", "time": "soon"}]')
    assert refusal(path) == (
        "a.json, message 1: a time must be ISO 8601 such as 2023-05-08T13:56, or Unix seconds, not 'soon'"
    )
    text = written(tmp_path, "a.txt", "x")
    assert refusal(text, time="2024-13-01").startswith("--time: a time must be ISO 8601")


def test_broken_json_is_named_by_line_and_column(tmp_path) -> None:
    assert refusal(written(tmp_path, "a.json", '[{"role":\n "user",}]')) == (
        "a.json is not JSON: Illegal trailing comma before end of object at line 2, column 8"
        if sys.version_info >= (3, 13)
        else "a.json is not JSON: Expecting property name enclosed in double quotes at line 2, column 9"
    )
    assert refusal(written(tmp_path, "a.jsonl", '{"role": "user", "content": "x"}\n{')).startswith(
        "a.jsonl, line 2 is not JSON: "
    )


def test_json_nested_without_end_is_refused(tmp_path) -> None:
    assert refusal(written(tmp_path, "a.json", "[" * 200_000)) == "a.json is nested too deep"


def test_json_of_an_unknown_form_is_refused_with_a_way_out(tmp_path) -> None:
    path = written(tmp_path, "a.json", '{"a": 1}')
    assert refusal(path) == (
        "a.json is JSON, but neither chat messages nor LoCoMo; --format text takes it as it stands"
    )
    assert read(path, Format.TEXT) == [Turn(text='{"a": 1}', source="a.json")]


def test_text_that_only_begins_like_json_is_text(tmp_path) -> None:
    assert read(written(tmp_path, "notes", "[draft] We left."))[0].text == "[draft] We left."


def sample(sample_id: str = "conv-1", **sessions: object) -> dict[str, object]:
    return {"sample_id": sample_id, "conversation": {"speaker_a": "Ada", "speaker_b": "Bo", **sessions}}


TWO_SESSIONS = {
    "session_10_date_time": "9:05 am on 1 June, 2023",
    "session_10": [{"speaker": "Bo", "dia_id": "D10:1", "text": "Bye"}],
    "session_2_date_time": "12:30 am on 8 May, 2023",
    "session_2": [
        {"speaker": "Ada", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a photo of a dog"},
        {"speaker": "Bo", "dia_id": "D2:2", "text": ""},
    ],
}


def test_locomo_sessions_come_in_order_with_their_times_and_captions(tmp_path) -> None:
    path = written(tmp_path, "l.json.gz", gzip.compress(json.dumps([sample(**TWO_SESSIONS)]).encode()))
    assert read(path) == [
        Turn("Look! [shares a photo of a dog]", "Ada", "2023-05-08T00:30", "l.json.gz#conv-1"),
        Turn("Bye", "Bo", "2023-06-01T09:05", "l.json.gz#conv-1"),
    ]


def test_one_of_several_conversations_has_to_be_named(tmp_path) -> None:
    samples = [
        sample("conv-1", **TWO_SESSIONS),
        sample("conv-2", session_1=[{"speaker": "Ada", "text": "Hi"}]),
    ]
    path = written(tmp_path, "l.json", json.dumps(samples))
    assert refusal(path) == "l.json holds 2 conversations; name one with --conversation: conv-1, conv-2"
    assert refusal(path, conversation="x") == (
        "l.json has no conversation 'x'; name one with --conversation: conv-1, conv-2"
    )
    assert read(path, conversation="conv-2") == [Turn("Hi", "Ada", "", "l.json#conv-2")]


def test_a_conversation_can_only_be_named_in_a_locomo_file(tmp_path) -> None:
    path = written(tmp_path, "a.txt", "x")
    assert refusal(path, conversation="conv-1") == "--conversation is for LoCoMo files; a.txt is read as text"


def test_a_file_that_is_no_locomo_is_refused(tmp_path) -> None:
    path = written(tmp_path, "a.json", '[{"role": "user", "content": "x"}]')
    assert refusal(path, Format.LOCOMO) == (
        'a.json is not LoCoMo: every sample needs a "conversation" with "session_1"'
    )
