"""The commands and their options, as people type them."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peermentor_server.file_identity import FileIdentity
from peermentor_server.rules import texts
from peermentor_server.rules.principals import NAMES

PROGRAM = "peermentor-server"

# What runs each command, by its name.
Run = Mapping[str, Callable[..., int | None]]


def parse(arguments: Sequence[str], run: Run) -> argparse.Namespace:
    """Return the options of a command, with what runs it as `run`; exit when there is no such."""
    # Only `serve` starts them: they are not among the commands that people are offered.
    if arguments[:1] == ["worker"]:
        return _worker_parser(run).parse_args(arguments[1:])
    if arguments[:1] == ["metrics"]:
        return _metrics_parser(run).parse_args(arguments[1:])
    return _parser(run).parse_args(arguments)


def _worker_parser(run: Run) -> argparse.ArgumentParser:
    worker = argparse.ArgumentParser(prog=f"{PROGRAM} worker")
    worker.add_argument("--number", type=int, required=True)
    worker.add_argument("--socket", type=Path, required=True)
    worker.add_argument("--metrics", type=Path, required=True)
    worker.add_argument("--pulse-fd", type=int, required=True)
    worker.add_argument("--database-file", type=FileIdentity.parse)
    worker.set_defaults(run=run["worker"])
    return worker


def _metrics_parser(run: Run) -> argparse.ArgumentParser:
    metrics = argparse.ArgumentParser(prog=f"{PROGRAM} metrics")
    metrics.add_argument("--directory", type=Path, required=True)
    metrics.set_defaults(run=run["metrics"])
    return metrics


def _parser(run: Run) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Peer-mentoring assignments and recurring activity templates, "
        "over gRPC and REST.",
        epilog="Settings are environment variables named PEERMENTOR_*; "
        "docs/operations.md lists them.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(PROGRAM)}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="run the gRPC server and the REST gateway")
    serve.add_argument("--no-gateway", action="store_true", help="run the gRPC server alone")
    serve.add_argument(
        "--workers", metavar="N", help="how many processes serve; see PEERMENTOR_WORKERS"
    )
    serve.set_defaults(run=run["serve"])
    check = commands.add_parser("check", help="look at everything that serve needs")
    check.add_argument("--json", action="store_true", help="print a JSON object, for programs")
    check.set_defaults(run=run["check"])
    config = commands.add_parser("config", help="print the settings that are in effect")
    config.add_argument("--json", action="store_true", help="print a JSON object, for programs")
    config.set_defaults(run=run["config"])
    ready = commands.add_parser(
        "ready",
        help="tell by the exit status whether serve can answer calls now",
        description="Tell by the exit status whether `serve`, with the same settings on this "
        "machine, can answer calls now.",
    )
    ready.set_defaults(run=run["ready"])
    migrate = commands.add_parser("migrate", help="bring the schema of the database up to date")
    migrate.set_defaults(run=run["migrate"])
    demo = commands.add_parser("demo", help="load sample data into an empty database")
    demo.set_defaults(run=run["demo"])
    mentees = commands.add_parser(
        "import-mentees",
        help="load names of mentees from a CSV file",
        description="Load names of mentees from a CSV file with the columns org_id, mentee_id and "
        "mentee_name, as spreadsheets write it: with commas, semicolons or tabs, in UTF-8 or "
        "UTF-16. Further columns are ignored. A name that is known already is replaced. Either "
        "every row is loaded or, if one is wrong, none.",
    )
    mentees.add_argument("file", metavar="FILE.csv", type=_file, help="- for standard input")
    mentees.add_argument(
        "--org",
        metavar="ID",
        type=_identifier,
        help="the organisation of all rows, which then need no column org_id",
    )
    mentees.add_argument(
        "--encoding", metavar="NAME", help="of a file that is not Unicode, such as cp1252"
    )
    mentees.add_argument("--dry-run", action="store_true", help="check the file, store nothing")
    mentees.set_defaults(run=run["import-mentees"])
    forget = commands.add_parser(
        "forget-mentee",
        help="delete a mentee",
        description="Delete the name of a mentee, in all organisations or in one. One who has "
        "assignments there is refused, unless these are to be deleted too.",
    )
    forget.add_argument("mentee_id", metavar="ID")
    forget.add_argument("--org", metavar="ID", type=_identifier, help="in this organisation alone")
    forget.add_argument(
        "--with-assignments",
        action="store_true",
        help="delete the mentee's assignments too, with their contacts: nothing of the person "
        "is left",
    )
    forget.set_defaults(run=run["forget-mentee"])
    _add_keys(commands, run)
    backup = commands.add_parser(
        "backup",
        help="copy a SQLite database into a new file, while the server runs",
        description="Copy a SQLite database into a new file, while the server runs. The file "
        "appears when it is whole and checked. A PostgreSQL database is backed up by pg_dump.",
    )
    backup.add_argument("file", metavar="FILE", type=_path_for_sqlite)
    backup.set_defaults(run=run["backup"])
    _add_transfer(commands, run)
    return parser


def _add_transfer(commands: Any, run: Run) -> None:
    export = commands.add_parser(
        "export",
        help="write the data of organisations to a file, while the server runs",
        description="Write the data of all organisations, or of some, to a file of JSON lines that "
        "`import` reads into any database. The file holds names. It appears when it is whole.",
    )
    export.add_argument("file", metavar="FILE.jsonl", type=_path)
    _add_organizations(export)
    export.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    export.set_defaults(run=run["export"])
    importing = commands.add_parser(
        "import",
        help="read such a file into a database, of another kind too",
        description="Read a file that `export` has written into the database, with the ids that "
        "everything has there. The whole file is checked before anything is stored. What is stored "
        "already is left as it is: the same command goes on where it was broken off.",
    )
    importing.add_argument("file", metavar="FILE.jsonl", type=_file, help="- for standard input")
    _add_organizations(importing)
    importing.set_defaults(run=run["import"])


def _add_organizations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--org",
        metavar="ID",
        type=_identifier,
        action="append",
        help="only the data of this organisation; may be given several times",
    )


def _add_keys(commands: Any, run: Run) -> None:
    keys = commands.add_parser("keys", help="make, list and revoke the keys that callers need")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="make a key, and print it once",
        description="Make a key, and print it: it can never be seen again. Callers send it as "
        "`authorization: Bearer KEY`, once PEERMENTOR_ACCESS is `required`.",
    )
    create.add_argument(
        "--org",
        metavar="ID",
        type=_organization,
        action="append",
        help="an organisation whose data the key is for; may be given several times",
    )
    create.add_argument(
        "--all-orgs", action="store_true", help="the key is for the data of all organisations"
    )
    create.add_argument("--permission", choices=tuple(NAMES), default="read", help="default: read")
    create.add_argument(
        "--expires",
        metavar="DAYS",
        type=_days,
        help="after how many days the key ends, such as 90d; default: never",
    )
    create.add_argument("--note", metavar="TEXT", type=_note, default="", help="what it is for")
    create.set_defaults(run=run["keys create"])
    listing = actions.add_parser("list", help="list all keys, without their secrets")
    listing.set_defaults(run=run["keys list"])
    revoke = actions.add_parser("revoke", help="make a key invalid, within five seconds")
    revoke.add_argument("key", metavar="ID", help="as `keys list` has it, or the whole key")
    revoke.set_defaults(run=run["keys revoke"])


def _days(text: str) -> timedelta:
    found = re.fullmatch("([1-9][0-9]{0,3})d?", text)
    if found is None:
        raise argparse.ArgumentTypeError("must be a number of days from 1 to 9999, such as 90d")
    return timedelta(days=int(found[1]))


def _note(text: str) -> str:
    if problem := texts.problem(text, texts.MAX_NAME_LENGTH, one_line=True):
        raise argparse.ArgumentTypeError(problem)
    # Such as what turns the direction of a line, in the table of `keys list`.
    if not text.isprintable():
        raise argparse.ArgumentTypeError("must be printable")
    return text


def _path(text: str) -> Path:
    """Return it as messages show it: whoever reads them may be somewhere else."""
    try:
        return Path(text).absolute()
    except FileNotFoundError:
        raise argparse.ArgumentTypeError("the working directory is gone") from None


def _path_for_sqlite(text: str) -> Path:
    path = _path(text)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("its path must be text in UTF-8") from None
    return path


def _identifier(text: str) -> str:
    if problem := texts.identifier_problem(text):
        raise argparse.ArgumentTypeError(problem)
    return text


def _organization(text: str) -> str:
    # In tokens it stands for all, and would here be the id of one.
    if text == "*":
        raise argparse.ArgumentTypeError("is no organisation; --all-orgs stands for all")
    return _identifier(text)


def _file(text: str) -> Path | None:
    """Return a file, or None for standard input."""
    return None if text == "-" else _path(text)
