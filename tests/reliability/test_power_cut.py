"""When the power is cut, SQLite holds every write that was acknowledged.

Of what SQLite wrote, the disk after the cut holds what was synced before. Of the rest it
holds nothing, or whichever sectors it had got to.
"""

import pickle
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text

from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees
from support.disks import Event, after_power_cut
from support.torture import either, measured

THREADS = 4
ROUNDS = int(either(30, 500))
CUTS = int(either(20, 500))
TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(either(120, 3600))


@dataclass
class Damage:
    """What cuts did, all together."""

    acknowledged: int = 0
    lost: int = 0
    returned: int = 0
    """Names that were there again after they had been erased."""


def _record(directory: Path, synchronous: str = "as it is") -> list[Event]:
    arguments = [str(directory / "own.db"), str(directory / "record"), synchronous]
    subprocess.run(
        [sys.executable, "-m", "support.recorded_writers", *arguments, str(THREADS), str(ROUNDS)],
        cwd=TESTS,
        check=True,
        timeout=either(100, 1800),
    )
    events: list[Event] = pickle.loads((directory / "record").read_bytes())  # noqa: S301
    return events


def _cut_often(events: list[Event], directory: Path, survives: float, seed: int) -> Damage:
    chance = random.Random(seed)
    damage = Damage()
    for number in range(CUTS):
        before = events[: chance.randrange(len(events))]
        place = directory / f"cut_{survives}_{number}"
        place.mkdir()
        for name, content in after_power_cut(before, chance, survives).items():
            (place / name).write_bytes(content)
        _assess(before, _names_in(place / "own.db"), damage)
        shutil.rmtree(place)
    return damage


def _names_in(file: Path) -> set[str]:
    database = Database(f"sqlite:///{file}")
    schema.migrate(database)
    with database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        found = set(connection.execute(select(mentees.c.mentee_id)).scalars())
    database.close()
    return found


def _assess(before: list[Event], found: set[str], damage: Damage) -> None:
    noted = {
        what: {event.name for event in before if event.what == what}
        for what in ("added", "erasing", "erased")
    }
    # What was being erased at the cut may be there or not.
    must_be_there = noted["added"] - noted["erasing"]
    damage.acknowledged += len(must_be_there) + len(noted["erased"])
    damage.lost += len(must_be_there - found)
    damage.returned += len(noted["erased"] & found)


def test_a_sqlite_that_does_not_wait_for_the_disk_loses_writes(tmp_path: Path) -> None:
    """The control: these cuts hurt."""
    events = _record(tmp_path, "NORMAL")
    damage = _cut_often(events, tmp_path, 0, seed=1)
    measured(f"{CUTS} cuts, not waiting for the disk: {damage}")
    assert damage.lost > 0


@pytest.mark.parametrize("survives", [0, 0.5])
def test_no_acknowledged_write_is_lost(tmp_path: Path, survives: float) -> None:
    events = _record(tmp_path)
    seed = random.randrange(1000)
    damage = _cut_often(events, tmp_path, survives, seed)
    measured(f"{CUTS} cuts: {damage}")
    assert damage.acknowledged > CUTS
    assert (damage.lost, damage.returned) == (0, 0), f"with seed {seed}"
