"""A context read back into sentences: who said each, and when.

Contexts come in two forms: stretches of a stream, with `[time]` lines, and the block that recall packs, in
which a memory stands on a line behind its time. Both are cut as the extractive engine cuts what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from memalpha.agent import escapes
from memalpha.agent.context import CUT, PENDING
from memalpha.policy.extractive.segment import Sentence, sentences

_TAG = re.compile(r"</?(core_memory|semantic_memory|episodic_memory|pending)>")
_MEMORY = re.compile(rf"- (?:{re.escape(PENDING)} )?(?:\((\d{{4}}-[^()\s]*)\) )?(.*)")


@lru_cache(maxsize=16)
def read(context: str) -> tuple[Sentence, ...]:
    """The sentences of a context in order; a memory without a time gives sentences without one."""
    return tuple(each for text, time in memories(context) for each in sentences(text, time))


def memories(context: str) -> Iterator[tuple[str, str]]:
    """The texts of a context with their times: memory by memory, or all of a stream's stretches at once."""
    lines = context.split("\n")
    if not _TAG.fullmatch(lines[0]):
        yield "\n".join(line for line in lines if line != CUT), ""
        return
    text, time = list[str](), ""
    for line in lines:
        begins = _MEMORY.fullmatch(line)
        if begins or _TAG.fullmatch(line):
            if text:
                yield escapes.unblock("\n".join(text)), time
            text, time = ([begins[2]], begins[1] or "") if begins else ([], "")
        elif line:
            text.append(line)
