"""The command `evals store current`: rank of current before stale evidence."""

import json
import sys
from datetime import date

import typer

from memalpha_evals import pages
from memalpha_evals.commands.options import (
    AsJson,
    BeamFolder,
    Chats,
    WriteDocs,
    chosen_chats,
    plain,
    progress,
)
from memalpha_evals.commands.store import DEFAULT_SYSTEMS, Systems, store_app, system_names
from memalpha_evals.retrieval import current, current_report
from memalpha_evals.retrieval.retrievers import SYSTEMS


def register(app: typer.Typer) -> None:
    """Adds the command to those of `store`, which `app` has already."""
    store_app.command("current")(store_current)


def store_current(
    data: BeamFolder,
    chats: Chats = "",
    systems: Systems = None,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Is what was said last ranked above what it replaced? BEAM's updates and contradictions.

    Example: evals store current --data chats/100K
    """
    chosen = [SYSTEMS[name]() for name in system_names(systems or DEFAULT_SYSTEMS)]
    named = chosen_chats(chats)
    with progress(current.questions(data, named) * len(chosen)) as advance:
        result = current.evaluate(data, named, chosen, advance)
    content = current_report.document(result, chosen, data.name, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        out = plain()
        out.print(current_report.head(content))
        pages.show(current_report.tables(content), out)
    if write_docs:
        print(f"written: {current_report.write_docs(content)}", file=sys.stderr)
