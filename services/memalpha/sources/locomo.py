"""LoCoMo conversations (arXiv 2402.17753): sessions of turns between two people, each session with its time.

The official file is a list of samples; a single one is read as well. A picture that a turn shares is kept
as its caption.
"""

import re
from collections.abc import Iterator
from typing import Any

from memalpha.agent.chunking import Turn
from memalpha.sources.files import Document, SourceError
from memalpha.sources.structured import kind_of, parse_json
from memalpha.sources.times import event_time

_SESSION = re.compile(r"session_(\d+)")


def turns(document: Document, conversation: str = "") -> list[Turn]:
    """Reads one conversation.

    Args:
        document: the JSON.
        conversation: its `sample_id`; needed if the file holds several.

    Raises:
        SourceError: it is not LoCoMo, or the conversation is not named or not there.
    """
    samples = parse_json(document.text, document.name)
    samples = samples if isinstance(samples, list) else [samples]
    if not samples or not all(is_sample(sample) for sample in samples):
        raise SourceError(
            f'{document.name} is not LoCoMo: every sample needs a "conversation" with "session_1"'
        )
    sample = _choose(samples, conversation, document.name)
    name = f"{document.name}#{sample['sample_id']}" if sample.get("sample_id") else document.name
    result = list(_turns(sample["conversation"], name))
    if not result:
        raise SourceError(f"{name} holds no turn with text")
    return result


def is_sample(value: object) -> bool:
    """Tells whether a JSON value has the form of a LoCoMo sample."""
    conversation = value.get("conversation") if isinstance(value, dict) else None
    return isinstance(conversation, dict) and any(_SESSION.fullmatch(key) for key in conversation)


def _choose(samples: list[dict[str, Any]], wanted: str, name: str) -> dict[str, Any]:
    if len(samples) == 1 and not wanted:
        return samples[0]
    by_id = {str(sample.get("sample_id", number)): sample for number, sample in enumerate(samples, start=1)}
    if wanted in by_id:
        return by_id[wanted]
    fault = f"has no conversation {wanted!r}" if wanted else f"holds {len(samples)} conversations"
    raise SourceError(f"{name} {fault}; name one with --conversation: {', '.join(by_id)}")


def _turns(conversation: dict[str, Any], name: str) -> Iterator[Turn]:
    numbers = sorted(int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key)))
    for number in numbers:
        where = f"{name}, session {number}"
        time = _time(conversation.get(f"session_{number}_date_time"), where)
        session = conversation[f"session_{number}"]
        if not isinstance(session, list):
            raise SourceError(f"{where} must be an array of turns, not {kind_of(session)}")
        for place, turn in enumerate(session, start=1):
            speaker, text = _said(turn, f"{where}, turn {place}")
            if text:
                yield Turn(text=text, speaker=speaker, event_time=time, source=name)


def _time(value: object, where: str) -> str:
    try:
        return event_time(value)
    except ValueError as error:
        raise SourceError(f"{where}: {error}") from error


def _said(turn: object, where: str) -> tuple[str, str]:
    if not isinstance(turn, dict) or not isinstance(turn.get("speaker"), str):
        raise SourceError(f'{where} must be an object with "speaker" and "text"')
    text, caption = turn.get("text", ""), turn.get("blip_caption")
    if not isinstance(text, str):
        raise SourceError(f'{where}: "text" must be a string, not {kind_of(text)}')
    picture = f"[shares {caption}]" if isinstance(caption, str) and caption.strip() else ""
    return turn["speaker"], " ".join(filter(None, [text.strip(), picture]))
