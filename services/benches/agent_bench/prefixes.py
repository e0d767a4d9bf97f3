"""How much of a prompt an engine could have cached: what it shares with its bank's prompt before.

An engine caches keys and values of a beginning that it has seen, to the token. So what changes with every
chunk spoils all that stands behind it, and the order within the prompt decides. `memory_first` has the
default pack's words in the order of the paper's prompts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from memalpha.agent import packs
from memcore import count_tokens


def shared(prompts: Sequence[Sequence[str]]) -> float:
    """Share of the tokens of all prompts but each bank's first that stood at the same place before.

    Args:
        prompts: Of each bank, in order.

    Raises:
        ValueError: No bank has two prompts.
    """
    same = total = 0
    for bank in prompts:
        for before, now in pairwise(bank):
            same += count_tokens(_same(before, now))
            total += count_tokens(now)
    if not total:
        raise ValueError("shared prefixes need a bank with at least two prompts")
    return same / total


def _same(before: str, now: str) -> str:
    """The words that both begin with; a word that goes on otherwise is another token, with its blank."""
    length = min(len(before), len(now))
    at = next((n for n in range(length) if before[n] != now[n]), length)
    if at == len(before) == len(now):
        return now
    return now[: max(now.rfind(" ", 0, at), now.rfind("\n", 0, at), 0)]


def memory_first(folder: Path) -> str:
    """Makes a pack of the default's words with the memory before them; its name for the agent."""
    default = Path(packs.__file__).parent / "templates" / "default"
    shutil.copytree(default, folder)
    system, user = folder / "writer_system.md", folder / "writer_user.md"
    memory, tag, chunk = user.read_text("utf-8").partition("<chunk")
    system.write_text(f"{memory}\n{system.read_text('utf-8')}", "utf-8")
    user.write_text(f"{tag}{chunk}", "utf-8")
    return str(folder)
