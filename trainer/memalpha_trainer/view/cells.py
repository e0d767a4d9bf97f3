"""A group of rollouts as a table: a column for each rollout, a row for each chunk and each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memalpha_trainer.records import Answered, ChunkSample, Rollout
from memalpha_trainer.runs.credits import RolloutCredit, SampleCredit
from memalpha_trainer.view.html import Html, join, pre, tag
from memalpha_trainer.view.memory import Change, changes, difference
from memalpha_trainer.view.tokens import Decoder, shown

_CORE = 0


@dataclass(frozen=True, slots=True)
class Column:
    """One rollout with what it earned, if that is known."""

    rollout: Rollout
    credit: RolloutCredit | None


def column_cells(column: Column, decode: Decoder | None) -> dict[int, Html]:
    """What a rollout did, by chunk; a chunk that was tried again has all its tries in one cell."""
    rollout, found = column.rollout, dict[int, list[Html]]()
    samples = column.credit.samples if column.credit else ()
    earned = samples if len(samples) == len(rollout.samples) else [None] * len(rollout.samples)
    for sample, credit, made in zip(rollout.samples, earned, changes(rollout.samples), strict=True):
        found.setdefault(sample.chunk, []).append(_sample(sample, credit, made, decode))
    return {chunk: join(tries) for chunk, tries in found.items()}


def table(columns: Sequence[Column], cells: Sequence[Mapping[int, Html]]) -> Html:
    """A group; `cells` are those of each column."""
    first = columns[0].rollout
    name = f"g{first.group}"
    chunks = sorted({chunk for each in cells for chunk in each})
    head = tag("tr", tag("th", "chunk"), *map(_head, columns))
    rows = [
        tag("tr", tag("th", str(chunk)), *(_cell(each.get(chunk)) for each in cells), id=f"{name}c{chunk}")
        for chunk in chunks
    ]
    questions = max((each.rollout.answers for each in columns), key=len)
    asked = [_question(place, question, columns, name) for place, question in enumerate(questions)]
    title = f"Group {first.group}: {first.instance_id} ({first.source})"
    body = tag("table", tag("thead", head), tag("tbody", *rows), tag("tbody", *asked, cls="questions"))
    return tag("section", tag("h2", title), tag("div", body, cls="wide"), id=name, cls="group")


def _cell(content: Html | None) -> Html:
    return tag("td", content, tabindex="-1") if content else tag("td", "not read", cls="none", tabindex="-1")


def _head(column: Column) -> Html:
    rollout, credit = column.rollout, column.credit
    parts = [tag("b", f"rollout {rollout.index}")]
    if credit and credit.dropped:
        parts.append(tag("p", f"dropped: {credit.dropped}", cls="bad"))
    elif credit:
        parts.append(tag("p", f"reward {credit.reward:.3f}"))
        parts.append(tag("p", _numbers(credit.parts), cls="dim"))
    size = f"memory {rollout.memory_tokens} of {rollout.stream_tokens} tokens"
    failure = tag("p", rollout.failure, cls="bad") if rollout.failure else ""
    return tag("th", *parts, tag("p", size, cls="dim"), failure)


def _sample(
    sample: ChunkSample, credit: SampleCredit | None, made: Sequence[Change], decode: Decoder | None
) -> Html:
    trainer = credit.trainer_logprobs if credit else ()
    versions = ", ".join(f"v{span.version}" for span in sample.versions)
    end = "" if sample.finished else tag("p", "cut at the token limit", cls="bad")
    about = f"{len(sample.prompt_ids)} + {len(sample.completion_ids)} tokens, {versions}, seed {sample.seed}"
    return tag(
        "article",
        _earned(credit),
        tag("p", sample.failure, cls="bad") if sample.failure else "",
        _output(sample, trainer, decode),
        end,
        tag("ul", *map(_change, made)) if made else tag("p", "no operation", cls="dim"),
        tag("p", f"memory {sample.memory_tokens} tokens", cls="dim"),
        _folded("prompt", pre(sample.prompt)),
        tag("p", about, cls="dim"),
    )


def _earned(credit: SampleCredit | None) -> Html:
    if credit is None:
        return tag("p", "no credit on record", cls="dim")
    sign = "up" if credit.advantage > 0 else "down" if credit.advantage < 0 else "dim"
    why = tag("span", f" not trained on: {credit.why}", cls="bad") if credit.why else ""
    advantage = tag("span", f"advantage {credit.advantage:+.3f}", cls=sign)
    return tag("p", advantage, " ", tag("span", _numbers(credit.parts), cls="dim"), why)


def _output(sample: ChunkSample, trainer: Sequence[float], decode: Decoder | None) -> Html:
    """Tokens, and the text as it was parsed beside them, unless the tokens show it."""
    texts = decode(sample.completion_ids) if decode else []
    tokens = pre(shown(sample, trainer, texts), cls="tokens")
    if "".join(texts).startswith(sample.text):
        return tokens
    return join([pre(sample.text), tokens])


def _change(change: Change) -> Html:
    operation = change.operation
    place = "core" if operation.memory_id == _CORE else f"{operation.memory_type} #{operation.memory_id}"
    if not operation.applied:
        error = tag("span", f"{operation.kind}: {operation.error}", cls="bad")
        return tag("li", error, pre(operation.content))
    before, after = difference(change.before, change.after)
    times = _times(change)
    lines = [
        pre(before, cls="before") if change.before else "",
        pre(after, cls="after") if change.after else "",
    ]
    return tag("li", tag("b", operation.kind, cls=operation.kind), f" {place}", times, *lines)


def _times(change: Change) -> str:
    before, now = change.time_before, change.operation.event_time
    return f" {before} → {now}" if before and before != now else f" {now}" if now else ""


def _question(place: int, question: Answered, columns: Sequence[Column], group: str) -> Html:
    about = [
        tag("p", question.question),
        tag("p", f"right: {' | '.join(question.answers) or 'nothing is known'}"),
        tag("p", f"{question.kind} {question.metric}", cls="dim"),
        tag("p", "decided by chunks ", _links(question.evidence, group)) if question.evidence else "",
    ]
    answers = [each.rollout.answers for each in columns]
    cells = (_answer(each[place], group) if place < len(each) else _cell(None) for each in answers)
    return tag("tr", tag("th", *about), *cells)


def _answer(answer: Answered, group: str) -> Html:
    sign = "up" if answer.score >= 1 else "down" if answer.score <= 0 else ""
    used = join(
        (
            join(
                [
                    _memory(each.memory_id),
                    " deleted" if each.deleted else "",
                    " by chunk ",
                    _links((each.chunk,), group),
                ]
            )
            for each in answer.used
        ),
        ", ",
    )
    packed = ", ".join(map(_memory, answer.packed)) or "nothing"
    return tag(
        "td",
        tag("p", tag("span", f"{answer.score:.2f}", cls=sign), " ", answer.answer or "(no answer)"),
        tag("p", "rests on ", used or "nothing", cls="dim"),
        tag("p", f"was shown {packed}", cls="dim"),
        tabindex="-1",
    )


def _memory(number: int) -> str:
    return "core" if number == _CORE else f"#{number}"


def _links(chunks: Sequence[int], group: str) -> Html:
    return join((tag("a", str(chunk), href=f"#{group}c{chunk}") for chunk in chunks), ", ")


def _numbers(parts: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.2f}" for name, value in parts.items())


def _folded(title: str, content: Html) -> Html:
    return tag("details", tag("summary", title), content)
