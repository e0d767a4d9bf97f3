"""Structured logs on stderr: key-value lines on a terminal, one JSON object per line elsewhere.

What a bank holds never gets into a log: values under the keys that carry texts are replaced by their length
before any line is rendered, so that a careless call cannot leak them.
"""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_CONTENT_KEYS = frozenset(
    {"answer", "chunk", "completion", "content", "context", "memory", "prompt", "query", "raw_output", "text"}
)


def configure(level: str = "info", log_format: Literal["auto", "json", "console"] = "auto") -> None:
    """Sets up structlog and the standard library's logging, for the whole process.

    Args:
        level: Least level that is written: debug, info, warning or error.
        log_format: `auto` is console on a terminal and JSON elsewhere.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_contents,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared, log_format))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger; pass what a line is about as keywords, never inside the sentence."""
    return structlog.get_logger(name)


def hide_contents(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces the value of each key that may carry a memory's or a chunk's text by its length."""
    for key in _CONTENT_KEYS & event.keys():
        event[key] = f"({len(str(event[key]))} characters)"
    return event


# Tracebacks are plain on purpose: richer ones print local variables, and with them what a bank holds.
def _formatter(shared: list[Processor], log_format: str) -> structlog.stdlib.ProcessorFormatter:
    terminal = sys.stderr.isatty()
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)]
        if log_format == "console" or (log_format == "auto" and terminal)
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
