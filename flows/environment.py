"""Defaults of the processes we start: no telemetry, quiet logs, Prefect's own files beside the data."""

import atexit
import logging
import os
from pathlib import Path

from schemas.errors import ConfigError

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""What is set unless the caller set it; errors are reported by the command, so Prefect's log stays silent."""


def prepare_environment(root: str) -> None:
    """Set the defaults before Prefect is imported; a running server (PREFECT_API_URL) keeps its own home.

    Raises:
        ConfigError: the data root cannot be made.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ or "PREFECT_HOME" in os.environ:
        return
    home = Path(root).expanduser().resolve() / ".prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)  # Prefect makes no parents, and its server then fails for minutes
    except OSError as exc:
        raise ConfigError(f"data root {root}: cannot be made: {exc.strerror or exc}; name another with --root") from exc
    os.environ["PREFECT_HOME"] = str(home)


def show_progress() -> None:
    """Send our own log lines to stderr, one line a stage or every few seconds."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    for name in ("flows", "tasks", "warehouse"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False


def end_quietly() -> None:
    """Close stderr after everything else at exit: DuckDB's binding then lists what it calls leaks, harmless here."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
