"""Presets: settings that belong together, by name.

`default` is what serves best here. `paper` is the Mem-alpha paper's way (arXiv 2509.25911), as its code is:
Qwen-Agent's text format, one generation for each chunk, the five newest memories of each type, fewer (2, 1,
0) while the prompt has more than 6,144 tokens, 512 tokens of core memory, greedy decoding; questions are
answered from the best 20 memories of each type by BM25Okapi without stemming, fewer while the prompt has more
than 30,000 tokens. Tokens are o200k tokens; the paper counts prompts with Qwen's tokenizer, and samples
answers at temperature 0.7.

With `quirks`, the text put before a question becomes part of the query, as it does there, which pollutes the
ranking. Mistakes of the paper's code are never reproduced: ids that collide, prompts that stop the run when
they are too long, calls cut at a `✿` inside of content. That it counts a deletion of an unknown id as a
success concerns rewards only; here such a call is recorded as rejected.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from memalpha.agent.settings import AgentSettings
from memalpha.errors import InvalidInputError, make

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "prompt_pack": "paper",
        "wire_format": "qwen_agent",
        "view": "recent",
        "semantic": 5,
        "episodic": 5,
        "most_prompt_tokens": 6144,
        "temperature": 0.0,
        "max_new_tokens": 2048,
        "retrieval": "okapi",
        "retrieved": 20,
        "most_reader_prompt_tokens": 30_000,
        "max_answer_tokens": 2048,
        "core_tokens": 512,
        "language": "none",
        "vectors": False,
    },
}


def preset(name: str, **overrides: Any) -> AgentSettings:
    """Settings of a preset, some of them replaced.

    Raises:
        InvalidInputError: UNKNOWN_PRESET, naming the choices, or INVALID_SETTING.
    """
    if name not in PRESETS:
        message = f"preset must be one of {', '.join(PRESETS)}, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_PRESET", message, preset=name)
    try:
        return AgentSettings(**PRESETS[name] | overrides)
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(map(str, first["loc"]))
        message = f"{setting}: {first['msg']}; it is {first['input']!r}"
        raise make(InvalidInputError, "INVALID_SETTING", message, setting=setting) from None
