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
        ("wire_format", "xml", "Input should be 'hermes', 'lines', 'qwen_agent' or 'openai'; it is 'xml'"),
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


@pytest.fixture
def _key_outside(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_EMBEDDER__API_KEY", "sk-secret")


@pytest.mark.usefixtures("_key_outside")
def test_parts_of_the_embedder_come_from_all_sources_and_flags_win(monkeypatch) -> None:
    Path("memalpha.toml").write_text('[embedder]\nkind = "builtin"\nmodel = "m"\ndimensions = 3\n')
    monkeypatch.setenv("MEMALPHA_EMBEDDER__DIMENSIONS", "4")
    embedder = load(embedder={"kind": "openai"}).embedder
    assert (embedder.kind, embedder.model, embedder.dimensions) == ("openai", "m", 4)
    assert embedder.read_key() == "sk-secret"


@pytest.mark.usefixtures("_key_outside")
def test_the_key_shows_neither_in_settings_nor_in_errors() -> None:
    Path("memalpha.toml").write_text('[embedder]\nmodel = "m"\n')
    shown = [repr(load()), str(load().embedder)]
    for bad in (
        {"kind": "openai", "model": ""},
        {"token": "sk-secret"},
        {"base_url": "https://me:sk-secret@api.example/v1"},
        {"api_key": ["sk-secret"]},
    ):
        with pytest.raises(InvalidInputError, match=r"(?i)embedder") as raised:
            load(embedder=bad)
        shown += [str(raised.value), str(raised.value.metadata)]
    assert "secret" not in "".join(shown)


@pytest.mark.parametrize(
    ("embedder", "rule"),
    [
        ({"kind": "wizard"}, "embedder.kind: Input should be 'none', 'builtin', 'openai' or"),
        ({"kind": "openai"}, "embedder: model must be given for kind openai"),
        ({"shorten": True}, "embedder: dimensions must be given with shorten"),
        ({"dimensions": 4097}, "embedder.dimensions: Input should be less than or equal to 4096; it is 4097"),
        ({"base_url": "localhost:8080/v1"}, "embedder.base_url: must be http(s)://host"),
    ],
)
def test_a_bad_embedder_is_named_with_its_rule(embedder, rule) -> None:
    with pytest.raises(InvalidInputError) as raised:
        load(embedder=embedder)
    assert rule in str(raised.value)


def test_a_bad_part_of_the_embedder_in_the_file_is_called_by_its_place() -> None:
    Path("memalpha.toml").write_text("[embedder]\nthreads = 0\n")
    with pytest.raises(InvalidInputError, match=r"^embedder\.threads in memalpha\.toml: .*it is 0"):
        load()


def test_an_embedder_in_one_variable_has_to_be_json(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_EMBEDDER", "openai")
    with pytest.raises(InvalidInputError, match="MEMALPHA_EMBEDDER must be JSON"):
        load()


def test_a_bad_part_of_the_embedder_in_a_variable_is_called_by_its_own_name(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_EMBEDDER__THREADS", "many")
    with pytest.raises(InvalidInputError, match=r"^MEMALPHA_EMBEDDER__THREADS: .*it is 'many'"):
        load()


def test_the_embedder_as_variables_is_the_same_embedder(monkeypatch) -> None:
    settings = load(embedder={"kind": "openai", "model": "m", "api_key": "sk", "dimensions": 3})
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load().embedder == settings.embedder


@pytest.mark.parametrize(
    ("embedder", "id"),
    [
        ({"model": "text-embedding-3-small"}, "text-embedding-3-small"),
        ({"model": "sentence-transformers/all-MiniLM-L6-v2"}, "all-MiniLM-L6-v2"),
        ({"model": "/models/minilm/", "id": "minilm-1"}, "minilm-1"),
    ],
)
def test_banks_know_a_model_by_its_last_part_or_as_they_are_told(embedder, id) -> None:
    assert load(embedder=embedder).embedder.embedder_id == id


def test_an_address_is_split_at_its_last_colon() -> None:
    assert split_address("[::1]:50051") == ("::1", 50051)
    assert split_address("localhost:0") == ("localhost", 0)


def test_the_policys_model_comes_from_variables_and_its_key_stays_hidden(monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_POLICY__MODEL", "tiny")
    monkeypatch.setenv("MEMALPHA_POLICY__API_KEY", "sk-secret")
    settings = load(policy={"rows": 4})
    assert (settings.policy.model, settings.policy.rows, settings.policy.read_key()) == (
        "tiny",
        4,
        "sk-secret",
    )
    assert "secret" not in repr(settings)
    given = settings.environment()
    assert (given["MEMALPHA_POLICY__ROWS"], given["MEMALPHA_POLICY__API_KEY"]) == ("4", "sk-secret")
    assert "MEMALPHA_POLICY__WEIGHTS_ROOT" not in given


def test_a_bad_setting_of_the_policy_does_not_repeat_what_may_be_its_key(monkeypatch) -> None:
    for wrong in ({"token": "sk-secret"}, {"base_url": "https://me:sk-secret@api.example/v1"}):
        with pytest.raises(InvalidInputError, match=r"^policy\.") as raised:
            load(policy=wrong)
        assert "secret" not in f"{raised.value}{raised.value.metadata}"
    monkeypatch.setenv("MEMALPHA_POLICY", "sk-secret")
    with pytest.raises(InvalidInputError, match=r"^MEMALPHA_POLICY must be JSON") as raised:
        load()
    assert "secret" not in str(raised.value)
