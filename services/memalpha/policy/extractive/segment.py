"""A chunk cut into sentences, each with its speaker and its time.

Two kinds of chunk: a conversation (`Speaker: text` lines, a turn may run over several lines, `[time]` lines
set the time of what follows) and a document (paragraphs, headings, lists). No sentence spans two turns,
paragraphs or list items, and none is longer than `LONGEST`, so that what is done per sentence stays cheap
whatever the chunk holds.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

from memalpha.policy.extractive.lexicon import HELPERS, LABELS_NOT_SPEAKERS, ROLES

_LABEL = re.compile(r"([^\W\d_][\w.,'’@&-]{0,30}(?: [(]?[^\W_][\w.,'’@&)-]{0,30}){0,5}): (?=\S)")
_MARKERS = ("[continued] ", "[blank] ")
_TIME_LINE = re.compile(r"\[(\d{4}-\d{2}-\d{2}[^\]\s]{0,24})\]$")
_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*$")
_BULLET = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
# CommonMark 0.31, section 4.5: what stands behind backticks has none, or it is code within a line.
# It may stand in a quotation or a list.
_FENCE = re.compile(r"(?:>\s*|(?:[-*+]|\d{1,3}[.)])\s+)*(`{3,}(?=[^`]*$)|~{3,})\s*(.*)$")
_SENTENCE = re.compile(r"(?:\S+\s+){3,}\S+[.!?…。！？][\"'”’)\]]*$")
LONGEST = 600
_ROOM = re.compile(rf"\S[\s\S]{{0,{LONGEST - 1}}}(?!\S)|\S{{{LONGEST}}}")
_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*\s+|[。！？]+)(?=\S)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|Mt|Jr|Sr|vs|etc|e\.g|i\.e|approx|No|Inc|Ltd|Co|Jan|Feb|Mar|Apr|Aug"
    r"|Sept|Sep|Oct|Nov|Dec"
    r"|[A-Z])|\b[ap]\.m)\.\s+$"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`turn` counts turns or paragraphs, `heading` is the section, `asked` the question just before.

    `opens` says that the turn begins with it; never so where the turn goes on from another chunk.
    """

    text: str
    speaker: str
    time: str
    turn: int
    heading: str = ""
    asked: str = ""
    opens: bool = False


def sentences(chunk: str, time: str, *, code: bool = False) -> list[Sentence]:
    """The chunk's sentences in order; `time` holds until a `[time]` line says otherwise.

    Fenced code is left out, unless `code` says that its lines are to be taken like any others.
    """
    lines = [line.strip() for line in chunk.splitlines()]
    first = next((line for line in lines if line and not _TIME_LINE.match(line)), "")
    speakers = _speakers(_without_code(lines, None), first)
    talk = bool(_label(first, speakers))
    if not code:
        lines = _without_code(lines, speakers if talk else frozenset())
    return _conversation(lines, speakers, time) if talk else _document(lines, time)


def speaker_of(line: str) -> str:
    """The speaker's name if the line opens a turn, else nothing."""
    match = _LABEL.match(line)
    if match is None or match[1].lower() in LABELS_NOT_SPEAKERS:
        return ""
    name = match[1]
    words = name.replace("(", "").split(" ")
    return name if (words[0][0].isupper() and words[-1][0].isupper()) or name.lower() in ROLES else ""


def _speakers(lines: list[str], first: str) -> frozenset[str]:
    """Who speaks in a conversation: names as such, and nicknames in small letters that open several lines.

    The lines are those outside of code, whose keys open lines as well.
    In a chat with an assistant nobody else speaks, whatever its lists and code look like. A role that opens a
    chat of people with names is one of them.
    """
    label = _LABEL.match(first)
    labels = Counter(match[1] for line in lines if (match := _LABEL.match(line)))
    if label and label[1].lower() in ROLES and not _has_people(labels):
        return frozenset(name for role in ROLES for name in (role, role.capitalize(), role.upper()))
    nicknames = {name for name, times in labels.items() if times > 1 and " " not in name}
    return frozenset(
        name for name in labels if speaker_of(f"{name}: …") or name in nicknames - LABELS_NOT_SPEAKERS
    )


def _has_people(labels: Counter[str]) -> bool:
    """Whether others than an assistant and whom it helps speak, more than once."""
    roles = {name.lower() for name in labels} & ROLES
    if roles & HELPERS and roles - HELPERS:
        return False
    return any(
        times > 1 and name.lower() not in ROLES and speaker_of(f"{name}: …") for name, times in labels.items()
    )


def _label(line: str, speakers: frozenset[str] | None) -> str:
    """Who begins to speak with a line, of these speakers or of any."""
    match = _LABEL.match(line)
    return match[1] if match and (speakers is None or match[1] in speakers) else ""


def _said(line: str, label: str) -> str:
    return line[len(label) + 2 :] if label else line


def _without_code(lines: list[str], speakers: frozenset[str] | None) -> list[str]:
    """A blank line for each line of fenced code; a turn ends its code, unless the turn is itself code.

    What goes on from another chunk began in the middle of code if its first fence could only close some.
    """
    kept: list[str] = []
    fence, closed = "", 0
    for place, line in enumerate(lines):
        label = "" if place < closed else _label(line, speakers)
        if label and fence:
            closed = _closed(lines, place, fence, speakers)
            label = "" if closed else label
        text = _said(line, label)
        if label or not place:
            fence = _begun(text, lines[place + 1 :], speakers)
        before, fence = fence, _fenced(text, fence)
        kept.append((f"{label}: …" if label else "") if before or fence else line)
    return kept


def _closed(lines: list[str], place: int, fence: str, speakers: frozenset[str] | None) -> int:
    """The place behind code whose line looks like a turn; 0 if it is a turn, and the code was never closed.

    It is code if all that follows comes out even then: the next fence closes it, and later ones close theirs.
    """
    behind = 0
    for at in range(place, len(lines)):
        line = lines[at]
        fence = _fenced(line if fence else _said(line, _label(line, speakers)), fence)
        behind = behind or (0 if fence else at + 1)
    return 0 if fence else behind


def _fenced(line: str, fence: str) -> str:
    """The fence of the code that a line leaves open, after one that left `fence` open; empty if none."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found else ""
    return "" if found and found[1].startswith(fence) and not found[2] else fence


def _begun(text: str, later: list[str], speakers: frozenset[str] | None) -> str:
    """The fence of code that began in the chunk before; empty if a turn, of this first line, begins without.

    Such a turn goes on from another chunk, has one fence more than pairs, and the first names no language.
    The odd one may be the last as well, of code that goes on in the next chunk: then there is more prose
    before the first than behind the last.
    """
    rest = [text, *takewhile(lambda line: not _label(line, speakers), later)]
    fences = [(place, found) for place, line in enumerate(rest) if (found := _FENCE.match(line))]
    if not text.startswith(_MARKERS) or len(fences) % 2 == 0 or fences[0][1][2]:
        return ""
    before, behind = rest[: fences[0][0]], rest[fences[-1][0] + 1 :]
    return "" if _prose(before) > _prose(behind) else fences[0][1][1]


def _prose(lines: list[str]) -> float:
    """The share of lines that end as sentences do."""
    said = [line for line in lines if line]
    return sum(bool(_SENTENCE.match(line)) for line in said) / max(len(said), 1)


def _conversation(lines: list[str], speakers: frozenset[str], time: str) -> list[Sentence]:
    found: list[Sentence] = []
    speaker, turn, asked = "", -1, ""
    block: list[str] = []

    def close() -> str:
        cut = [piece for part in _blocks(block) for piece in split(part)]
        whole = not block[0].startswith(_MARKERS) if block else False
        found.extend(
            Sentence(text, speaker, time, turn, asked="" if at else asked, opens=whole and not at)
            for at, text in enumerate(cut)
        )
        return cut[-1] if cut and cut[-1].endswith("?") else ""

    for line in lines:
        name, marker = _label(line, speakers), _TIME_LINE.match(line)
        if not name and not marker:
            block.append(line)
            continue
        asked = close() if block else asked
        block = []
        if marker:
            time = marker[1]
        else:
            speaker, turn, block = name, turn + 1, [line[len(name) + 2 :]]
    close()
    return found


def _document(lines: list[str], time: str) -> list[Sentence]:
    found: list[Sentence] = []
    heading, paragraph = "", 0
    block: list[str] = []

    def close() -> None:
        for part in _blocks(block):
            found.extend(Sentence(text, "", time, paragraph, heading) for text in split(part))

    for line in [*lines, ""]:
        title, marker = _HEADING.match(line), _TIME_LINE.match(line)
        if line and not title and not marker:
            block.append(line)
            continue
        close()
        block, paragraph = [], paragraph + 1
        heading = title[1] if title else heading
        time = marker[1] if marker else time
    return found


def _blocks(lines: list[str]) -> list[str]:
    """Joins hard-wrapped lines; list items, table rows, short lines and blank lines stay apart."""
    blocks: list[str] = []
    joined = False
    for line in lines:
        bullet = _BULLET.match(line)
        text = line[bullet.end() :] if bullet else line
        for marker in _MARKERS:
            text = text.removeprefix(marker)
        if not text:
            joined = False
        elif joined and not bullet and not text.startswith("|"):
            blocks[-1] += " " + text
        else:
            blocks.append(text)
        joined = len(text) >= 60 and text[-1:] not in ".!?:。！？"
    return blocks


def split(text: str) -> list[str]:
    """Cuts a paragraph into sentences; abbreviations, initials and decimal points do not end one."""
    pieces: list[str] = []
    start = 0
    for match in _END.finditer(text):
        following = text[match.end()]
        if following.islower() or _ABBREVIATION.search(text, max(start, match.end() - 10), match.end()):
            continue
        pieces.append(text[start : match.end()].strip())
        start = match.end()
    pieces.append(text[start:].strip())
    return [part for piece in pieces if piece for part in _short(piece)]


def _short(piece: str) -> list[str]:
    """The piece, cut between words, or inside of one that is too long itself."""
    return [piece] if len(piece) <= LONGEST else [part.strip() for part in _ROOM.findall(piece)]
