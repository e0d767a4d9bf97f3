"""LoCoMo's observations: sentences about each speaker that its authors had a model write of every session.

`observation` holds `session_N_observation`, and each of these lists of `[sentence, turn ids]` by speaker.
They say in the third person what a session told, so that a memory can be asked how much of that it holds.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memalpha.sources.structured import kind_of
from memalpha.tasks.data.readers.files import DatasetError, encodable, read_json


def observations(path: Path) -> dict[str, tuple[str, ...]]:
    """The sentences of each sample, by its id, in order of the file.

    Raises:
        DatasetError: The file is missing, not JSON, or a sample has no observations of this form.
    """
    samples = read_json(path)
    samples = samples if isinstance(samples, list) else [samples]
    return {
        id_: tuple(_sentences(sample, f"{path.name}, sample {id_}"))
        for number, sample in enumerate(samples, start=1)
        for id_ in [str(_fields(sample).get("sample_id", number))]
    }


def _sentences(sample: object, where: str) -> Iterator[str]:
    sessions = _fields(sample).get("observation")
    if not isinstance(sessions, dict):
        raise DatasetError(f'{where}: "observation" must be an object of sessions, not {kind_of(sessions)}')
    for name, speakers in sessions.items():
        for speaker, entries in _fields(speakers).items():
            for place, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
                yield _sentence(entry, f"{where}, {name}, {speaker} {place}")


def _sentence(entry: object, where: str) -> str:
    text = entry[0] if isinstance(entry, list) and entry else entry
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f"{where} must be a sentence with its turns")
    return encodable(text, where)


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
