"""The server's log: one line a request, as text or as JSON. Never holds a text, a vector or a key."""

from __future__ import annotations

import logging
import sys
import time

import orjson

LOGGER = logging.getLogger("jinabert_onnx.server")
_FIELDS = "fields"  # the attribute of a record that holds what a request's line says


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        content = {"time": _time(record), "level": record.levelname.lower(), "message": record.getMessage()}
        content |= getattr(record, _FIELDS, {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(content, default=str).decode()


class TextFormatter(logging.Formatter):
    """`time level message name=value ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        fields = "".join(f" {name}={value}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{_time(record)} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(json_lines: bool) -> None:
    """Send this package's log, and what uvicorn has to say, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    for name, level in (("jinabert_onnx", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log_request(fields: dict[str, object]) -> None:
    """Write one line about one answered request."""
    LOGGER.info("request", extra={_FIELDS: fields})


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
