"""The logger of the way to Fullstory, and what keeps the log safe: one line each, no record, no secret.

What a library logs may hold addresses (with the id of a user, or a key), headers and tracebacks. So the
handlers let through the target's own lines and a few harmless ones of libraries, at any level nothing else.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("target-fullstory")

_OURS = frozenset({"target-fullstory", "target_fullstory"})
_FROM_LIBRARIES = {
    "singer_sdk.metrics": logging.INFO,
    "singer_sdk.mapper": logging.INFO,  # what is below holds values of records
    "uvicorn.error": logging.WARNING,  # of the embedded sandbox
}


def guard_logs() -> None:
    """Let safe lines alone through all handlers there are; called once logging is set up."""
    logging.captureWarnings(capture=True)
    threading.excepthook = lambda uncaught: _log_uncaught(uncaught.exc_value)
    sys.excepthook = lambda _, error, __: _log_uncaught(error)
    sys.unraisablehook = lambda ignored: logger.debug("An error was ignored", exc_info=ignored.exc_value)
    known = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    for handler in {handler for each in known for handler in each.handlers}:
        handler.addFilter(_safe_line)


def silence_urllib3() -> None:
    """Silence what urllib3 logs, also where the target is used from Python and guards no handlers."""
    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


def stderr_is_terminal() -> bool:
    """Whether somebody watches: standard error is a terminal. It is None where it is closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """A text from outside on one line: what is not printable is escaped, so that it cannot forge a line."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _log_uncaught(error: BaseException | None) -> None:
    """Log what Python would print with its text."""
    if not isinstance(error, SystemExit):
        logger.error("An unexpected error (%s); please report this", type(error).__name__, exc_info=error)


def _safe_line(record: logging.LogRecord) -> bool:
    """Make a line safe, or drop it."""
    if record.name.partition(".")[0] not in _OURS:
        least = _FROM_LIBRARIES.get(record.name)
        if least is None or record.levelno < least:
            return False
    line = message = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        line += "".join(_places(record.exc_info[1]))
    line = printable(line)
    if line != message:  # else it keeps its arguments, which singer-sdk's structured form of a metric reads
        record.msg, record.args = line, None
    record.name = printable(record.name)
    record.exc_info = record.exc_text = record.stack_info = None
    return True


def _places(error: BaseException) -> Iterator[str]:
    """The errors behind an error: their types and places, not their texts, which may hold a record."""
    found: BaseException | None = error
    while found is not None:
        yield f" | {type(found).__name__}"
        for frame in traceback.extract_tb(found.__traceback__):
            yield f" {Path(frame.filename).name}:{frame.lineno}"
        found = found.__cause__ or found.__context__
