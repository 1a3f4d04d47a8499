"""The command line. The only module that reads the environment, and the only one that prints."""

from peermentor_server import process

process.prepare()

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import structlog

from peermentor_server import logs, settings
from peermentor_server.failures import CommandFailed
from peermentor_server.log_output import output_of
from peermentor_server.sample import SAMPLE
from peermentor_server.settings import Address, Settings

SUCCESS, FAILURE, INTERRUPTED = 0, 1, 130
_PROGRAM = "peermentor-server"
_log = structlog.get_logger("peermentor_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        return _run(_parse(sys.argv[1:] if arguments is None else arguments))
    finally:
        process.flush_streams()


def _run(options: argparse.Namespace) -> int:
    # The database holds personal data: what this program creates is its owner's alone.
    os.umask(0o077)
    # gRPC's own lines are neither of our format nor for our readers.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Until all settings are known to be good.
    logs.configure("info", settings.log_format())
    try:
        configured = _load_settings(options)
        return options.run(configured, options) or SUCCESS
    except CommandFailed as failure:
        _report(str(failure), options)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED


def _load_settings(options: argparse.Namespace) -> Settings:
    try:
        configured = settings.load(**_overrides(options))
        logs.configure(configured.log_level, configured.log_format)
        return configured
    finally:
        # Beside one that is refused, too: people mend all of them at once.
        _name_unknown_settings(options)


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    workers = getattr(options, "workers", None)
    return {} if workers is None else {"workers": workers}


def _name_unknown_settings(options: argparse.Namespace) -> None:
    # `serve` has named them before it started the worker.
    if options.run is _work:
        return
    given = [name for name, value in os.environ.items() if value.strip()]
    for name in settings.unknown(given):
        text = f"there is no setting {name}; ignored"
        if _is_logged(options):
            _log.warning(text)
        else:
            _complain(text)


def _report(failure: str, options: argparse.Namespace) -> None:
    if options.run is _work:
        # `serve` tells it, once for all workers.
        with contextlib.suppress(OSError):
            os.write(options.pulse_fd, failure.encode("utf-8", "backslashreplace"))
    elif getattr(options, "json", False):
        _tell_of_settings(failure)
    elif _is_logged(options):
        for line in failure.splitlines():
            _log.error(line)
    else:
        _complain(failure)


def _is_logged(options: argparse.Namespace) -> bool:
    """Tell whether to speak in lines of the log: as JSON, and among those of `serve`."""
    style = settings.log_format()
    return style == "json" or (options.run is _serve and logs.is_json(style, sys.stderr))


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"{_PROGRAM}: {text}", file=sys.stderr)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    # Only `serve` starts it: it is not among the commands that people are offered.
    if arguments[:1] == ["worker"]:
        return _worker_parser().parse_args(arguments[1:])
    return _parser().parse_args(arguments)


def _worker_parser() -> argparse.ArgumentParser:
    worker = argparse.ArgumentParser(prog=f"{_PROGRAM} worker")
    worker.add_argument("--number", type=int, required=True)
    worker.add_argument("--address", type=Address.parse, required=True)
    worker.add_argument("--pulse-fd", type=int, required=True)
    worker.set_defaults(run=_work)
    return worker


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Peer-mentoring assignments and recurring activity templates, "
        "over gRPC and REST.",
        epilog="Settings are environment variables named PEERMENTOR_*; "
        "docs/operations.md lists them.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(_PROGRAM)}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="run the gRPC server and the REST gateway")
    serve.add_argument("--no-gateway", action="store_true", help="run the gRPC server alone")
    serve.add_argument(
        "--workers", metavar="N", help="how many processes serve; see PEERMENTOR_WORKERS"
    )
    serve.set_defaults(run=_serve)
    check = commands.add_parser("check", help="look at everything that serve needs")
    check.add_argument("--json", action="store_true", help="print a JSON object, for programs")
    check.set_defaults(run=_check)
    migrate = commands.add_parser("migrate", help="bring the schema of the database up to date")
    migrate.set_defaults(run=_migrate)
    demo = commands.add_parser("demo", help="load sample data into an empty database")
    demo.set_defaults(run=_demo)
    mentees = commands.add_parser(
        "import-mentees",
        help="load names of mentees from a CSV file",
        description="Load names of mentees from a CSV file with the columns mentee_id and "
        "mentee_name, as spreadsheets write it: with commas, semicolons or tabs, in UTF-8 or "
        "UTF-16. Further columns are ignored. A name that is known already is replaced. Either "
        "every row is loaded or, if one is wrong, none.",
    )
    mentees.add_argument("file", metavar="FILE.csv", type=_file, help="- for standard input")
    mentees.add_argument(
        "--encoding", metavar="NAME", help="of a file that is not Unicode, such as cp1252"
    )
    mentees.add_argument("--dry-run", action="store_true", help="check the file, store nothing")
    mentees.set_defaults(run=_import_mentees)
    forget = commands.add_parser(
        "forget-mentee",
        help="delete the name of a mentee without assignments",
        description="Delete the name of a mentee who has no assignment, such as one that was "
        "imported by mistake. With a mentee's last assignment the name goes by itself.",
    )
    forget.add_argument("mentee_id", metavar="ID")
    forget.set_defaults(run=_forget_mentee)
    backup = commands.add_parser(
        "backup",
        help="copy a SQLite database into a new file, while the server runs",
        description="Copy a SQLite database into a new file, while the server runs. The file "
        "appears when it is whole and checked. A PostgreSQL database is backed up by pg_dump.",
    )
    backup.add_argument("file", metavar="FILE", type=_path_for_sqlite)
    backup.set_defaults(run=_backup)
    return parser


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


def _file(text: str) -> Path | None:
    """Return a file, or None for standard input."""
    return None if text == "-" else _path(text)


# Each command imports what it alone needs: `serve` must start quickly, and without gRPC.


def _serve(configured: Settings, options: argparse.Namespace) -> None:
    if options.no_gateway:
        from peermentor_server import commands

        commands.serve_grpc(configured)
    else:
        from peermentor_server import supervisor

        supervisor.serve(configured, on_ready=lambda: _say(_welcome(configured)))


def _say(text: str) -> None:
    # Nobody may be there to read it, now or ever; that is no reason not to serve.
    if (output := output_of(sys.stdout)) is not None:
        output.write(f"{text}\n")


def _tell(result: str) -> None:
    # What was done is done, and the exit status says so.
    with contextlib.suppress(OSError):
        print(result)


def _work(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    # Whoever means `serve` may reach all that bears its name.
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    logs.name_worker(options.number)
    own = configured.model_copy(update={"grpc_address": options.address})
    commands.serve_grpc(own, pulse_fd=options.pulse_fd)


def _check(configured: Settings, options: argparse.Namespace) -> int:
    from peermentor_server import checkup

    findings = checkup.check(configured)
    if options.json:
        _tell(checkup.as_json(findings))
        return SUCCESS if checkup.is_well(findings) else FAILURE
    if not checkup.is_well(findings):
        raise checkup.Unwell(f"not everything is well\n{checkup.as_text(findings)}")
    _tell(checkup.as_text(findings))
    return SUCCESS


def _tell_of_settings(problems: str) -> None:
    from peermentor_server import checkup

    _tell(checkup.as_json([checkup.Finding("settings", tuple(problems.splitlines()))]))


def _migrate(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server import commands

    _tell(commands.migrate(configured))


def _demo(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server import commands

    _tell(commands.load_demo(configured))


def _import_mentees(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    with _progress_bar() as progress:
        told = commands.import_mentees(
            configured,
            options.file,
            encoding=options.encoding,
            dry_run=options.dry_run,
            progress=progress,
        )
    _tell(told)


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Show on a terminal what is being done, and how much of it is done."""
    if not sys.stderr.isatty():
        yield lambda _what, _done: None
        return
    shown = ""

    def show(what: str, done: float) -> None:
        nonlocal shown
        bar = f"{what}  [{'#' * int(done * 30):30}] {done:4.0%}"
        if bar != shown:
            shown = bar
            _rewrite_line(bar)

    try:
        yield show
    finally:
        _rewrite_line("")


def _rewrite_line(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def _forget_mentee(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    _tell(commands.forget_mentee(configured, options.mentee_id))


def _backup(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server import commands

    _tell(commands.back_up(configured, options.file))


def _welcome(configured: Settings) -> str:
    rest = f"http://{configured.rest_address.to_connect}/api/v1"
    # What is pasted must be JSON, whatever the terminal makes of other letters.
    sample = json.dumps(SAMPLE, ensure_ascii=sys.stdout.encoding.lower() != "utf-8")
    return f"""
peermentor is running. Ctrl-C stops it.

  REST   http://{configured.rest_address.to_connect}
  gRPC   {configured.grpc_address.to_connect}

Sample data, for the tour in README.md, from another terminal:

  {_PROGRAM} demo    (or: make demo)

One assignment, before or after that, and the list:

  curl -X POST {rest}/assignments -H 'Content-Type: application/json' -d '{sample}'

  curl {rest}/assignments
"""


if __name__ == "__main__":
    sys.exit(main())
