"""What all commands share: global options, the way to the memory, and errors that become exit codes.

A command is a function that takes a `Session`. It opens the same two faces, memory and agent, over the
services or, with `--embedded DIR`, in this process. Errors are not caught in commands: they travel to
`Shell`, which prints one message and ends with the code that belongs to it.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from memalpha import app
from memalpha.cli.style import Screen, visible
from memalpha.config import Settings, load
from memalpha.errors import InvalidInputError, MemalphaError, OutOfRangeError, UnavailableError
from memalpha.sources import SourceError

T = TypeVar("T")

FAILED = 1
BAD_INPUT = 2
UNREACHABLE = 3
INTERRUPTED = 130

_FLAGS = ("--json",)
_WITH_VALUE = ("--embedded", "--config")


class UsageError(ValueError):
    """Options that do not go together, or whose value breaks a rule; the message says which."""


def utf8(value: str) -> str:
    """Refuses bytes that are no UTF-8, which Python passes on as halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"arguments must be UTF-8 text, got {value!a}") from error
    return value


BankOption = Annotated[
    str, typer.Option("--bank", help="The bank's name.", show_default=False, callback=utf8)
]
BankArgument = Annotated[str, typer.Argument(help="The bank's name.", show_default=False, callback=utf8)]


@dataclass(frozen=True, slots=True)
class Session:
    """What the global options chose."""

    config: Path | None = None
    embedded: Path | None = None
    json: bool = False
    screen: Screen = field(default_factory=Screen)

    def settings(self, **flags: object) -> Settings:
        """Reads the settings; flags that are not None win."""
        return load(self.config, **flags)

    def run(
        self,
        work: Callable[[app.Faces], Awaitable[T]],
        *,
        create: bool = False,
        **flags: object,
    ) -> T:
        """Opens memory and agent, does the work, and closes them.

        Args:
            work: what to do with them.
            create: an embedded store that does not exist is created; without it, that is an error.
            flags: settings that an embedded agent is to have; None leaves one to the other sources.
        """
        if self.embedded is not None and not create and not self.embedded.is_dir():
            raise UsageError(f"--embedded {self.embedded}: there is no store; `memalpha memorize` makes one")

        async def opened() -> T:
            async with self._open(flags) as faces:
                return await work(faces)

        return asyncio.run(opened())

    def _open(self, flags: dict[str, object]) -> AbstractAsyncContextManager[app.Faces]:
        if self.embedded is not None:
            return app.embedded(self.embedded, self.settings(**flags))
        return app.connected(self.settings())


class Shell(TyperGroup):
    """The root command: its options may stand anywhere, and its errors have exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes the global options first, wherever they stand."""
        return super().parse_args(ctx, options_first(args))

    def invoke(self, ctx: Any) -> Any:
        """Runs a command and turns what it raises into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (MemalphaError, SourceError, UsageError) as error:
            report(error, as_json=bool(ctx.params.get("as_json")))
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            Screen().err.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None


def options_first(args: Sequence[str]) -> list[str]:
    """Moves the global options in front of the command, up to a `--`."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word in _WITH_VALUE:
            front += [word, *[value for value in [next(words, None)] if value is not None]]
        elif word in _FLAGS or word.startswith(tuple(f"{option}=" for option in _WITH_VALUE)):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]


def exit_code(error: Exception) -> int:
    """Gives the exit code of an error."""
    if isinstance(error, UnavailableError):
        return UNREACHABLE
    bad_input = isinstance(error, (SourceError, UsageError, InvalidInputError, OutOfRangeError))
    return BAD_INPUT if bad_input else FAILED


def report(error: Exception, *, as_json: bool) -> None:
    """Prints an error on standard error."""
    kind, reason = ("invalid_input", "")
    if isinstance(error, MemalphaError):
        kind, reason = error.kind, error.reason
    if as_json:
        print(json.dumps({"error": {"kind": kind, "reason": reason, "message": str(error)}}), file=sys.stderr)
        return
    err = Screen().err
    err.print("error: ", style="bold red", end="")
    err.print(visible(str(error)) + (f" ({reason})" if reason else ""))
    if isinstance(error, UnavailableError) and not reason.startswith("EMBEDDER"):
        err.print(
            "Is it running? `memalpha up` starts the services, `--embedded DIR` works without them.",
            style="dim",
        )
