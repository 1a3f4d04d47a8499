"""The command line. The only module that reads the environment, and the only one that prints."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from peermentor_server import demo, logs, mentee_file, settings
from peermentor_server.rules.errors import DomainError
from peermentor_server.settings import Settings
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.database import Database, InvalidUrl

T = TypeVar("T")

SUCCESS, FAILURE = 0, 1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long calls may go on once the server has been told to stop.
STOP_GRACE_S = 10


class CommandFailed(Exception):
    """Why a command cannot do its work, for the person who gave it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    # The database holds personal data: what this program creates is its owner's alone.
    os.umask(0o077)
    try:
        configured = settings.load()
        logs.configure(configured.log_level, configured.log_format)
        options.run(configured, options)
    except (CommandFailed, settings.InvalidSettings) as failure:
        print(f"peermentor-server: {failure}", file=sys.stderr)
        return FAILURE
    return SUCCESS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peermentor-server",
        description="Peer-mentoring assignments and recurring activity templates, "
        "over gRPC and REST.",
        epilog="Settings are environment variables named PEERMENTOR_*; README.md lists them.",
    )
    parser.add_argument("--version", action="version", version=version("peermentor-server"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="run the gRPC server and the REST gateway")
    serve.add_argument("--no-gateway", action="store_true", help="run the gRPC server alone")
    serve.set_defaults(run=_serve)
    migrate = commands.add_parser("migrate", help="bring the schema of the database up to date")
    migrate.set_defaults(run=_migrate)
    demo = commands.add_parser("demo", help="load sample data into an empty database")
    demo.set_defaults(run=_demo)
    mentees = commands.add_parser(
        "import-mentees",
        help="load names of mentees from a CSV file",
        description="Load names of mentees from a CSV file with the columns mentee_id and "
        "mentee_name. A name that is known already is replaced. Either every line is loaded "
        "or, if one is wrong, none.",
    )
    mentees.add_argument("file", metavar="FILE.csv", type=Path)
    mentees.set_defaults(run=_import_mentees)
    return parser


def _serve(configured: Settings, options: argparse.Namespace) -> None:
    if options.no_gateway:
        _serve_grpc(configured)
    else:
        _serve_all(configured)


def _serve_grpc(configured: Settings) -> None:
    # gRPC is imported where it is used: the supervisor of `serve` must do without.
    from peermentor_server.app import App, PortTaken

    database = _open(configured)
    _require_schema(database)
    # Blocked in this thread and all that it starts, the signals wait for sigwait below:
    # a handler could run in a thread of gRPC's, and leave this one asleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    app = App(configured, database)
    try:
        app.start()
    except PortTaken as taken:
        raise CommandFailed(f"PEERMENTOR_GRPC_ADDRESS: {taken}") from None
    signal.sigwait(STOP_SIGNALS)
    app.stop(STOP_GRACE_S)
    database.close()


def _serve_all(configured: Settings) -> None:
    from peermentor_server.gateway import GatewayMissing
    from peermentor_server.supervisor import ServeFailed, serve

    try:
        serve(configured, on_ready=lambda: print(_welcome(configured), flush=True))
    except (ServeFailed, GatewayMissing) as failure:
        raise CommandFailed(str(failure)) from None


def _welcome(configured: Settings) -> str:
    rest = f"http://{configured.rest_address.to_connect}/api/v1"
    return f"""
peermentor is running. Ctrl-C stops it.

  REST   http://{configured.rest_address.to_connect}
  gRPC   {configured.grpc_address.to_connect}

Try it:

  curl -X POST {rest}/assignments -H 'Content-Type: application/json' -d '{_SAMPLE}'

  curl {rest}/assignments
"""


_SAMPLE = (
    '{"mentee_id": "user_088", "mentee_name": "Bjørn Solberg", "peer_mentor_id": "user_042", '
    '"coordinator_id": "user_007", "org_id": "org_03", "start_date": "2026-03-26"}'
)


def _migrate(configured: Settings, _options: argparse.Namespace) -> None:
    database = _open(configured)
    _with_database(database, lambda: schema.migrate(database))
    print(f"{database.location} is up to date")


def _demo(configured: Settings, _options: argparse.Namespace) -> None:
    database = _open(configured)
    _require_schema(database)
    try:
        counts = _with_database(database, lambda: demo.load(database))
    except demo.NotEmpty:
        raise CommandFailed(
            f"{database.location} holds assignments or templates; demo loads only into an "
            "empty database"
        ) from None
    print(f"loaded {counts[0]} assignments and {counts[1]} templates into {database.location}")


def _import_mentees(configured: Settings, options: argparse.Namespace) -> None:
    database = _open(configured)
    _require_schema(database)
    try:
        names = mentee_file.read(options.file)
    except mentee_file.InvalidFile as invalid:
        raise CommandFailed(f"nothing imported\n{invalid}") from None
    _with_database(database, lambda: _name_mentees(database, names))
    print(f"imported {len(names)} names into {database.location}")


def _name_mentees(database: Database, names: Mapping[str, str]) -> None:
    with database.write() as connection:
        for mentee_id, name in names.items():
            assignments.name_mentee(connection, mentee_id, name)


def _open(configured: Settings) -> Database:
    try:
        return Database(configured.database_url)
    except InvalidUrl:
        raise CommandFailed("PEERMENTOR_DATABASE_URL: is not a database URL") from None


def _require_schema(database: Database) -> None:
    """Bring SQLite up to date; on PostgreSQL that is left to `migrate`, at its owner's time."""
    if database.dialect == "sqlite":
        _with_database(database, lambda: schema.migrate(database))
        return
    state = _with_database(database, lambda: schema.state(database))
    if state is schema.State.BEHIND:
        raise CommandFailed(
            f"the schema of {database.location} is behind; run: peermentor-server migrate"
        )
    if state is schema.State.UNKNOWN:
        raise CommandFailed(f"the schema of {database.location} is newer than this program")


def _with_database(database: Database, work: Callable[[], T]) -> T:
    try:
        return work()
    except DomainError as error:
        raise CommandFailed(
            f"PEERMENTOR_DATABASE_URL: cannot use {database.location}: {error.__cause__ or error}"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
