"""A move of a great many rows, and moves that are killed on the way."""

import time
from pathlib import Path
from subprocess import DEVNULL

import pytest

from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import transfer
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY
from support.crowds import fill as fill_with_crowd
from support.databases import empty, migrated
from support.torture import LONG, either, measured
from support.transfers import export, fill, importing, moved, start_import


@pytest.mark.timeout(900)
def test_many_rows_are_the_same_after_a_move(
    own: Database, other: Database, tmp_path: Path
) -> None:
    """A hundred thousand assignments take longer than a test of the suite may."""
    if LONG:
        with own.write() as connection:
            fill_with_crowd(connection, CONTRACT_DAY)
    else:
        fill(own, 6_000)
    file = tmp_path / "all.jsonl"
    started = time.monotonic()
    assert export(own, file).returncode == 0
    exported = time.monotonic()
    assert importing(other, file).returncode == 0
    measured(
        f"{own.dialect} exported {exported - started:.0f} s, {other.dialect} imported "
        f"{time.monotonic() - exported:.0f} s"
    )
    assert moved(other) == moved(own)


@pytest.mark.timeout(900)
def test_an_import_that_is_killed_goes_on(own: Database, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    with migrated(f"sqlite:///{tmp_path}/source.db") as source:
        fill(source, 2_000)
        export(source, file)
        wanted = moved(source)
        rows = _count(source)

    partly = 0
    tries = int(either(2, 60))
    for number in range(tries):
        empty(own)
        process = start_import(own, file, stdout=DEVNULL)
        while process.poll() is None and _count(own) <= rows * number / tries:
            time.sleep(0.002)
        process.kill()
        process.wait()
        partly += 0 < _count(own) < rows
        # No key that is in the file may be given again.
        assert moved(own)["last"] == wanted["last"]
        result = importing(own, file)
        assert (result.returncode, result.stderr) == (0, "")
        assert moved(own) == wanted
    assert partly


def _count(database: Database) -> int:
    with database.snapshot() as connection:
        return sum(transfer.count(connection, EVERYWHERE).values())
