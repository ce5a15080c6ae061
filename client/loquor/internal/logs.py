"""Structured logs on stderr, for the server and its workers: JSON or human, one line an event, never a payload.

Of an exception the log has its kind and where it was raised. Its text is left out: libraries put values into it, and a
value may be somebody's words.
"""

import logging
import sys
import traceback

import structlog

_NUMBERS = logging.getLevelNamesMapping()
_least = logging.INFO


def configure(form: str, level: str) -> None:
    """Set up structlog for this process. `form` is "json" or "human"; `level` the least level that is written."""
    renderer: structlog.types.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_words,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    set_level(level)


def set_level(level: str) -> None:
    """Change the least level that is written, at once and everywhere in this process."""
    global _least
    _least = _number(level)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_least))


def writes(level: str) -> bool:
    """Whether events of this level are written. A line that is not costs some 10 µs, which a busy path saves so."""
    return _number(level) >= _least


def _number(level: str) -> int:
    return _NUMBERS[level.upper()]


def _without_words(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["raised"] = type(error).__name__
        event["raised_in"] = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
    return event
