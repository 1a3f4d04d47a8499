"""What a run was made on and with."""

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.contestants import SERVICE_BIN, TREE

_PACKAGES = ("grpcio", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "uvloop", "orjson")


def describe(postgresql: str) -> dict[str, str]:
    """Return everything that the figures depend on, by its name."""
    with_service = "import pysqlite3; print(pysqlite3.sqlite_version)"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite of the service": _printed([SERVICE_BIN / "python", "-c", with_service]),
        "SQLite of FastAPI": sqlite3.sqlite_version,
        "PostgreSQL": postgresql,
        "Envoy": _number([SERVICE_BIN / "envoy", "--version"]),
        "wrk": _number(["wrk", "--version"]),
        "h2load": _number(["h2load", "--version"]),
        **{name: version(name) for name in _PACKAGES},
    }


def _commit() -> str:
    commit = _printed(["git", "-C", TREE, "rev-parse", "--short", "HEAD"])
    changed = _printed(
        ["git", "-C", TREE, "status", "--porcelain", "server", "envoy.yaml", "gateway"]
    )
    return f"{commit} and changes" if changed else commit


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _number(command: Sequence[str | Path]) -> str:
    found = re.search(r"\d+(\.\d+)+", _printed(command))
    return found[0] if found else "unknown"


def _printed(command: Sequence[str | Path]) -> str:
    # wrk says its version and fails.
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    return done.stdout.strip()
