"""What a checkpoint's folder says of itself: `memalpha.json`, written last.

A model writes well only under the prompt, wire format, view and core limit that it was trained with, and with
its own tokenizer. The file names all of them, with the SHA-256 of every other file of the folder, so that a
folder that is torn, mixed up or changed is refused instead of served. A folder without the file is not whole
yet: the file comes by rename, after everything else is on disk. This module knows no torch.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import CorruptionError, InvalidInputError, UnsupportedError, make
from memalpha.files import draft, replace

MANIFEST = "memalpha.json"
TOKENIZER = "tokenizer.json"
PROMPT_PACK = "prompt_pack"
"""Folder of the words that a model was trained with, where no built-in pack has them; known by its digest."""
# What model libraries read numbers from.
_WEIGHTS = (".safetensors", ".bin")
_HASH = r"^[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True)
class Training:
    """What a model was trained with; see `TrainedWith` in the API."""

    prompt_digest: str
    wire_format: str
    view: str
    core_token_limit: int

    def message(self) -> pb.TrainedWith:
        """As the API has it."""
        return pb.TrainedWith(**asdict(self))


class Manifest(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    # Number of the weights, counted by whoever trains them.
    policy_version: int = Field(default=1, ge=1)
    # SHA-256 of tokenizer and chat template; see `tokenizer_digest`.
    tokenizer_digest: str = Field(pattern=_HASH)
    trained_with: Training
    # SHA-256 of every other file, by its name.
    files: dict[str, str] = Field(min_length=1)


def seal(folder: Path, training: Training, *, policy_version: int = 1, tokenizer: str = "") -> Manifest:
    """Makes a folder a checkpoint: hashes its files and writes `memalpha.json`, durably and at once.

    Args:
        folder: With all other files in place; folders inside of it are left alone.
        training: What its model was trained with.
        policy_version: Number of the weights, from 1.
        tokenizer: Digest of the tokenizer, for a folder that holds weights alone.

    Raises:
        InvalidInputError: CHECKPOINT_NOT_SEALABLE: there is nothing to seal, or no tokenizer.
    """
    # A draft of the manifest is left where sealing was cut off.
    own = (MANIFEST, draft(folder / MANIFEST).name)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in own)
    digest = tokenizer_digest(folder) or tokenizer
    if not names or not re.fullmatch(_HASH, digest):
        message = f"folder {folder} must hold files, and {TOKENIZER} unless the tokenizer's digest is given"
        raise make(InvalidInputError, "CHECKPOINT_NOT_SEALABLE", message, path=folder)
    sealed = Manifest(
        policy_version=policy_version,
        tokenizer_digest=digest,
        trained_with=training,
        files={name: _digest(folder / name, sync=True) for name in names},
    )
    replace(folder / MANIFEST, sealed.model_dump_json(indent=2) + "\n")
    return sealed


def verified(folder: Path) -> Manifest | None:
    """A folder's manifest, after all that it says was checked; None if there is none.

    Raises:
        CorruptionError: CHECKPOINT_DAMAGED: a file is missing or not the one that was sealed, or weights were
            added.
        UnsupportedError: CHECKPOINT_NOT_UNDERSTOOD: the manifest is no such file; MODEL_NOT_LOADED.
    """
    found = manifest(folder)
    if found is None:
        return None
    for name, digest in found.files.items():
        if Path(name).name != name or not (folder / name).is_file() or _digest(folder / name) != digest:
            message = f"checkpoint {folder}: {name!r} is missing or not the file that {MANIFEST} names"
            raise make(CorruptionError, "CHECKPOINT_DAMAGED", message, path=folder, file=name)
    for path in folder.iterdir():
        if path.suffix in _WEIGHTS and path.name not in found.files:
            message = f"checkpoint {folder}: {path.name!r} holds weights that {MANIFEST} does not name"
            raise make(CorruptionError, "CHECKPOINT_DAMAGED", message, path=folder, file=path.name)
    tokenizer = tokenizer_digest(folder)
    if tokenizer not in ("", found.tokenizer_digest):
        message = f"checkpoint {folder}: its tokenizer is {tokenizer}, not {found.tokenizer_digest}"
        raise make(CorruptionError, "CHECKPOINT_DAMAGED", message, path=folder, file=TOKENIZER)
    return found


def manifest(folder: Path) -> Manifest | None:
    """A folder's manifest as it stands there, nothing of it checked; None if there is none.

    Raises:
        UnsupportedError: CHECKPOINT_NOT_UNDERSTOOD: it is no such file.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = ".".join(map(str, first["loc"])) if first else ""
        reason = f"{where}: {first['msg']}" if first else str(error)
        message = f"{path} is no manifest of a checkpoint: {reason}"
        raise make(UnsupportedError, "CHECKPOINT_NOT_UNDERSTOOD", message, path=path) from None


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 (hex) of a folder's tokenizer and its chat template; empty if it holds no tokenizer.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED: the tokenizer's configuration is no JSON object.
    """
    if not (folder / TOKENIZER).is_file():
        return ""
    digest = sha256()
    for part in ((folder / TOKENIZER).read_bytes(), _template(folder)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _template(folder: Path) -> bytes:
    template, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    data = template.read_bytes() if template.is_file() else b""
    value = _configured(config) if config.is_file() and not data else None
    return json.dumps(value).encode() if value else data


def _configured(path: Path) -> Any:
    """The chat template in a tokenizer's configuration."""
    try:
        return json.loads(path.read_bytes()).get("chat_template")
    except (AttributeError, RecursionError, ValueError):
        message = f"model {path.parent} cannot be served: {path.name} is no JSON object"
        raise make(UnsupportedError, "MODEL_NOT_LOADED", message, path=path) from None


def _digest(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return file_digest(file, "sha256").hexdigest()
