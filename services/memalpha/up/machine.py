"""What this machine has: GPUs as their driver tells them, memory, and how much of both a model takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_SECONDS = 20
_HEADER = 100 * 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its memory in bytes, and its driver's version."""

    name: str
    memory: int
    driver: str

    @property
    def driver_major(self) -> int:
        """The first number of the driver's version."""
        found = re.match(r"\d+", self.driver)
        return int(found[0]) if found else 0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is: parameters, and numbers that are kept of each token it reads."""

    parameters: int
    per_token: int


def gpus() -> list[Gpu]:
    """The GPUs of this machine; none where there is no driver that answers."""
    if shutil.which(_QUERY[0]) is None:
        return []
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parsed(done.stdout)


def parsed(table: str) -> list[Gpu]:
    """GPUs out of the driver's table: name, MiB and version in each line."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]
    return [Gpu(row[0], int(row[1]) * 2**20, row[2]) for row in rows if len(row) == 3 and row[1].isdigit()]


def free_memory(table: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes of memory that are to be had; None where the system does not tell."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", table.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def size(config: dict[str, Any]) -> Size:
    """A decoder's size by its configuration: embedding, attention with shared keys, gated layers, head.

    Raises:
        KeyError: The configuration is of no such model.
    """
    hidden, layers, heads = (
        config[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    shared = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * head * (heads + shared)
    layer = attention + 3 * hidden * config["intermediate_size"]
    tables = 1 if config.get("tie_word_embeddings") else 2
    return Size(layers * layer + tables * config["vocab_size"] * hidden, 2 * layers * shared * head)


def missing_files(folder: Path) -> list[str]:
    """What of a folder's weights is not there: files that its index names, or all of them."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_bytes()).get("weight_map", {}).values())
        return sorted(name for name in named if not (folder / name).is_file())
    return [] if any(folder.glob("*.safetensors")) else ["*.safetensors"]


def torn_files(folder: Path) -> list[str]:
    """Files of weights that are not as long as they say themselves (safetensors' format, header)."""
    return [path.name for path in sorted(folder.glob("*.safetensors")) if not _is_whole(path)]


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _HEADER:
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
    return path.stat().st_size == 8 + length + max(ends, default=0)
