"""The log: one line a record on standard error, as key=value pairs.

Fields come from `extra`: `log.info("listening", extra={"door": "grpc", "address": "127.0.0.1:4317"})`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

# What a record has without anybody's `extra`; `message` and `asctime` are set by formatters of others.
STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
PLAIN = re.compile(r"[^\s\"=\\]+")


class Pairs(logging.Formatter):
    """Writes `time=… level=… logger=… message=… key=value …`; what is not plain is quoted as JSON quotes."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line, a traceback as one quoted value."""
        pairs = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("agent_exporter."),
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in STANDARD},
        }
        if record.exc_info:
            pairs["traceback"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={quoted(str(value))}" for key, value in pairs.items())


def quoted(text: str) -> str:
    """Quote a value that has spaces, quotes or control characters in it."""
    return text if PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text, ensure_ascii=False)


def start(level: str) -> None:
    """Send every log to standard error: ours from `level` on, those of libraries from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Pairs())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("agent_exporter").setLevel(level.upper())
    logging.captureWarnings(capture=True)
