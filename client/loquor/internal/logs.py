"""Structured logs on stderr, for the server and its workers: JSON or human, one line an event, never a payload.

Of an exception the log has its kind and where it was raised. Its text is left out: libraries put values into it, and a
value may be somebody's words.
"""

import logging
import sys
import traceback

import structlog


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
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))


def _without_words(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["raised"] = type(error).__name__
        event["raised_in"] = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
    return event
