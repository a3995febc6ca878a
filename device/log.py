"""What the program says on standard error: text for people, or one JSON object a line; repeats are held back."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REPEATS = 5  # a message said this often within the window is held back until the window ends
WINDOW_S = 60.0


def json_line(level: str, message: str, fields: Mapping[str, object], unix_s: float | None = None) -> str:
    """Return what is said as one JSON object: time, level, the fields, message.

    Args:
        level: debug, info, warning or error.
        message: for people.
        fields: what a program may want to know of it.
        unix_s: when it was said; None: now.
    """
    time_said = datetime.fromtimestamp(time.time() if unix_s is None else unix_s, UTC)
    timestamp = time_said.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": timestamp, "level": level, **fields, "message": message}, default=str)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event (where it is one), its fields, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json_line(record.levelname.lower(), record.getMessage(), fields, record.created)


class RepeatFilter(logging.Filter):
    """Lets a warning or error pass a few times a minute; what was held back is counted on the next that passes."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is said; events are facts and always are."""
        if record.levelno < logging.WARNING or hasattr(record, "fields"):
            return True
        key = (record.name, record.msg if record.args else record.getMessage())
        since, count = self._seen.get(key, (time.monotonic(), 0))
        if time.monotonic() - since > WINDOW_S:
            if count > REPEATS:
                record.msg, record.args = f"{record.getMessage()} ({count - REPEATS} more like it in a minute)", None
            since, count = time.monotonic(), 0
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[key] = (since, count + 1)
        return count < REPEATS


def setup(log_format: str, level: str) -> None:
    """Send the log to standard error.

    Args:
        log_format: ``text`` or ``json``.
        level: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"))
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
