"""Where settings come from, which source wins, and how a bad one is reported."""

from pathlib import Path

import pytest

from memalpha import config
from memalpha.config import Settings, load, split_address
from memalpha.errors import InvalidInputError


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(config.PREFIX + name.upper(), raising=False)


def test_without_any_source_the_defaults_hold() -> None:
    settings = load()
    assert (settings.memory_address, settings.data_dir) == ("127.0.0.1:50051", Path("memalpha-data"))
    assert (settings.policy_engine, settings.chunk_tokens) == ("extractive", 1024)


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(monkeypatch) -> None:
    Path("memalpha.toml").write_text("chunk_tokens = 100\nconcurrency = 2\nview_semantic = 7\n")
    monkeypatch.setenv("MEMALPHA_CHUNK_TOKENS", "200")
    monkeypatch.setenv("MEMALPHA_CONCURRENCY", "3")
    settings = load(chunk_tokens=300, wire_format=None)
    assert (settings.chunk_tokens, settings.concurrency, settings.view_semantic) == (300, 3, 7)
    assert settings.wire_format == "hermes"


def test_a_named_file_is_read_instead_of_the_one_in_the_folder(tmp_path) -> None:
    Path("memalpha.toml").write_text("chunk_tokens = 100\n")
    other = tmp_path / "other.toml"
    other.write_text("concurrency = 2\n")
    settings = load(other)
    assert (settings.chunk_tokens, settings.concurrency) == (1024, 2)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("chunk_tokens", 15, "chunk_tokens: Input should be greater than or equal to 16; it is 15"),
        ("memory_address", "50051", "memory_address: must be host:port"),
        ("memory_address", "localhost:65536", "port from 0 to 65535"),
        ("wire_format", "xml", "Input should be 'hermes' or 'lines'; it is 'xml'"),
        ("grace_seconds", -1, "greater than or equal to 0; it is -1"),
    ],
)
def test_a_bad_setting_is_named_with_its_rule_and_value(name, value, rule) -> None:
    with pytest.raises(InvalidInputError) as raised:
        load(**{name: value})
    assert rule in str(raised.value)
    assert (raised.value.reason, raised.value.metadata["setting"]) == ("INVALID_SETTING", name)


def test_a_bad_variable_is_called_by_its_own_name(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_CONCURRENCY", "many")
    with pytest.raises(InvalidInputError, match=r"^MEMALPHA_CONCURRENCY: .*it is 'many'"):
        load()


def test_an_unknown_setting_in_the_file_is_refused() -> None:
    Path("memalpha.toml").write_text('memory_adress = "127.0.0.1:1"\n')
    with pytest.raises(InvalidInputError, match=r"memory_adress in memalpha\.toml: is no setting"):
        load()


@pytest.mark.parametrize("content", [b"chunk_tokens = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused_by_name(content) -> None:
    Path("memalpha.toml").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"config file memalpha\.toml: ") as raised:
        load()
    assert raised.value.reason == "CONFIG_NOT_READABLE"


def test_a_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"config file no\.toml: No such file or directory"):
        load(Path("no.toml"))


def test_the_settings_as_variables_give_the_same_settings(monkeypatch) -> None:
    settings = load(memory_address="[::1]:7", view="recent", grace_seconds=1.5, data_dir=Path("a b"))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert dict(load()) == dict(settings)


def test_replaced_settings_are_checked_too() -> None:
    assert load(concurrency=3).replaced(chunk_tokens=64).concurrency == 3
    with pytest.raises(ValueError, match="chunk_tokens"):
        load().replaced(chunk_tokens=1)


def test_an_address_is_split_at_its_last_colon() -> None:
    assert split_address("[::1]:50051") == ("::1", 50051)
    assert split_address("localhost:0") == ("localhost", 0)
