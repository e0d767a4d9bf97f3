"""Rollouts of a step on one page that opens from disk: side by side, chunk by chunk, token by token.

The page is one file of bounded size, loads nothing, and says what it leaves out. What models wrote is text in
it and nothing else: it is escaped where it is put in, and the page's policy lets only its own script run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from memalpha.cli.style import plural
from memalpha.errors import NotFoundError, make
from memalpha.files import replace
from memalpha_trainer.records import Rollout
from memalpha_trainer.runs import lines
from memalpha_trainer.runs.columns import COLUMNS
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.view.cells import Column, column_cells, table
from memalpha_trainer.view.html import Html, join, tag, text
from memalpha_trainer.view.tokens import DIFFERENCE, SURPRISE, Decoder, decoder

MOST_BYTES = 8 << 20
_HERE = Path(__file__).parent
_KEYS = (
    *(("j k", "chunk"), ("h l", "rollout"), ("n p", "group"), (", .", "token"), ("o", "open what is folded")),
    *(("d", "colour by surprise or by difference"), ("t", "dark or light")),
)


def write_page(
    run_folder: Path,
    out: Path,
    step: int | None = None,
    group: int | None = None,
    *,
    most_bytes: int = MOST_BYTES,
) -> str:
    """Writes a page of a step's rollouts; a sentence about what is on it and what is not.

    Args:
        run_folder: The run's, finished or at work.
        out: The page.
        step: An optimizer step, counted from 1 as on the screen: rollouts that it trained on; None: of the
            latest collection.
        group: One group of them; None: all, as far as there is room.
        most_bytes: About the size of the page; one rollout is shown in any case.

    Raises:
        NotFoundError: NO_RUN, NO_ROLLOUTS or NO_GROUP.
    """
    run = RunFiles.find(run_folder)
    collected = _collected(run, step)
    groups = _groups(run, collected, group)
    shown, left_out = _fitting(groups, decoder(run), most_bytes)
    numbers = [columns[0].rollout.group for columns in groups[: len(shown)]]
    about = f"{run_folder.name}, {_steps(run, collected)}: {_counted(groups, left_out)}"
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(out, _page(run, collected, about, [_links(numbers), *shown]))
    return f"{out}: {about}"


def _collected(run: RunFiles, step: int | None) -> int:
    """Steps that were done when a step's rollouts were collected, which is how files number them.

    Without a step it is the latest collection whose credit is known, if there is one.
    """
    known, updates = lines.steps(run.rollouts_file), run.config.optim.updates
    if known and step is None:
        trained = [each for each in lines.steps(run.credit_file) if each in known]
        return max(trained or known)
    found = [each for each in known if step is not None and each < step <= each + updates]
    if not found:
        there = f"those of {min(known) + 1} to {max(known) + updates}" if known else "none at all"
        message = f"there are no rollouts of step {step} in {run.path}: there are {there}"
        raise make(NotFoundError, "NO_ROLLOUTS", message, step=step, path=run.path)
    return found[-1]


def _steps(run: RunFiles, collected: int) -> str:
    """The steps that are trained on a collection, as the screen counts them."""
    updates = run.config.optim.updates
    return f"step {collected + 1}" if updates == 1 else f"steps {collected + 1} to {collected + updates}"


def _groups(run: RunFiles, collected: int, group: int | None) -> list[list[Column]]:
    credits_ = {(each.group, each.index): each for each in run.credits(collected)}
    rollouts = sorted(run.rollouts(collected), key=_place)
    found = [
        [Column(each, credits_.get(_place(each))) for each in members]
        for number, members in groupby(rollouts, lambda each: each.group)
        if group in (None, number)
    ]
    if not found:
        numbers = sorted({each.group for each in rollouts})
        message = f"{_steps(run, collected)}: no group {group}, but {numbers[0]} to {numbers[-1]}"
        raise make(NotFoundError, "NO_GROUP", message, step=collected + 1, group=group)
    return found


def _place(rollout: Rollout) -> tuple[int, int]:
    return rollout.group, rollout.index


def _fitting(
    groups: Sequence[Sequence[Column]], decode: Decoder | None, room: int
) -> tuple[list[Html], list[Column]]:
    """Tables of as many rollouts as there is room for, whole columns in order, and the rollouts left out."""
    tables, left_out, full = list[Html](), list[Column](), False
    for columns in groups:
        kept, cells = list[Column](), list[dict[int, Html]]()
        for column in columns:
            made = {} if full else column_cells(column, decode)
            room -= sum(len(cell.encode()) for cell in made.values())
            full = full or (room < 0 and bool(tables or kept))
            if full:
                left_out.append(column)
            else:
                kept.append(column)
                cells.append(made)
        if kept:
            tables.append(table(kept, cells))
    return tables, left_out


def _counted(groups: Sequence[Sequence[Column]], left_out: Sequence[Column]) -> str:
    rollouts = sum(map(len, groups)) - len(left_out)
    said = f"{plural(rollouts, 'rollout')} of {plural(len(groups), 'group')}"
    if not left_out:
        return said
    numbers = sorted({each.rollout.group for each in left_out})
    names = ", ".join(map(str, numbers[:12])) + (" and more" if len(numbers) > 12 else "")
    missing = plural(len(left_out), "rollout")
    return f"{said}; left out for want of room: {missing}, of groups {names} (choose a group)"


def _page(run: RunFiles, collected: int, about: str, tables: Sequence[Html]) -> str:
    style, script = (Html((_HERE / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'),
        Html('<meta name="viewport" content="width=device-width">'),
        tag("title", about),
        tag("style", style),
    ]
    token = tag("div", "Point at a token.", id="token", role="status")
    body = tag("body", *_top(run, collected, about), *tables, token, tag("script", script))
    return f'<!doctype html>\n<html lang="en">{tag("head", *head)}{body}</html>\n'


def _top(run: RunFiles, collected: int, about: str) -> Iterator[Html]:
    yield tag("h1", about)
    numbers = next((line for line in run.metrics() if line["step"] == collected + 1), {})
    known = [each for each in COLUMNS if numbers.get(each.key) is not None]
    yield tag("p", " · ".join(f"{each.head} {each.cell(numbers[each.key])}" for each in known), cls="dim")
    yield tag("p", *(join([tag("kbd", keys), f" {does}  "]) for keys, does in _KEYS), cls="dim")
    surprise, off = ", ".join(map(str, SURPRISE)), ", ".join(f"{each:g}" for each in DIFFERENCE)
    legend = f"Tokens darken with −logprob from {surprise}; or with |trainer − policy| from {off}."
    yield tag("p", legend, cls="dim")


def _links(groups: Sequence[int]) -> Html:
    return tag("nav", *(tag("a", f"group {each}", href=f"#g{each}") for each in groups))


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
