"""Logs go to stderr: key=value for people, JSON for machines. Data never passes here."""

import logging
import sys

from app.config import GlobalOptions

# -q shows errors only, nothing shows warnings and what happens once (info), -v everything at boundaries
_LEVELS = {-1: logging.ERROR, 0: logging.INFO, 1: logging.DEBUG}


def set_up_logging(options: GlobalOptions, process: str = "saccade") -> None:
    """Send all logs of this process to stderr in the wanted form; call once at the start of a process."""
    level = _LEVELS[max(-1, min(1, options.verbosity))]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _json_formatter(process) if options.log_format == "json" else logging.Formatter(f"{process}: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # compilers and toolkits that speak at debug level would drown our own words
    for name in ("numba", "asyncio", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _json_formatter(process: str) -> logging.Formatter:
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

    def add_process(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:  # noqa: ARG001 - the form of processors
        event["process"] = process
        return event

    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        add_process,
    ]
    after: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after)
