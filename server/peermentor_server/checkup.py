"""`check`: looks at everything that `serve` needs, and changes nothing."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from peermentor_server import gateway
from peermentor_server.failures import CommandFailed
from peermentor_server.rules.errors import DomainError, InternalFault
from peermentor_server.settings import Settings
from peermentor_server.storage import schema
from peermentor_server.storage.database import Database, InvalidUrl

_GATEWAY_TIMEOUT_S = 30


class Unwell(CommandFailed):
    """What is wrong, and what is well, a line each."""


def check(settings: Settings) -> str:
    """Return what was looked at, a line each; raise Unwell when something is wrong."""
    # Whoever comes here has settings that can be read.
    lines = ["ok     settings"]
    problems = list(_database_problems(settings))
    lines += _lines("database", iter(problems), "" if problems else _remark(settings))
    lines += _lines("gateway", _gateway_problems(settings))
    text = "\n".join(lines)
    if any(not line.startswith("ok") for line in lines):
        raise Unwell(f"not everything is well\n{text}")
    return text


def _lines(name: str, problems: Iterator[str], remark: str = "") -> list[str]:
    return [f"wrong  {name}: {problem}" for problem in problems] or [f"ok     {name}{remark}"]


def _remark(settings: Settings) -> str:
    database = Database(settings.database_url)
    new = _is_yet_to_be_made(database)
    return f": {database.location} is not there yet; serve will make it" if new else ""


def _database_problems(settings: Settings) -> Iterator[str]:
    try:
        database = Database(settings.database_url)
    except InvalidUrl:
        yield "PEERMENTOR_DATABASE_URL is not a database URL"
        return
    file = database.file
    if file is not None and not file.parent.is_dir():
        yield f"there is no directory {file.parent}"
        return
    if _is_yet_to_be_made(database):
        # To connect would make it.
        return
    try:
        yield from database.damage()
        state = schema.state(database)
        database.ping()
    except DomainError as error:
        if not _is_behind(database):
            reason = error.diagnosis if isinstance(error, InternalFault) else error.__cause__
            yield f"cannot use {database.location}: {reason or error}"
            return
        state = schema.State.BEHIND
    finally:
        database.close()
    if state is schema.State.UNKNOWN:
        yield f"the schema of {database.location} is newer than this program"
    elif state is schema.State.BEHIND and file is None:
        yield f"the schema of {database.location} is behind; run: peermentor-server migrate"


def _is_yet_to_be_made(database: Database) -> bool:
    file = database.file
    return file is not None and (not file.exists() or file.stat().st_size == 0)


def _is_behind(database: Database) -> bool:
    """Tell whether the database answers, but has not all of the tables yet."""
    try:
        return schema.state(database) is schema.State.BEHIND
    except DomainError:
        return False


def _gateway_problems(settings: Settings) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="peermentor-") as directory:
        config = Path(directory) / "envoy.json"
        workers = [settings.grpc_address] * settings.worker_count
        config.write_text(json.dumps(gateway.configuration(settings, workers)), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603
                [*gateway.command(config), "--mode", "validate"],
                capture_output=True,
                text=True,
                timeout=_GATEWAY_TIMEOUT_S,
                check=False,
            )
        except (gateway.GatewayMissing, subprocess.TimeoutExpired, OSError) as error:
            yield str(error)
            return
    if done.returncode != 0:
        yield f"Envoy refuses its configuration: {done.stderr.strip()}"
