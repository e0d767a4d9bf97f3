"""What can be set, and where it is read: flags win over `MEMALPHA_*` variables, and those over a TOML file.

The file is the one named by the caller, else `memalpha.toml` in the working directory if there is one. Every
value is checked here, once; what is wrong is one `InvalidInputError` that names the setting, the rule and the
value. This module imports neither services nor models, so that it costs nothing to load.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from memalpha.errors import InvalidInputError, make

DEFAULT_FILE = Path("memalpha.toml")
PREFIX = "MEMALPHA_"
_NESTED = "__"
# What a preset sets here, unless it is given; the rest of it is `memalpha.agent.presets`.
_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "wire_format": "qwen_agent",
        "prompt_pack": "paper",
        "view": "recent",
        "view_semantic": 5,
        "view_episodic": 5,
        "embedder": {"kind": "none"},
    }
}
# Settings that are groups of settings.
_GROUPS = ("embedder", "policy")


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` (`[::1]:port` for IPv6) into host, without brackets, and port.

    Raises:
        ValueError: If it is not of that form, or the port is not within 0 to 65535.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port with a port from 0 to 65535, such as 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _checked_address(address: str) -> str:
    split_address(address)
    return address


def _checked_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be http(s)://host[:port]/path without a user; a key goes into api_key")
    return value.rstrip("/")


def _read_key(key: SecretStr, file: Path | None, owner: str) -> str:
    if file is None:
        return key.get_secret_value()
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        message = f"{owner}.api_key_file {file}: {reason}"
        raise make(InvalidInputError, "KEY_NOT_READABLE", message, path=file) from None


Address = Annotated[str, AfterValidator(_checked_address)]
HttpUrl = Annotated[str, AfterValidator(_checked_url)]
ViewSize = Annotated[int, Field(ge=0, le=1000)]


class EmbedderSettings(BaseModel):
    """What makes the vectors of new banks, and of banks that are set to the same embedder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["none", "builtin", "openai", "sentence-transformers"] = Field(
        "builtin",
        description="Nothing, the memory's own, an OpenAI-compatible endpoint, or a model in the agent.",
    )
    model: str = Field("", max_length=1024, description="The endpoint's name of the model; or its folder.")
    id: str = Field(
        "", max_length=128, description="Name by which banks know the model; empty: the model's last part."
    )
    dimensions: int | None = Field(
        None, ge=1, le=4096, description="Numbers in a vector; unset: found out by embedding a word."
    )
    shorten: bool = Field(False, description="Ask the endpoint for vectors cut to `dimensions`.")
    base_url: HttpUrl = Field("https://api.openai.com/v1", description="The endpoint, up to /embeddings.")
    api_key: SecretStr = Field(SecretStr(""), description="Its key; empty: none is sent.")
    api_key_file: Path | None = Field(None, description="File that holds the key instead.")
    encoding_format: Literal["base64", "float"] = Field(
        "base64", description="How the endpoint is to write vectors; either is read."
    )
    max_tokens: int = Field(4096, ge=16, le=65536, description="Longer texts are cut for the endpoint.")
    batch_size: int = Field(32, ge=1, le=2048, description="Texts in one call.")
    concurrency: int = Field(4, ge=1, le=64, description="Calls to the endpoint at once.")
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="Longest that one call takes.")
    attempts: int = Field(4, ge=1, le=20, description="Tries of one call.")
    backoff_seconds: float = Field(0.5, gt=0, le=60, description="First pause between them; then doubled.")
    threads: int = Field(1, ge=1, le=256, description="Threads of a model in the agent.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in ("openai", "sentence-transformers") and not self.model:
            raise ValueError(f"model must be given for kind {self.kind}")
        if self.shorten and self.dimensions is None:
            raise ValueError("dimensions must be given with shorten")
        return self

    @property
    def embedder_id(self) -> str:
        """What banks call the model."""
        return self.id or self.model.rstrip("/").rpartition("/")[2][:128]

    def read_key(self) -> str:
        """The endpoint's key, from its file if one is named.

        Raises:
            InvalidInputError: KEY_NOT_READABLE.
        """
        return _read_key(self.api_key, self.api_key_file, "embedder")


class PolicySettings(BaseModel):
    """The model behind the engines `transformers`, `vllm` and `openai`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", max_length=1024, description="Folder of a checkpoint; or the endpoint's name.")
    context_tokens: int | None = Field(
        None, ge=64, description="Most tokens of prompt and completion; unset: what the model can."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Where a request leaves it open; 0 is greedy.")
    top_p: float = Field(1.0, gt=0, le=1, description="Likewise.")
    top_k: int = Field(0, ge=0, description="Likewise; 0 is all.")
    min_p: float = Field(0.0, ge=0, le=1, description="Likewise.")
    max_tokens: int = Field(2048, ge=1, description="Most new tokens, likewise.")
    thinking: bool = Field(False, description="Let the model think before it writes, if it can do without.")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the model runs.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Numbers it computes with.")
    threads: int = Field(1, ge=1, le=256, description="Threads of one pass on the CPU.")
    rows: int = Field(32, ge=1, le=1024, description="Completions in work at once; in each copy.")
    batch_invariant: bool = Field(
        False, description="The same logprobs to the last bit beside any other completions; slower."
    )
    stream: bool = Field(
        True, description="Send completions as they are written; false: whole, at less cost to their readers."
    )
    waiting: int = Field(256, ge=0, le=65536, description="Completions that may wait; more are refused.")
    data_parallel: int = Field(1, ge=1, le=64, description="Copies of the model that vllm runs.")
    tensor_parallel: int = Field(1, ge=1, le=64, description="GPUs that vllm spreads each copy over.")
    gpu_memory: float = Field(0.9, gt=0, le=1, description="Share of a GPU's memory that vllm takes.")
    cache_gib: float | None = Field(
        None,
        gt=0,
        le=1024,
        description="Gibibytes of vllm's keys and values; unset: 1 on a CPU, else the rest.",
    )
    adapter: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        None, description="Folder of a LoRA adapter that vllm serves on the model; unset: none."
    )
    weights_root: Path | None = Field(
        None, description="Folder below which LoadWeights may read; unset: weights are not exchanged."
    )

    base_url: HttpUrl = Field("https://api.openai.com/v1", description="The endpoint, up to /chat.")
    api_key: SecretStr = Field(SecretStr(""), description="Its key; empty: none is sent.")
    api_key_file: Path | None = Field(None, description="File that holds the key instead.")
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the endpoint calls the limit of new tokens."
    )
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="Longest silence of the endpoint.")
    attempts: int = Field(4, ge=1, le=20, description="Tries of one call.")
    backoff_seconds: float = Field(0.5, gt=0, le=60, description="First pause between them; then doubled.")

    def read_key(self) -> str:
        """The endpoint's key, from its file if one is named.

        Raises:
            InvalidInputError: KEY_NOT_READABLE.
        """
        return _read_key(self.api_key, self.api_key_file, "policy")


class Settings(BaseSettings):
    """All settings of the services and of the command line."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=_NESTED, extra="forbid", frozen=True
    )

    memory_address: Address = Field(
        "127.0.0.1:50051", description="Where the memory service listens: host:port."
    )
    agent_address: Address = Field(
        "127.0.0.1:50052", description="Where the agent service listens: host:port."
    )
    policy_address: Address = Field(
        "127.0.0.1:50053", description="Where the policy service listens: host:port."
    )
    data_dir: Path = Field(
        Path("memalpha-data"), description="Folder of the store and of the services' logs."
    )
    policy_engine: str = Field("extractive", min_length=1, description="Engine behind the policy service.")
    policy: PolicySettings = Field(PolicySettings.model_validate({}), description="Its model.")
    reader_address: Address | None = Field(
        None, description="Where the policy that answers questions listens; unset: the policy does."
    )
    preset: Literal["default", "paper"] = Field(
        "default", description="Settings that belong together; what is set beside it wins."
    )
    prompt_pack: str = Field(
        "default", min_length=1, description="Words of all prompts: default, short, paper, or a folder."
    )
    wire_format: Literal["hermes", "lines", "qwen_agent", "openai"] = Field(
        "hermes", description="How the policy writes tool calls."
    )
    chunk_tokens: int = Field(1024, ge=16, le=32768, description="Most o200k tokens of one chunk.")
    view: Literal["relevant", "recent"] = Field(
        "relevant", description="Memories shown to the policy: those that match the chunk, or the newest."
    )
    view_semantic: ViewSize = Field(10, description="Semantic memories shown to the policy.")
    view_episodic: ViewSize = Field(10, description="Episodic memories shown to the policy.")
    core_tokens: int = Field(
        512, ge=1, le=8192, description="Most o200k tokens of core memory, in new banks."
    )
    guided_calls: bool = Field(
        False, description="Hold the policy to a schema of the calls that can be carried out."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Banks that the agent works on at once.")
    embedder: EmbedderSettings = Field(EmbedderSettings.model_validate({}), description="What makes vectors.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Form of log lines; auto is console on a terminal and JSON elsewhere."
    )
    grace_seconds: float = Field(
        10.0, ge=0, le=300, description="Time for calls in flight when stopping, seconds."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _PRESETS.get(str(values.get("preset")), {}) | values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leaves dotenv files and secret folders out."""
        return init_settings, env_settings

    def from_preset(self, name: str) -> bool:
        """Whether a setting is what the preset makes it."""
        preset = _PRESETS.get(self.preset, {})
        return name in preset and preset[name] == getattr(self, name)

    def environment(self) -> dict[str, str]:
        """The settings as variables, for a child process that shall have exactly these."""
        flat: dict[str, Any] = {}
        for name, value in self:
            parts = (
                {f"{name}{_NESTED}{part}": held for part, held in value} if name in _GROUPS else {name: value}
            )
            flat |= {part: held for part, held in parts.items() if held is not None}
        return {PREFIX + name.upper(): _text(value) for name, value in flat.items()}

    def replaced(self, **changes: object) -> Self:
        """A copy with some settings changed and checked."""
        return self.model_validate({**dict(self), **changes})


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def load(config_file: Path | None = None, **flags: Any) -> Settings:
    """Reads the settings.

    Args:
        config_file: TOML file; None means `memalpha.toml` in the working directory, if there is one.
        flags: Settings given by the caller; None stands for a flag that was not given.

    Raises:
        InvalidInputError: CONFIG_NOT_READABLE or INVALID_SETTING.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    path = config_file if config_file is not None else DEFAULT_FILE
    in_file = _read(path) if config_file is not None or path.exists() else {}
    try:
        return _from_file(in_file)(**given)
    except ValidationError as invalid:
        raise _invalid(invalid.errors()[0], given, in_file, path) from None
    except SettingsError as error:
        # pydantic-settings says `error parsing value for field "NAME" from …` and has no better door.
        name = next((group for group in _GROUPS if f'"{group}"' in str(error)), _GROUPS[0])
        variable = PREFIX + name.upper()
        part = {"embedder": "KIND", "policy": "MODEL"}[name]
        message = f"{variable} must be JSON; {variable}{_NESTED}{part} and others name its parts"
        raise make(InvalidInputError, "INVALID_SETTING", message, setting=name) from None


def _from_file(values: dict[str, Any]) -> type[Settings]:
    """`Settings` with a file's values as the weakest source."""

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = Settings.settings_customise_sources(settings_cls, *args, **kwargs)
            return *sources, InitSettingsSource(settings_cls, values)

    return FromFile


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise make(
            InvalidInputError, "CONFIG_NOT_READABLE", f"config file {path}: {reason}", path=path
        ) from error


def _may_hold_key(name: str, error: ErrorDetails) -> bool:
    """Whether what was given may hold a group's key, by a misspelt name or in its address."""
    group, _, part = name.partition(".")
    return group in _GROUPS and (error["type"] == "extra_forbidden" or part in ("", "api_key", "base_url"))


def _invalid(
    error: ErrorDetails, flags: dict[str, Any], in_file: dict[str, Any], path: Path
) -> InvalidInputError:
    name = ".".join(str(part) for part in error["loc"])
    variable = PREFIX + name.upper().replace(".", _NESTED)
    if name in flags:
        origin = name
    elif variable in os.environ:
        origin = variable
    else:
        origin = f"{name} in {path}" if name.partition(".")[0] in in_file else name
    rule = (
        "is no setting" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    )
    if _may_hold_key(name, error):
        return make(InvalidInputError, "INVALID_SETTING", f"{origin}: {rule}", setting=name)
    message = f"{origin}: {rule}; it is {error['input']!r}"
    return make(InvalidInputError, "INVALID_SETTING", message, setting=name, value=error["input"])
