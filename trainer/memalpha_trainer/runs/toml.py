"""A configuration as TOML that reads back as the same configuration, and as one flat table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from memalpha_trainer.config import Config


def dumps(config: Config) -> str:
    """All settings, defaults included; what is None is left out, as it is when it is read."""
    return _table(config.model_dump(mode="json"), "")


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by `table.key`."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _table(table: dict[str, Any], name: str) -> str:
    """A table with those in it; TOML wants plain values first."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}\n" for key, value in plain.items()]
    head = f"\n[{name}]\n" if name else ""
    below = [_table(value, f"{name}.{key}" if name else key) for key, value in inner.items()]
    return head + "".join(lines) + "".join(below)


def _value(value: Any) -> str:
    """JSON is TOML for numbers, truth values, lists, and strings but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
