"""structlog for every line, our own and the libraries'; request id and job id are bound by whoever knows them."""

import logging
import sys

import structlog
from asgi_correlation_id import correlation_id

from shared.config import Settings
from shared.printable import escaped

MANY_LINES = ("exception", "stack")


def _request_id(_logger: object, _name: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """Put the id of the request under way on every line that is written for it."""
    if request_id := correlation_id.get():
        line["request_id"] = request_id
    return line


def _printable(_logger: object, _name: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """Keep what a client or a server sent from steering the terminal; JSON escapes by itself."""
    for key, value in line.items():
        if isinstance(value, str):
            line[key] = escaped(value, keep="\n\t" if key in MANY_LINES else "")
    return line


def setup_logging(settings: Settings) -> None:
    """Send all logs to stderr: readable in DEV, one JSON object a line elsewhere."""
    shared: list[structlog.types.Processor] = [
        _request_id,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = structlog.processors.JSONRenderer()
    if settings.env == "DEV":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the default one prints local variables, secrets too
        )
        shared.append(_printable)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in ("arq", "httpx2", "httpcore2", "openai", "alembic", "uvicorn.access", "aiosqlite"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
