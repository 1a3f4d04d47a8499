"""Callers at the same moment: nobody's change is lost, and nobody is refused.

Each race is run over two engines, as two servers on one database would, many times over.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, func, select, update

from peermentor_server.rules import etags
from peermentor_server.rules.errors import EtagMismatch, InternalFault
from peermentor_server.rules.etags import Precondition
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, schema, templates
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments as assignments_table
from peermentor_server.storage.tables import contacts, mentees
from peermentor_server.storage.tables import templates as templates_table
from peermentor_server.timing import Timing
from support.clock import CONTRACT_DAY
from support.databases import Postgres
from support.factories import STORED_ASSIGNMENT, STORED_TEMPLATE
from support.racing import at_once, errors
from support.waiting import wait_until

ROUNDS = 50
NOW = CONTRACT_DAY

Racers = tuple[Database, Database]


@pytest.fixture
def racers(database: Database) -> Iterator[Racers]:
    """Two engines on one empty database, of either kind."""
    with _two_engines(database.engine.url.render_as_string(hide_password=False)) as racers:
        yield racers


@pytest.fixture
def sqlite_racers(tmp_path: Path) -> Iterator[Racers]:
    """Two engines on one empty SQLite database."""
    with _two_engines(f"sqlite:///{tmp_path}/own.db") as racers:
        schema.migrate(racers[0])
        yield racers


@pytest.fixture
def postgresql_racers(postgres: Postgres) -> Iterator[Racers]:
    """Two engines on one empty PostgreSQL database."""
    with _two_engines(postgres.new_database()) as racers:
        schema.migrate(racers[0])
        yield racers


@contextmanager
def _two_engines(url: str) -> Iterator[Racers]:
    # A slow disk must not decide a race: how long writers wait is tested elsewhere.
    patient = Timing(lock_s=60)
    first, second = Database(url, timing=patient), Database(url, timing=patient)
    yield first, second
    first.close()
    second.close()


def _pair(mentee: str = "user_088", mentor: str = "user_042") -> dict[str, Any]:
    return STORED_ASSIGNMENT | {"mentee_id": mentee, "peer_mentor_id": mentor}


def _create(database: Database, mentee: str = "user_088", name: str | None = None) -> int:
    with database.write() as connection:
        key: int = assignments.add(connection, EVERYWHERE, _pair(mentee), name, NOW).id
        return key


def _change(database: Database, key: int, **changes: Any) -> Any:
    with database.write() as connection:
        return assignments.change(connection, EVERYWHERE, key, changes, NOW)


def _delete(database: Database, key: int) -> bool:
    with database.write() as connection:
        return assignments.remove(connection, EVERYWHERE, key) is not None


def _contact(database: Database, key: int, moment: datetime) -> Any:
    with database.write() as connection:
        return assignments.record_contact(connection, EVERYWHERE, key, Contact(moment, "call"), NOW)


def _get(database: Database, key: int) -> Any:
    with database.read() as connection:
        return assignments.get(connection, EVERYWHERE, key)


def _mentee_names(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.mentee_id: row.mentee_name for row in connection.execute(select(mentees))}


def _count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# --- Changes ---


def test_changes_of_different_fields_of_an_assignment_all_stand(racers: Racers) -> None:
    first, second = racers
    key = _create(first)
    for number in range(ROUNDS):
        contact = NOW + timedelta(seconds=number)
        outcomes = at_once(
            partial(_change, first, key, peer_mentor_id=f"mentor_{number}"),
            partial(_change, second, key, org_id=f"org_{number}"),
            partial(_change, first, key, mentee_name=f"Name {number}"),
            partial(_contact, second, key, contact),
        )
        assert errors(outcomes) == []
        row = _get(first, key)
        assert row.peer_mentor_id == f"mentor_{number}"
        assert row.org_id == f"org_{number}"
        assert row.mentee_name == f"Name {number}"
        assert row.last_contact_date == contact


def test_changes_of_different_fields_of_a_template_both_stand(racers: Racers) -> None:
    first, second = racers
    key = _create_template(first)

    def change(database: Database, **changes: Any) -> Any:
        with database.write() as connection:
            return templates.change(connection, EVERYWHERE, key, changes, NOW)

    for number in range(1, ROUNDS + 1):
        outcomes = at_once(
            partial(change, first, name=f"Name {number}"),
            partial(change, second, duration_minutes=number),
        )
        assert errors(outcomes) == []
        with first.read() as connection:
            row: Any = templates.get(connection, EVERYWHERE, key)
        assert (row.name, row.duration_minutes) == (f"Name {number}", number)


def _create_template(database: Database) -> int:
    values = STORED_TEMPLATE | {"duration_minutes": 1}
    with database.write() as connection:
        key: int = templates.add(connection, EVERYWHERE, values, NOW).id
        return key


def test_counters_lose_nothing(racers: Racers) -> None:
    key = _create_template(racers[0])
    minutes = templates_table.c.duration_minutes

    def count(database: Database) -> None:
        for _ in range(ROUNDS):
            with database.write() as connection:
                one_more = update(templates_table).values(duration_minutes=minutes + 1)
                connection.execute(one_more.where(templates_table.c.id == key))

    assert errors(at_once(*(partial(count, racer) for racer in racers))) == []
    with racers[0].read() as connection:
        assert connection.execute(select(minutes)).scalar_one() == 1 + 2 * ROUNDS


def test_on_sqlite_even_reading_before_writing_loses_nothing(sqlite_racers: Racers) -> None:
    key = _create_template(sqlite_racers[0])

    def count(database: Database) -> None:
        for _ in range(ROUNDS):
            with database.write() as connection:
                row: Any = templates.get(connection, EVERYWHERE, key)
                more = {"duration_minutes": row.duration_minutes + 1}
                templates.change(connection, EVERYWHERE, key, more, NOW)

    assert errors(at_once(*(partial(count, racer) for racer in sqlite_racers))) == []
    with sqlite_racers[0].read() as connection:
        row: Any = templates.get(connection, EVERYWHERE, key)
    assert row.duration_minutes == 1 + 2 * ROUNDS


def test_the_driver_of_sqlite_alone_would_lose_an_update(sqlite_racers: Racers) -> None:
    """The control of the test above."""
    both = _both_read_then_write(sqlite_racers, isolation_level="")
    assert both == [2, 2]


def test_a_deferred_transaction_of_sqlite_would_be_refused(sqlite_racers: Racers) -> None:
    """Another control."""
    with pytest.raises(sqlite.OperationalError, match="database is locked"):
        _both_read_then_write(sqlite_racers, isolation_level=None)


def _both_read_then_write(racers: Racers, *, isolation_level: str | None) -> list[int]:
    """Count as two connections that both read first; return what each has written."""
    _create_template(racers[0])
    written: list[int] = []
    with ExitStack() as stack:
        file = str(racers[0].engine.url.database)
        both = [sqlite.connect(file, isolation_level=isolation_level) for _ in racers]
        for connection in both:
            stack.callback(connection.close)
            if isolation_level is None:
                connection.execute("BEGIN DEFERRED")
            written += connection.execute("SELECT duration_minutes + 1 FROM templates").fetchone()
        for connection, minutes in zip(both, written, strict=True):
            connection.execute("UPDATE templates SET duration_minutes = ?", [minutes])
            connection.execute("COMMIT")
    return written


# --- Contacts ---


def test_contacts_at_the_same_moment_are_both_in_the_history(racers: Racers) -> None:
    first, second = racers
    key = _create(first)
    for number in range(ROUNDS):
        moments = [NOW + timedelta(minutes=2 * number + offset) for offset in (0, 1)]
        outcomes = at_once(
            partial(_contact, first, key, moments[0]),
            partial(_contact, second, key, moments[1]),
        )
        assert errors(outcomes) == []
        assert _get(first, key).last_contact_date in moments
        with first.read() as connection:
            told = select(contacts.c.contact_date).where(contacts.c.contact_date >= moments[0])
            assert sorted(connection.execute(told).scalars()) == moments


def test_no_reminder_is_marked_on_a_pair_that_has_a_contact_at_the_same_moment(
    racers: Racers,
) -> None:
    first, second = racers
    key = _create(first)
    won = set()
    for number in range(ROUNDS):
        known = etags.precondition([etags.render(_get(first, key).state)])

        def remind(known: Precondition = known) -> Any:
            with first.write() as connection:
                changes = {"reminder_sent_at": NOW}
                return assignments.change(connection, EVERYWHERE, key, changes, NOW, expected=known)

        contact = partial(_contact, second, key, NOW + timedelta(minutes=number))
        reminded, contacted = at_once(remind, contact)

        # The contact stands either way, and begins a cycle without a reminder.
        won.add(isinstance(reminded, EtagMismatch))
        assert errors([reminded]) == [] or isinstance(reminded, EtagMismatch)
        assert errors([contacted]) == []
        assert _get(first, key).reminder_sent_at is None
    assert won <= {True, False}


def test_of_two_who_know_the_same_state_one_writes(racers: Racers) -> None:
    first, second = racers
    key = _create(first, name="Bjørn Solberg")

    def change(database: Database, known: Precondition, **changes: Any) -> Any:
        with database.write() as connection:
            return assignments.change(connection, EVERYWHERE, key, changes, NOW, expected=known)

    def delete(database: Database, known: Precondition) -> Any:
        with database.write() as connection:
            return assignments.remove(connection, EVERYWHERE, key, known)

    for number in range(ROUNDS):
        known = etags.precondition([etags.render(_get(first, key).state)])
        outcomes = at_once(
            partial(change, first, known, coordinator_id=f"co-{number}"),
            partial(change, second, known, mentee_name=f"name-{number}"),
        )
        assert [type(each) for each in errors(outcomes)] == [EtagMismatch]
    outcomes = at_once(partial(delete, first, known), partial(delete, second, known))
    assert [type(each) for each in errors(outcomes)] == [EtagMismatch] * 2
    known = etags.precondition([etags.render(_get(first, key).state)])
    outcomes = at_once(partial(delete, first, known), partial(change, second, known, org_id="x"))
    assert len([each for each in outcomes if isinstance(each, EtagMismatch) or each is None]) == 1


def test_a_contact_of_an_assignment_that_is_deleted_stands_or_falls_with_it(
    racers: Racers,
) -> None:
    first, second = racers
    for _ in range(ROUNDS):
        key = _create(first)
        outcomes = at_once(partial(_contact, first, key, NOW), partial(_delete, second, key))
        assert errors(outcomes) == []
        assert outcomes[1] is True
    assert _count(first, contacts) == 0


# --- Mentees and their last assignment ---


def test_a_mentee_may_be_created_twice_at_the_same_moment(racers: Racers) -> None:
    first, second = racers
    for number in range(ROUNDS):
        outcomes = at_once(
            partial(_create, first, f"user_{number}", "Bjørn"),
            partial(_create, second, f"user_{number}", None),
        )
        assert errors(outcomes) == []
        assert outcomes[0] != outcomes[1]
    names = _mentee_names(first)
    assert names == {f"user_{number}": "Bjørn" for number in range(ROUNDS)}
    assert _count(first, assignments_table) == 2 * ROUNDS


def test_a_new_assignment_and_the_end_of_the_last_one_never_meet_badly(racers: Racers) -> None:
    first, second = racers
    for number in range(ROUNDS):
        last = _create(first, name=f"Name {number}")
        outcomes = at_once(
            partial(_delete, first, last),
            partial(_create, second),
        )
        assert errors(outcomes) == []
        deleted, created = outcomes
        assert deleted is True
        # Deleted first: the name has gone. Created first: it has stayed.
        assert _get(first, created).mentee_name in {"", f"Name {number}"}
        assert _delete(first, created)
        assert _mentee_names(first) == {}


def test_of_two_deletes_one_wins(racers: Racers) -> None:
    first, second = racers
    for _ in range(ROUNDS):
        key = _create(first)
        outcomes = at_once(partial(_delete, first, key), partial(_delete, second, key))
        assert sorted(outcomes) == [False, True]
        assert _mentee_names(first) == {}


def test_the_name_goes_when_the_last_two_assignments_are_deleted_at_once(racers: Racers) -> None:
    first, second = racers
    for _ in range(ROUNDS):
        keys = [_create(first, name="Bjørn Solberg"), _create(second)]
        outcomes = at_once(partial(_delete, first, keys[0]), partial(_delete, second, keys[1]))
        assert outcomes == [True, True]
        assert _mentee_names(first) == {}


def test_a_delete_waits_for_an_assignment_that_is_being_created(racers: Racers) -> None:
    first, second = racers
    last = _create(first, name="Bjørn Solberg")
    outcomes = _delete_while_creating(first, second, last)
    assert outcomes == [True]
    assert _mentee_names(first) == {"user_088": "Bjørn Solberg"}


def test_a_delete_that_does_not_lock_the_mentee_is_refused(
    postgresql_racers: Racers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the tests above: the lock is what holds creates and deletes apart."""

    monkeypatch.setattr(assignments, "_lock_mentees", lambda *_: ["org_03"])
    first, second = postgresql_racers
    [outcome] = _delete_while_creating(first, second, _create(first))
    assert isinstance(outcome, InternalFault)
    assert "ForeignKeyViolation" in outcome.diagnosis


def _delete_while_creating(first: Database, second: Database, key: int) -> list[Any]:
    """Begin to create a second assignment, begin to delete the first, then end both."""
    with first.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", None)
        with _meanwhile(connection, partial(_delete, second, key)) as outcomes:
            assignments.add(connection, EVERYWHERE, _pair(), None, NOW)
            connection.commit()
    return outcomes


@contextmanager
def _meanwhile(connection: Connection, action: Callable[[], Any]) -> Iterator[list[Any]]:
    """Begin an action and let it run into a lock of ours; the block has to let it go on."""
    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.extend(at_once(action)))
    thread.start()
    if connection.dialect.name == "postgresql":
        wait_until(partial(_somebody_waits, connection), 5)
    try:
        yield outcomes
    finally:
        thread.join()


def _somebody_waits(connection: Connection) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(connection.exec_driver_sql(waiting).scalar_one())


def test_a_rename_holds_nothing_while_it_waits_for_a_delete(
    racers: Racers,
) -> None:
    """Else each would wait for the other: all callers lock the mentee before assignments."""
    first, second = racers
    key = _create(first, name="Bjørn")
    rename = partial(_change, second, key, mentee_name="Solberg", org_id="org_04")
    with first.write() as connection:
        assignments._lock_mentee_of(connection, key)
        with _meanwhile(connection, rename) as outcomes:
            assert assignments.remove(connection, EVERYWHERE, key)
            connection.commit()
    assert outcomes == [None]


def test_no_order_of_calls_for_one_mentee_leads_to_a_deadlock(racers: Racers) -> None:
    keys = [_create(racers[0]) for _ in range(3)]

    def call(database: Database, chance: random.Random) -> None:
        for _ in range(ROUNDS // 2):
            key = chance.choice(keys)
            calls: list[Callable[[], Any]] = [
                lambda: keys.append(_create(database, name="Bjørn")),
                lambda: keys.append(_create(database)),
                partial(_change, database, key, mentee_name="Solberg", org_id="org_04"),
                partial(_change, database, key, org_id="org_03"),
                partial(_change, database, key, status="paused"),
                partial(_contact, database, key, NOW),
                partial(_delete, database, key),
                partial(_delete, database, key),
            ]
            chance.choice(calls)()

    callers = (partial(call, racers[seed % 2], random.Random(seed)) for seed in range(6))
    assert errors(at_once(*callers)) == []
    left = _count(racers[0], assignments_table)
    assert set(_mentee_names(racers[0])) == ({"user_088"} if left else set())


# --- Keys ---


def test_keys_are_given_out_once(racers: Racers) -> None:
    def create(database: Database) -> list[int]:
        return [_create(database, mentee=f"user_{number}") for number in range(ROUNDS // 2)]

    outcomes = at_once(*(partial(create, racer) for racer in racers * 2))
    assert errors(outcomes) == []
    keys = [key for outcome in outcomes for key in outcome]
    assert len(set(keys)) == len(keys) == 4 * (ROUNDS // 2)


def test_the_key_of_a_deleted_row_is_not_given_out_again(racers: Racers) -> None:
    first, second = racers
    key = _create(first)
    _delete(second, key)
    assert _create(first) == key + 1
