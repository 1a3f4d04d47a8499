"""The command line. The only module that reads the environment, and the only one that prints."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from peermentor_server import logs, settings
from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Address, Settings

SUCCESS, FAILURE, INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    # The database holds personal data: what this program creates is its owner's alone.
    os.umask(0o077)
    # gRPC's own lines are neither of our format nor for our readers.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        configured = settings.load(**_overrides(options))
        logs.configure(configured.log_level, configured.log_format)
        for name in settings.unknown(os.environ):
            print(f"peermentor-server: there is no setting {name}; ignored", file=sys.stderr)
        options.run(configured, options)
    except CommandFailed as failure:
        # In one piece: several workers may fail at the same moment.
        sys.stderr.write(f"peermentor-server: {failure}\n")
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    return SUCCESS


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    workers = getattr(options, "workers", None)
    return {} if workers is None else {"workers": workers}


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
    serve.add_argument(
        "--workers", type=int, metavar="N", help="how many processes serve; see PEERMENTOR_WORKERS"
    )
    serve.set_defaults(run=_serve)
    # Without a help text it is not listed: `serve` starts it.
    worker = commands.add_parser("worker")
    worker.add_argument("--number", type=int, required=True)
    worker.add_argument("--address", type=Address.parse, required=True)
    worker.add_argument("--pulse-fd", type=int, required=True)
    worker.set_defaults(run=_work)
    check = commands.add_parser("check", help="look at everything that serve needs")
    check.set_defaults(run=_check)
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
    backup = commands.add_parser(
        "backup",
        help="copy a SQLite database into a new file, while the server runs",
        description="Copy a SQLite database into a new file, while the server runs. The file "
        "appears when it is whole and checked. A PostgreSQL database is backed up by pg_dump.",
    )
    backup.add_argument("file", metavar="FILE", type=Path)
    backup.set_defaults(run=_backup)
    return parser


# Each command imports what it alone needs: `serve` must start quickly, and without gRPC.


def _serve(configured: Settings, options: argparse.Namespace) -> None:
    if options.no_gateway:
        from peermentor_server import commands

        commands.serve_grpc(configured)
    else:
        from peermentor_server import supervisor

        supervisor.serve(configured, on_ready=lambda: _say(_welcome(configured)))


def _say(text: str) -> None:
    # Nobody may be there to read it; that is no reason not to serve.
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _work(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    logs.name_worker(options.number)
    own = configured.model_copy(update={"grpc_address": options.address})
    commands.serve_grpc(own, pulse_fd=options.pulse_fd)


def _check(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server import checkup

    print(checkup.check(configured))


def _migrate(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server import commands

    print(commands.migrate(configured))


def _demo(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server import commands

    print(commands.load_demo(configured))


def _import_mentees(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    print(commands.import_mentees(configured, options.file))


def _backup(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    print(commands.back_up(configured, options.file))


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


if __name__ == "__main__":
    sys.exit(main())
