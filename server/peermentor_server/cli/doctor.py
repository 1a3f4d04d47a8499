"""`check`: looks at everything that `serve` needs, and changes nothing."""

import asyncio
import json
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peermentor_server import certificates, trace_export
from peermentor_server.access import subjects
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import clock
from peermentor_server.rules.errors import DomainError, diagnosis
from peermentor_server.settings import Settings
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.opening import unknown_schema
from peermentor_server.supervise import gateway, scratch
from peermentor_server.trace_export import CannotTrace, TraceExport

_GATEWAY_TIMEOUT_S = 30
_NEWER = "its schema is newer than this program, and for this program too"
_POOLED = (
    "behind a pooler, whose pool_mode must be transaction or session; nothing is prepared, and "
    "time-outs are set in each transaction"
)


class Unwell(CommandFailed):
    """What is wrong, and what is well, a line each."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part."""

    part: str
    problems: tuple[str, ...] = ()
    note: str = ""
    """What is worth knowing of a part that is well."""


def check(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """Look at every part, and at what the environment says of traces."""
    traces, told = _traces(environment)
    return [
        # Whoever comes here has settings that can be read.
        Finding("settings"),
        _database(settings),
        Finding("gateway", tuple(_gateway_problems(settings, traces))),
        *_certificate(settings),
        *_tokens(settings),
        *_subjects(settings),
        *told,
    ]


def is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether there are no problems."""
    return not any(finding.problems for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """Return a line for each part that is well, and one for each problem of the others."""
    return "\n".join(line for finding in findings for line in _lines(finding))


def as_json(findings: Sequence[Finding]) -> str:
    """Return the same as a JSON object, for programs."""
    parts = {
        finding.part: {
            "ok": not finding.problems,
            "problems": finding.problems,
            "note": finding.note or None,
        }
        for finding in findings
    }
    return json.dumps({"ok": is_well(findings), "parts": parts}, indent=2)


def _lines(finding: Finding) -> list[str]:
    note = f": {finding.note}" if finding.note else ""
    wrong = [f"wrong  {finding.part}: {problem}" for problem in finding.problems]
    return wrong or [f"ok     {finding.part}{note}"]


def _database(settings: Settings) -> Finding:
    database = Database(settings.database_url)
    if problem := database.obstacle():
        return Finding("database", (problem,))
    file = database.file
    # To connect would make it, or fill it.
    if file is not None and not file.exists():
        return Finding(
            "database", note=f"{database.location} does not exist yet; serve will create it"
        )
    if file is not None and file.stat().st_size == 0:
        return Finding(
            "database", note=f"{database.location} is empty; serve will create its tables"
        )
    try:
        return _look_into(database)
    except DomainError as error:
        return Finding("database", (f"cannot use {database.location}: {diagnosis(error)}",))
    finally:
        database.close()


def _look_into(database: Database) -> Finding:
    damage = tuple(database.damage())
    if database.file is not None:
        damage += tuple(_open_to_all(database.file))
    state = schema.state(database)
    if state is schema.State.UNKNOWN:
        return Finding("database", (*damage, unknown_schema(database)))
    if state is schema.State.BEHIND and database.file is None:
        problem = (
            f"the schema of {database.location} is out of date; run: peermentor-server migrate"
        )
        return Finding("database", (problem,))
    if state in {schema.State.CURRENT, schema.State.NEWER}:
        database.ping()
    notes = [
        *([_NEWER] if state is schema.State.NEWER else []),
        *([_POOLED] if database.is_pooled() else []),
    ]
    return Finding("database", damage, "; ".join(notes))


def _certificate(settings: Settings) -> Iterator[Finding]:
    """Look until when the certificate is valid, and who can read its key."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    try:
        pair = certificates.read(settings.tls_certificate, settings.tls_key)
    except CommandFailed:
        # That is what the gateway has found too.
        return
    end = certificates.end(pair)
    problems = list(_open_to_all(settings.tls_key))
    if end <= clock.system_clock():
        problems.append(f"{settings.tls_certificate} was valid until {end:%Y-%m-%d} only")
    yield Finding("certificate", tuple(problems), f"valid until {end:%Y-%m-%d}")


def _open_to_all(file: Path) -> Iterator[str]:
    if file.stat().st_mode & stat.S_IROTH:
        yield f"all users of this machine can read {file}; run: chmod o= {shlex.quote(str(file))}"


def _tokens(settings: Settings) -> Iterator[Finding]:
    """Look for the keys of tokens, if any are taken."""
    if not settings.jwt_keys:
        return
    from peermentor_server.access.key_sets import KeySet

    key_set = KeySet(settings.jwt_keys, settings.jwt_algorithms)
    problem = asyncio.run(key_set.problem())
    key_set.close()
    if problem:
        yield Finding("tokens", (f"cannot read {settings.jwt_keys}: {problem}",))
    else:
        yield Finding("tokens", note=f"known keys: {len(key_set.keys)}")


def _subjects(settings: Settings) -> Iterator[Finding]:
    """Look for whom client certificates stand, if any are taken."""
    if settings.tls_client_subjects is None:
        return
    try:
        known = subjects.read(settings.tls_client_subjects)
    except CommandFailed as problem:
        yield Finding("certificates", (str(problem),))
    else:
        yield Finding("certificates", note=f"known subjects: {len(known)}")


def _traces(environment: Mapping[str, str]) -> tuple[TraceExport | None, list[Finding]]:
    """Return where traces are sent, and what there is to say of that if they are wanted."""
    try:
        traces = trace_export.read(environment)
    except CannotTrace as problem:
        return None, [Finding("traces", (str(problem),))]
    return traces, [Finding("traces", note=f"sent to {traces.url}")] if traces else []


def _gateway_problems(settings: Settings, traces: TraceExport | None) -> Iterator[str]:
    try:
        with scratch.directory() as directory:
            workers = [settings.grpc_address] * settings.worker_count
            config = gateway.write_configuration(directory, settings, workers, traces)
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
