"""The command line. With `process` all that reads the environment, and all that prints."""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import structlog

from peermentor_server import process, settings, trace_export
from peermentor_server.cli.arguments import PROGRAM, parse
from peermentor_server.cli.sample import SAMPLE
from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Settings
from peermentor_server.telemetry import logs
from peermentor_server.telemetry.log_output import output_of
from peermentor_server.trace_export import CannotTrace, TraceExport

SUCCESS, FAILURE, INTERRUPTED = 0, 1, 130
_log = structlog.get_logger("peermentor_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        return _run(parse(sys.argv[1:] if arguments is None else arguments, _COMMANDS))
    finally:
        process.flush_streams()
        # Python would look through all of it once more, for longer than it takes to end.
        process.keep_all()


def _run(options: argparse.Namespace) -> int:
    # The database holds personal data: what this program creates is its owner's alone.
    os.umask(0o077)
    # gRPC's own lines are neither of our format nor for our readers.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if os.getpid() == 1:
        # The first process of a container never sees a signal that it has not asked for.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Until all settings are known to be good.
    logs.configure("info", settings.log_format(os.environ))
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
        configured = settings.load(os.environ, **_overrides(options))
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
    if options.run in {_work, _show_metrics}:
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
    style = settings.log_format(os.environ)
    return style == "json" or (options.run is _serve and logs.is_json(style, sys.stderr))


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"{PROGRAM}: {text}", file=sys.stderr)


# Each command imports what it alone needs: `serve` must start quickly, and without gRPC.


def _serve(configured: Settings, options: argparse.Namespace) -> None:
    try:
        traces = trace_export.read(os.environ)
    except CannotTrace as problem:
        _log.warning("no traces", reason=str(problem))
        traces = None
    if options.no_gateway:
        from peermentor_server.rpc import worker

        worker.serve_grpc(configured, traces=traces)
    else:
        from peermentor_server.supervise import supervisor
        from peermentor_server.supervise.notify import Manager

        supervisor.serve(
            configured,
            on_ready=lambda: _say(_welcome(configured)),
            manager=Manager.taken_from(os.environ),
            traces=traces,
        )


def _say(text: str) -> None:
    # Nobody may be there to read it, now or ever; that is no reason not to serve.
    if (output := output_of(sys.stdout)) is not None:
        output.write(f"{text}\n")


def _tell(result: str) -> None:
    # What was done is done, and the exit status says so.
    with contextlib.suppress(OSError):
        print(result)


def _work(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.rpc import worker
    from peermentor_server.telemetry import metric_files

    metric_files.take_slot(options.metrics)
    # Whoever means `serve` may reach all that bears its name.
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    logs.name_worker(options.number)
    traces: TraceExport | None = None
    # `serve` has told if it cannot be.
    with contextlib.suppress(CannotTrace):
        traces = trace_export.read(os.environ)
    worker.serve_grpc(
        configured,
        socket=options.socket,
        pulse_fd=options.pulse_fd,
        file_identity=options.database_file,
        counts_for_all=options.number == 1,
        traces=traces,
    )


def _show_metrics(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.telemetry import metric_files, metrics_page

    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if (address := configured.metrics_address) is not None:
        metrics_page.start(address, metric_files.Files(options.directory))
    signal.pause()


def _check(configured: Settings, options: argparse.Namespace) -> int:
    from peermentor_server.cli import doctor

    findings = doctor.check(configured, os.environ)
    if options.json:
        _tell(doctor.as_json(findings))
        return SUCCESS if doctor.is_well(findings) else FAILURE
    if not doctor.is_well(findings):
        raise doctor.Unwell(f"not everything is well\n{doctor.as_text(findings)}")
    _tell(doctor.as_text(findings))
    return SUCCESS


def _show_config(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import effective

    found = effective.all_of(configured, os.environ)
    _tell(effective.as_json(found) if options.json else effective.as_text(found))


def _tell_of_settings(problems: str) -> None:
    from peermentor_server.cli import doctor

    _tell(doctor.as_json([doctor.Finding("settings", tuple(problems.splitlines()))]))


def _ready(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server.supervise import probe

    if not probe.is_ready(configured):
        raise CommandFailed(f"not ready: nothing serves at {configured.rest_url}, or not well")
    _tell("ready")


def _migrate(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server.cli import commands

    _tell(commands.migrate(configured))


def _demo(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server.cli import commands

    _tell(commands.load_demo(configured))


def _import_mentees(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import commands

    with _progress_bar() as progress:
        told = commands.import_mentees(
            configured,
            options.file,
            encoding=options.encoding,
            org_id=options.org,
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
    from peermentor_server.cli import commands

    _tell(
        commands.forget_mentee(
            configured, options.mentee_id, options.org, with_assignments=options.with_assignments
        )
    )


def _create_key(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import keys

    if options.all_orgs == bool(options.org):
        raise CommandFailed("say for whom the key is: either --org ID or --all-orgs")
    made = keys.create(
        configured,
        permission=options.permission,
        organizations=options.org,
        lifetime=options.expires,
        note=options.note,
    )
    try:
        print(made, flush=True)
    except OSError as error:
        raise CommandFailed(
            f"nobody sees the key that was made ({error.strerror}); revoke it: `keys list` has it"
        ) from None


def _list_keys(configured: Settings, _options: argparse.Namespace) -> None:
    from peermentor_server.cli import keys

    _tell(keys.list_all(configured))


def _revoke_key(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import keys

    _tell(keys.revoke(configured, options.key))


def _backup(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import commands

    _tell(commands.back_up(configured, options.file))


def _export(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import transfer

    with _progress_bar() as progress:
        told = transfer.write(
            configured,
            options.file,
            organizations=options.org,
            overwrite=options.overwrite,
            progress=progress,
        )
    _tell(told)


def _import(configured: Settings, options: argparse.Namespace) -> None:
    from peermentor_server.cli import transfer

    with _progress_bar() as progress:
        told = transfer.read(configured, options.file, organizations=options.org, progress=progress)
    _tell(told)


def _welcome(configured: Settings) -> str:
    rest = f"{configured.rest_url}/api/v1"
    # What is pasted must be JSON, whatever the terminal makes of other letters.
    sample = json.dumps(SAMPLE, ensure_ascii=sys.stdout.encoding.lower() != "utf-8")
    key, tls, needs = "", "", ""
    if configured.access == "required":
        key = ' -H "Authorization: Bearer $PEERMENTOR_TOKEN"'
        needs = f"\nCalls need a key; this makes one: {PROGRAM} keys create --help\n"
    if configured.tls_certificate:
        tls = " by TLS"
        needs += "\nIf the system does not trust the certificate, curl needs --cacert FILE too.\n"
    page = f" ({configured.rest_url}/docs in a browser)" if configured.docs_page == "on" else ""
    return f"""
peermentor is running. Ctrl-C stops it.

  REST   {configured.rest_url}{page}
  gRPC   {configured.grpc_address.to_connect}{tls}
{needs}
Sample data, for the tour in README.md, from another terminal with the same settings:

  {PROGRAM} demo    (or: make demo)

One assignment, before or after that, and the list:

  curl -X POST {rest}/assignments{key} -H 'Content-Type: application/json' -d '{sample}'

  curl {rest}/assignments{key}
"""


_COMMANDS = {
    "serve": _serve,
    "worker": _work,
    "metrics": _show_metrics,
    "check": _check,
    "config": _show_config,
    "ready": _ready,
    "migrate": _migrate,
    "demo": _demo,
    "import-mentees": _import_mentees,
    "forget-mentee": _forget_mentee,
    "backup": _backup,
    "export": _export,
    "import": _import,
    "keys create": _create_key,
    "keys list": _list_keys,
    "keys revoke": _revoke_key,
}
