"""A disk that is full, or broken: reads go on, writes are refused, and resume; nothing is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from sqlalchemy import event, text

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.disks import (
    SQLITE_FULL,
    SQLITE_IOERR_FSYNC,
    SQLITE_IOERR_WRITE,
    FailingDisk,
    passing_by,
)
from support.factories import NEW_ASSIGNMENT, refused
from support.torture import either

WRITES = int(either(30, 1000))
LONG_ASSIGNMENT = CreateAssignmentRequest(**NEW_ASSIGNMENT, mentee_name="Nobody " * 25)


@dataclass
class Stand:
    """A service on a disk that fails when told to."""

    disk: FailingDisk
    database: Database
    assignments: AssignmentServiceStub
    file: Path

    def create(self) -> str:
        return self.assignments.CreateAssignment(LONG_ASSIGNMENT).assignment_id

    def refused_creates(self) -> int:
        """Try to create; count the attempts that were refused so that a caller may repeat."""
        for _ in range(WRITES):
            call = refused(self.assignments.CreateAssignment, LONG_ASSIGNMENT)
            assert call.code is grpc.StatusCode.UNAVAILABLE
            assert call.reason == "DATABASE_UNAVAILABLE"
        return WRITES

    def listed(self) -> list[str]:
        listing = self.assignments.ListAssignments(ListAssignmentsRequest(limit=100))
        return [each.assignment_id for each in listing.data]


@pytest.fixture(params=["full", "broken", "never synced"])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    """A service on a disk of each kind."""
    disk = {
        "full": FailingDisk(write_code=SQLITE_FULL),
        "broken": FailingDisk(write_code=SQLITE_IOERR_WRITE),
        "never synced": FailingDisk(sync_code=SQLITE_IOERR_FSYNC),
    }[request.param]
    with passing_by(disk, tmp_path):
        database = Database(f"sqlite:///{tmp_path}/own.db")
        schema.migrate(database)
        with own_server(database) as channel:
            yield Stand(disk, database, AssignmentServiceStub(channel), tmp_path / "own.db")
        database.close()


def test_writes_are_refused_and_resume_and_reads_go_on(stand: Stand) -> None:
    before = [stand.create() for _ in range(3)]
    stand.disk.fails = True
    assert stand.refused_creates() == WRITES
    assert stand.listed() == before
    stand.assignments.GetAssignment(GetAssignmentRequest(assignment_id=before[0]))
    stand.database.ping()
    stand.disk.fails = False
    after = [stand.create() for _ in range(3)]
    assert stand.listed() == before + after
    assert _after_a_restart(stand) >= set(before + after)


def _after_a_restart(stand: Stand) -> set[str]:
    """Return what is found in the files, without anything that the service holds in memory."""
    copy = stand.file.with_name("copy.db")
    for end in ("", "-wal"):
        copy.with_name(copy.name + end).write_bytes(
            stand.file.with_name(stand.file.name + end).read_bytes()
        )
    database = Database(f"sqlite:///{copy}")
    with database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        keys = connection.execute(text("SELECT id FROM assignments")).scalars().all()
    database.close()
    return {f"asgn_{key:03}" for key in keys}


def test_a_delete_whose_log_cannot_be_emptied_is_made_all_the_same(stand: Stand) -> None:
    @event.listens_for(stand.database.engine, "before_cursor_execute")
    def fail_from_then_on(_c: object, _cursor: object, statement: str, *_: object) -> None:
        stand.disk.fails = "wal_checkpoint" in statement

    created = stand.create()
    stand.assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=created))
    assert stand.disk.fails
    assert stand.listed() == []


def test_a_disk_that_does_not_fail_refuses_nothing(stand: Stand) -> None:
    """The control: it is the failing that is refused."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        stand.refused_creates()
