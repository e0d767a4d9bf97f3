"""Commands with input that they cannot take: a message with the rule and the value, and nothing lost.

Every test compares what the bank held before with what it holds after, which also shows that the store, or
the service, still works.
"""

import json

import pytest
from product import BANK_ID_RULE, CONVERSATION

from memalpha.agent.chunking import CONTINUED

SENTENCE = "The lighthouse keeper wrote down every ship that passed, its flag, its cargo and its port. "
FIFTY_MEGABYTES = 50_000_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "empty.txt is empty: there is nothing to memorize"),
        ("blank.md", b" \n\t\n ", "blank.md is empty: there is nothing to memorize"),
        # 5 bytes and 3 of the second line come before it
        ("latin.txt", b"good\nabc\xff\n", "latin.txt: byte 8 (line 2) is 0xff, which is not UTF-8"),
        ("nul.txt", b"a\nb\0c", "nul.txt holds a NUL at byte 3 (line 2): it is not plain text"),
        ("wide.txt", "hello".encode("utf-16"), "wide.txt is UTF-16; only UTF-8 can be memorized"),
        (
            "cut.json",
            b'[{"role": "user", "content": ',
            "cut.json is not JSON: Expecting value at line 1, column 30",
        ),
        (
            "other.json",
            b'{"a": 1}',
            "other.json is JSON, but neither chat messages nor LoCoMo; --format text",
        ),
        ("cut.gz", b"\x1f\x8b\x08\0", "cut.gz: its gzip data ends early"),
        ("silent.json", b'[{"role": "user", "content": " "}]', "silent.json holds no message with text"),
        (
            "half.json",
            rb'[{"role": "user", "content": "\ud800"}]',
            "half.json, turn 1 holds half of a surrogate pair, U+D800, at character 0",
        ),
        (
            "late.json",
            b'[{"role": "user", "content": "hi", "time": "tomorrow"}]',
            "late.json, message 1: a time must be ISO 8601 such as 2023-05-08T13:56, or Unix seconds, not"
            " 'tomorrow'",
        ),
    ],
)
def test_a_file_that_cannot_be_memorized_is_named_with_the_place_and_the_rule(
    embedded, name, content, message
) -> None:
    before = embedded.contents("me")
    assert message in embedded.refusal("memorize", embedded.write(name, content), "--bank", "me", code=2)
    assert embedded.contents("me") == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere.txt"], "cannot read nowhere.txt: No such file or directory"),
        (["."], "cannot read .: Is a directory"),
        (
            [CONVERSATION, "--format", "pdf"],
            "'pdf' is not one of 'auto', 'text', 'markdown', 'chat', 'locomo'",
        ),
        ([CONVERSATION, "--format", "locomo"], 'conversation.json is not LoCoMo: every sample needs a "conv'),
        ([CONVERSATION, "--conversation", "7"], "--conversation is for LoCoMo files; conversation.json is"),
        ([CONVERSATION, "--time", "1/2/3"], "--time: a time must be ISO 8601 such as 2023-05-08T13:56, or"),
        ([CONVERSATION, "--retry-for", "-1"], "--retry-for must be 0 or more seconds, got -1"),
        ([CONVERSATION, "--retry-for", "nan"], "--retry-for must be 0 or more seconds, got nan"),
    ],
)
def test_a_file_or_an_option_that_memorize_cannot_use_is_refused(embedded, args, message) -> None:
    before = embedded.contents("me")
    assert message in embedded.refusal("memorize", *map(str, args), "--bank", "me", code=2)
    assert embedded.contents("me") == before


@pytest.mark.parametrize(
    ("bank_id", "shown"), [("", '""'), ("../a b", '"../a b"'), ("x" * 129, f'"{"x" * 60}"…')]
)
def test_a_strange_bank_name_is_refused_and_makes_no_bank(product, bank_id, shown) -> None:
    with product.memory() as memory:
        before = list(memory.banks())
    refusal = product.refusal("memorize", str(CONVERSATION), f"--bank={bank_id}", code=2)
    assert f"{BANK_ID_RULE} {shown} (INVALID_BANK_ID)" in refusal
    with product.memory() as memory:
        assert list(memory.banks()) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["show", "--bank", "no"], 'there is no bank "no" (BANK_NOT_FOUND)'),
        (["recall", "dog", "--bank", "no"], 'there is no bank "no" (BANK_NOT_FOUND)'),
        (["history", "--bank", "no"], 'there is no bank "no" (BANK_NOT_FOUND)'),
        (["unpark", "no", "--skip"], 'there is no bank "no" (BANK_NOT_FOUND)'),
        (["banks", "delete", "no", "--yes"], 'there is no bank "no" (BANK_NOT_FOUND)'),
        (
            ["history", "--bank", "me", "--memory", "9999"],
            "nothing in the history of bank me is about memory 9999",
        ),
        (
            ["history", "--bank", "me", "--chunk", "9999"],
            "nothing in the history of bank me is about chunk 9999",
        ),
        (["unpark", "me", "--retry"], "chunks of the bank are memorized (NOTHING_PENDING)"),
    ],
)
def test_what_is_not_there_is_named(product, args, message) -> None:
    before = product.contents("me")
    assert message in product.refusal(*args, code=1)
    assert product.contents("me") == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["history", "--memory", "-1"], "--memory must be between 0 and 18446744073709551615, got -1"),
        (
            ["history", "--chunk", str(2**64)],
            f"--chunk must be between 0 and 18446744073709551615, got {2**64}",
        ),
        (["recall", "dog", "--limit", "-1"], "limit must be between 1 and 1000, got -1"),
        (["recall", "dog", "--limit", str(2**70)], f"limit must be between 1 and 1000, got {2**70}"),
        (["recall", "dog", "--limit", "two"], "'--limit': Input should be a valid integer"),
        (
            ["recall", "dog", "--budget", str(2**31)],
            f"token_budget must be between 64 and 1000000, got {2**31}",
        ),
        (["recall", " \t"], r"query must not be empty or blank, got ' \t'"),
        (["recall", "x" * 65537], "query must be at most 65536 bytes, got 65537"),
        (["recall", b"caf\xe9"], r"arguments must be UTF-8 text, got 'caf\udce9'"),
        (["show", "--type", "vague"], "'vague' is not one of 'core', 'semantic', 'episodic'"),
        (["shwo"], "No such command 'shwo'"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_with_both(embedded, args, message) -> None:
    before = embedded.contents("me")
    assert message in embedded.refusal(*args, "--bank", "me", code=2)
    assert embedded.contents("me") == before


def test_a_bank_name_that_is_no_utf8_is_refused(embedded) -> None:
    refusal = embedded.refusal("show", "--bank", b"\xff", code=2)
    assert r"arguments must be UTF-8 text, got '\udcff'" in refusal


def test_an_error_is_one_json_document_for_programs(product) -> None:
    refused = json.loads(product.refusal("recall", "dog", "--bank", "no", "--json", code=1))
    expected = {"kind": "not_found", "reason": "BANK_NOT_FOUND", "message": 'there is no bank "no"'}
    assert refused == {"error": expected}


def test_one_turn_of_50_megabytes_is_stored_whole_through_the_service(served) -> None:
    turn = SENTENCE * (FIFTY_MEGABYTES // len(SENTENCE))
    before = served.contents("me")
    done = served.ok("memorize", served.write("log.txt", turn), "--bank", "large", "--no-wait", "--json").json
    assert (done["turns"], done["stored"]) == (1, done["chunks"])
    with served.memory() as memory:
        stored = [chunk.text.removeprefix(CONTINUED) for chunk in memory.chunks("large")]
        memory.delete_bank("large")  # it would keep the worker busy for a minute
    assert "".join(stored) == turn
    assert served.contents("me") == before


def test_a_turn_of_a_megabyte_is_memorized_to_its_end_and_stored_only_once(product) -> None:
    text = SENTENCE * (1_000_000 // len(SENTENCE))
    args = ("memorize", product.write("long.txt", text), "--bank", "long", "--json")
    first, again = product.ok(*args).json, product.ok(*args).json
    assert first["memorized"] == first["stored"] == first["chunks"] > 1
    assert (again["memorized"], again["stored"]) == (first["chunks"], 0)
    product.ok("banks", "delete", "long", "--yes")
