"""What is counted for the metrics: of each organisation, and of no more than a few."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert

from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.rpc import counts
from peermentor_server.rpc.counts import Counts
from peermentor_server.settings import Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments as table
from peermentor_server.storage.tables import mentees
from peermentor_server.telemetry import metrics
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import new_assignment

ON = Settings(metrics_counts="on")


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what this process has counted so far out of it."""
    monkeypatch.setattr(metrics, "current", metrics.Metrics())


def shown(name: str) -> Mapping[tuple[str, ...], float]:
    """Return the values of a metric, by its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.current.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def add(connection: Connection, organization: str, count: int = 1, *, silent_days: int = 0) -> None:
    """Store assignments of an organisation, with a last contact so many days ago."""
    for number in range(count):
        mentee = {"mentee_id": f"user_{number}_{silent_days}", "org_id": organization}
        connection.execute(insert(mentees).values(**mentee, mentee_name=""))
        others = {"peer_mentor_id": "a", "coordinator_id": "b", "status": "active"}
        contact = CONTRACT_DAY - timedelta(days=silent_days)
        times = {"last_contact_date": contact, "created_at": contact, "updated_at": contact}
        row = {**mentee, **others, **times, "start_date": contact.date(), "recent_writes": ""}
        connection.execute(insert(table).values(row))


def test_open_and_overdue_assignments_of_each_organization(
    database: Database, clock: SettableClock
) -> None:
    with database.write() as connection:
        add(connection, "org_1", 3)
        add(connection, "org_1", 2, silent_days=20)
        add(connection, "org_2")
    counting = Counts(database, ON, clock)
    counting.take()
    others = {(counts.OTHERS, "open"): 0, (counts.OTHERS, "overdue"): 0}
    of_second = {("org_2", "open"): 1, ("org_2", "overdue"): 0}
    assert shown("peermentor_assignments") == {
        ("org_1", "open"): 5,
        ("org_1", "overdue"): 2,
        **of_second,
        **others,
    }
    # Who has none left is told as having none.
    with database.write() as connection:
        connection.execute(table.update().where(table.c.org_id == "org_1").values(status="paused"))
        connection.execute(table.delete().where(table.c.org_id == "org_2"))
    counting.take()
    assert shown("peermentor_assignments") == {
        ("org_1", "open"): 5,
        ("org_1", "overdue"): 0,
        **dict.fromkeys(of_second, 0),
        **others,
    }


def test_more_organizations_than_there_are_labels(
    database: Database, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "MAX_ORGANIZATIONS", 2)
    with database.write() as connection:
        for number in (1, 2, 3, 4):
            add(connection, f"org_{number}", number)
    counting = Counts(database, ON, clock)
    counting.take()
    found = shown("peermentor_assignments")
    opened = {name: value for (name, state), value in found.items() if state == "open"}
    assert opened == {"org_4": 4, "org_3": 3, counts.OTHERS: 3}
    # Another one that grows gets no label: there would be ever more of them.
    with database.write() as connection:
        add(connection, "org_1", 9, silent_days=20)
    counting.take()
    assert shown("peermentor_assignments")[counts.OTHERS, "overdue"] == 9
    assert shown("peermentor_assignments").keys() == found.keys()


def test_keys_of_creates_that_are_held(
    database: Database, clock: SettableClock, assignments: AssignmentServiceStub
) -> None:
    for number in (1, 2):
        new_assignment(assignments, request_id=f"key-{number}")
    Counts(database, ON, clock).take()
    assert shown("peermentor_idempotency_keys") == {("CreateAssignment",): 2}


def test_rows_are_only_counted_where_that_is_wanted(
    database: Database, clock: SettableClock, assignments: AssignmentServiceStub
) -> None:
    new_assignment(assignments, request_id="key")
    Counts(database, Settings(), clock).take()
    assert shown("peermentor_assignments") == {}
    assert shown("peermentor_idempotency_keys") == {}
    assert shown("peermentor_database_standbys") == {(): 0}


def test_what_was_counted_last_stands_while_the_database_is_away(
    database: Database, clock: SettableClock
) -> None:
    with database.write() as connection:
        add(connection, "org_1", 3)
    counting = Counts(database, ON, clock)
    counting.take()
    counting._database = Database("postgresql://127.0.0.1:1/none")
    counting.take()
    assert shown("peermentor_assignments")["org_1", "open"] == 3
