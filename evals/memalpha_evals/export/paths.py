"""What is passed on says nothing of where it lay: of a path on this machine the last part is left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Alone or in a text; the slashes of an address are none.
_PATH = re.compile(r"(?<![\w/.])(?:~?/(?!/))(?:[^/\s:,\"']+/)*([^/\s:,\"']*)")


def without_paths(value: Any) -> Any:
    """Plain JSON values; of each absolute path in them the last part."""
    if isinstance(value, Mapping):
        return {name: without_paths(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    if not isinstance(value, str):
        return value
    return Path(value).name if value.startswith("/") else _PATH.sub(r"\1", value)
