"""What a person, or a program, sees of the running services.

Log lines go to stderr with the service's name in its colour; the services log JSON, which is shown as words.
On stdout there is one thing: the table that says that all is ready, or its JSON form.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memalpha.client.health import Name
from memalpha.config import PREFIX, Settings
from memalpha.up.child import Child

_COLOURS = {"memory": "cyan", "policy": "magenta", "agent": "green"}
_LEVELS = {"warning": "yellow", "error": "bold red", "critical": "bold red"}


class Screen:
    """The two outputs of `memalpha up`."""

    def __init__(self, *, json_output: bool) -> None:
        """With `json_output`, readiness is one JSON line."""
        self._json = json_output
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, name: str, line: str) -> None:
        """Shows a line that a service printed."""
        self._say(Text.assemble((f"{name:>6} │ ", _COLOURS.get(name, "")), readable(line)))

    def note(self, sentence: str) -> None:
        """Says what the launcher does."""
        self._say(Text(sentence, "dim"))

    def taken(self, model: str, settings: Mapping[str, object]) -> None:
        """Says what the model's checkpoint decided."""
        if settings:
            said = " ".join(f"{name}={value}" for name, value in settings.items())
            self.note(_harmless(f"as checkpoint {model} was trained: {said}"))

    def ready(self, settings: Settings, children: Mapping[Name, Child], seconds: float) -> None:
        """Says where the services are and what to try next."""
        services = {
            name: {"address": getattr(settings, f"{name}_address"), "pid": child.pid, "log": str(child.log)}
            for name, child in children.items()
        }
        if self._json:
            ready = {"ready": True, "seconds": round(seconds, 2), "data_dir": str(settings.data_dir)}
            print(json.dumps({**ready, "services": services}), flush=True)
            return
        table = Table(title=f"ready in {seconds:.1f} s", title_justify="left", title_style="bold green")
        for column in ("service", "address", "log"):
            table.add_column(column, overflow="fold")
        for name, service in services.items():
            table.add_row(Text(name, style=_COLOURS[name]), service["address"], service["log"])
        self._out.print(table)
        self._out.print("Stop with Ctrl-C. In another terminal, try:", style="dim")
        for command in _commands(children):
            self._out.print(f"  {_variables(settings)}{_runner()}{command}", soft_wrap=True)

    def died(self, child: Child) -> None:
        """Explains the end of a service that nobody asked to end."""
        end = f"{child.name} ended by itself ({_how(child.exit_status)}); its last lines:"
        self._say(Text(end, "bold red"))
        for line in child.last_lines:
            self._say(Text.assemble("  ", readable(line)))
        self._say(Text(f"all of them: {child.log}", "dim"))

    def _say(self, text: Text) -> None:
        """Prints on stderr; a full disk there must neither end services nor keep them from ending."""
        with suppress(OSError):
            self._err.print(text)


def readable(line: str) -> Text:
    """A log line for people: time, level, event and the rest as words; any other line as it is."""
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return Text(_harmless(line))
    if not isinstance(entry, dict) or "event" not in entry:
        return Text(_harmless(line))
    level = str(entry.pop("level", ""))
    time = str(entry.pop("timestamp", ""))[11:19]
    event = str(entry.pop("event"))
    traceback = str(entry.pop("exception", ""))
    entry.pop("logger", None)
    words = " ".join(f"{key}={value}" for key, value in entry.items())
    shown = Text(_harmless(f"{time} {level:<7} {event} {words}".rstrip()), style=_LEVELS.get(level, ""))
    return shown.append("\n" + "\n".join(map(_harmless, traceback.splitlines()))) if traceback else shown


def _commands(children: Mapping[Name, Child]) -> list[str]:
    if "memory" not in children:
        return ["memalpha health"]
    if "agent" not in children:
        return ["memalpha banks"]
    return ["memalpha memorize notes.md --bank me", 'memalpha recall "What do I like?" --bank me']


def _runner() -> str:
    """Another terminal does not have the PATH that `uv run` gives to this process."""
    return "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""


def _variables(settings: Settings) -> str:
    """What another terminal needs, where it is not the default: addresses, and the core size of new banks."""
    fields = Settings.model_fields
    return "".join(
        f"{PREFIX}{name.upper()}={value} "
        for name, value in settings
        if (name.endswith("_address") or name == "core_tokens") and value != fields[name].default
    )


def _how(status: int | None) -> str:
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


def _harmless(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
