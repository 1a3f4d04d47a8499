"""A SQLite file that cannot be read or written: who may not what is said, and by every command."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from peermentor_server.cli import commands, doctor
from peermentor_server.failures import CommandFailed
from peermentor_server.rpc import worker
from peermentor_server.rules.errors import DatabaseUnavailable, diagnosis
from peermentor_server.settings import Settings
from peermentor_server.storage.engine.database import Database
from support.databases import migrated
from support.users import open_directory, unprivileged

# Whoever runs the tests, as the messages name them.
with unprivileged():
    ME = "nobody" if os.geteuid() == 65534 else Path.home().owner()


@pytest.fixture
def file() -> Iterator[Path]:
    """A database of another user's, or of one's own where the tests are not root's."""
    with open_directory() as directory:
        file = directory / "own.db"
        with migrated(f"sqlite:///{file}"):
            pass
        file.chmod(0o666)
        yield file
        directory.chmod(0o777)


def _read_only(file: Path) -> str:
    file.chmod(0o444)
    return f"{file} cannot be written by {ME}: it is -r--r--r-- and belongs to "


def _secret(file: Path) -> str:
    file.chmod(0o000)
    return f"{file} cannot be read by {ME}: it is ---------- and belongs to "


def _in_read_only_directory(file: Path) -> str:
    file.parent.chmod(0o555)
    return f"no files can be made in {file.parent}, as SQLite has to by {ME}: it is dr-xr-xr-x and "


def _in_secret_directory(file: Path) -> str:
    file.parent.chmod(0o000)
    return f"{file} cannot be reached by {ME}"


def _with_secret_log(file: Path) -> str:
    log = file.with_name("own.db-wal")
    log.touch()
    log.chmod(0o000)
    return f"{log} cannot be read by {ME}"


def _is_directory(file: Path) -> str:
    file.unlink()
    file.mkdir()
    return f"{file} is no file"


CHANGES = [
    _read_only,
    _secret,
    _in_read_only_directory,
    _in_secret_directory,
    _with_secret_log,
    _is_directory,
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_command_says_what_cannot_be_done_and_why(
    change: Callable[[Path], str], file: Path
) -> None:
    says = change(file)
    settings = Settings(database_url=f"sqlite:///{file}")
    back_up = partial(commands.back_up, file=file.parents[1] / "peermentor-backup-never-made.db")
    with unprivileged():
        assert doctor._database(settings).problems[0].startswith(says)
        for command in (commands.migrate, commands.load_demo, worker.serve_grpc, back_up):
            with pytest.raises(CommandFailed) as failed:
                command(settings)
            assert f"cannot use sqlite:///{file}: {says}" in str(failed.value)


@pytest.mark.parametrize("change", [_in_read_only_directory, _in_secret_directory])
def test_a_file_that_is_not_there_yet_and_cannot_be_made(
    change: Callable[[Path], str], file: Path
) -> None:
    file.unlink()
    says = change(file)
    with unprivileged():
        found = doctor._database(Settings(database_url=f"sqlite:///{file}"))
    assert found.problems[0].startswith(says)


@pytest.mark.parametrize("change", CHANGES[:4])
def test_what_becomes_unwritable_while_it_is_used_is_not_well(
    change: Callable[[Path], str], file: Path
) -> None:
    with unprivileged():
        database = Database(f"sqlite:///{file}")
        database.ping()
    says = change(file)
    with unprivileged(), pytest.raises(DatabaseUnavailable) as raised:
        database.ping()
    # Of a directory that cannot be entered no file is to be seen.
    assert diagnosis(raised.value).startswith((says, f"{file} was replaced or removed"))
    file.parent.chmod(0o777)
    file.chmod(0o666)
    with unprivileged():
        database.ping()
        database.close()
