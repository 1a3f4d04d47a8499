"""The commands that move data from one database to another. They return what to print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from peermentor_server.cli import export_lines
from peermentor_server.cli.data_import import DataImport
from peermentor_server.cli.export_lines import Header
from peermentor_server.cli.input_files import InvalidFile, opened
from peermentor_server.cli.mentee_import import Progress
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import clock
from peermentor_server.rules.principals import EVERYWHERE, Wall
from peermentor_server.settings import Settings
from peermentor_server.storage import last_keys, opening, seen_keys, transfer
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.whole_files import whole_file


def write(
    configured: Settings,
    file: Path,
    *,
    organizations: Sequence[str] | None,
    overwrite: bool,
    progress: Progress,
) -> str:
    """Export what organisations own into a new file, whoever writes meanwhile."""
    if overwrite and file.exists() and not export_lines.is_export(file):
        # It may be the database.
        raise CommandFailed(f"{file} is no export, and is left as it is; name a new file")
    database = opening.open_database(configured)
    opening.require_existing(database, configured, "nothing to export")
    opening.require_schema(database)
    wall = _wall(organizations)

    def export() -> Mapping[str, int]:
        with whole_file(file, replace=overwrite) as part, part.open("wb") as lines:
            return _write(database, wall, lines, progress)

    try:
        return f"exported {database.location} to {file}: {_as_text(opening.use(database, export))}"
    except FileExistsError:
        raise CommandFailed(
            f"{file} exists already; name a new file, or replace it by --overwrite"
        ) from None
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}") from None


def _wall(organizations: Sequence[str] | None) -> Wall:
    return Wall(frozenset(organizations)) if organizations else EVERYWHERE


def _write(
    database: Database, wall: Wall, lines: BinaryIO, progress: Progress
) -> Mapping[str, int]:
    with database.snapshot() as connection:
        counts = transfer.count(connection, wall)
        if unknown := transfer.without_rows(connection, wall):
            raise CommandFailed(f"{database.location} has nothing of {', '.join(unknown)}")
        header = Header(
            exported_at=clock.stamp(clock.system_clock),
            organizations=None if wall.organizations is None else sorted(wall.organizations),
            rows=counts,
            last_keys=last_keys.read(connection),
        )
        lines.write(export_lines.write_header(header))
        total = sum(counts.values())
        for number, (kind, values) in enumerate(transfer.rows(connection, wall), start=1):
            lines.write(export_lines.write(kind, values))
            progress("exporting", number / total)
    return counts


def read(
    configured: Settings,
    file: Path | None,
    *,
    organizations: Sequence[str] | None,
    progress: Progress,
) -> str:
    """Import such a file: nothing of it unless all of it can be, and nothing twice."""
    database = opening.open_database(configured)
    try:
        with opened(file) as lines:
            importing = DataImport(database, lines, _wall(organizations), progress)
            new = ", a new database" if opening.is_new(database) else ""
            opening.require_schema(database)
            opening.use(database, importing.check)
            opening.use(database, importing.store)
    except InvalidFile as invalid:
        raise CommandFailed(f"nothing imported\n{invalid}") from None
    except seen_keys.NoRoom as full:
        raise CommandFailed(
            f"nothing imported\ncannot write keys to the temporary directory: {full}; TMPDIR may "
            "name another one"
        ) from None
    known = f"; {importing.known} of these rows were there already" if importing.known else ""
    return f"imported {_as_text(importing.counts)} into {database.location}{new}{known}"


def _as_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {table}" for table, count in counts.items())
