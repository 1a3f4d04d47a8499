"""`check`: looks at everything that `serve` needs, and changes nothing."""

import subprocess
from collections.abc import Iterator

from peermentor_server import gateway, scratch
from peermentor_server.database_url import InvalidUrl
from peermentor_server.failures import CommandFailed
from peermentor_server.rules.errors import DomainError, reason
from peermentor_server.settings import Settings
from peermentor_server.storage import schema
from peermentor_server.storage.database import Database

_GATEWAY_TIMEOUT_S = 30


class Unwell(CommandFailed):
    """What is wrong, and what is well, a line each."""


def check(settings: Settings) -> str:
    """Return what was looked at, a line each; raise Unwell when something is wrong."""
    # Whoever comes here has settings that can be read.
    lines = [
        "ok     settings",
        *_database_lines(settings),
        *_lines("gateway", _gateway_problems(settings)),
    ]
    text = "\n".join(lines)
    if any(not line.startswith("ok") for line in lines):
        raise Unwell(f"not everything is well\n{text}")
    return text


def _lines(name: str, problems: Iterator[str]) -> list[str]:
    return [f"wrong  {name}: {problem}" for problem in problems] or [f"ok     {name}"]


def _database_lines(settings: Settings) -> list[str]:
    try:
        database = Database(settings.database_url)
    except InvalidUrl:
        return ["wrong  database: PEERMENTOR_DATABASE_URL is not a database URL"]
    file = database.file
    if file is not None and not file.parent.is_dir():
        return [f"wrong  database: there is no directory {file.parent}"]
    # To connect would make it, or fill it.
    if file is not None and not file.exists():
        return [f"ok     database: {database.location} is not there yet; serve will make it"]
    if file is not None and file.stat().st_size == 0:
        return [f"ok     database: {database.location} is empty; serve will make its tables"]
    return _lines("database", _database_problems(database))


def _database_problems(database: Database) -> Iterator[str]:
    try:
        yield from database.damage()
        state = schema.state(database)
        if state is schema.State.CURRENT:
            database.ping()
    except DomainError as error:
        yield f"cannot use {database.location}: {reason(error)}"
        return
    finally:
        database.close()
    if state is schema.State.UNKNOWN:
        yield f"the schema of {database.location} is newer than this program"
    elif state is schema.State.BEHIND and database.file is None:
        yield f"the schema of {database.location} is behind; run: peermentor-server migrate"


def _gateway_problems(settings: Settings) -> Iterator[str]:
    try:
        with scratch.directory() as directory:
            workers = [settings.grpc_address] * settings.worker_count
            config = gateway.write_configuration(directory, settings, workers)
            done = subprocess.run(  # noqa: S603
                [*gateway.command(config), "--mode", "validate"],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_GATEWAY_TIMEOUT_S,
                check=False,
            )
    except (CommandFailed, subprocess.TimeoutExpired, OSError) as error:
        yield str(error)
        return
    if done.returncode != 0:
        yield f"Envoy refuses its configuration: {done.stderr.strip()}"
