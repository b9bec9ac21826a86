"""What the node writes about itself: one line per event on stderr, text or JSON.

Whatever a peer named is shown with its control characters escaped: a name cannot forge a line.
"""

import json
import logging
import sys
import time
from typing import Final

LINE_CHARS_MAX: Final = 2000
"""Longest message: beyond that somebody is trying to fill the disk."""


def escaped(text: str) -> str:
    """`text` with every unprintable character written as an escape, cut to LINE_CHARS_MAX."""
    cut = text if len(text) <= LINE_CHARS_MAX else text[:LINE_CHARS_MAX] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


class TextForm(logging.Formatter):
    """`2026-01-31T12:00:00.000Z info  message`; a trace follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or more with a trace."""
        line = f"{_stamp(record)} {record.levelname.lower():<7} {escaped(record.getMessage())}"
        return (
            line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"
        )


class JsonForm(logging.Formatter):
    """One JSON object per line: at, level, logger, message, trace."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "at": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escaped(record.getMessage()),
        }
        if record.exc_info is not None:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up(level: str, form: str) -> None:
    """Send the log of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else TextForm())
    root = logging.getLogger("swarm")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def _stamp(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"
