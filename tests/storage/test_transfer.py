"""Rows on their way from one database to another: whose they are, and which keys are taken."""

import resource
import signal
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from peermentor_server.rules.errors import DatabaseUnavailable, OrganizationForbidden, diagnosis
from peermentor_server.rules.principals import EVERYWHERE, Wall
from peermentor_server.storage import last_keys, templates, transfer
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.seen_keys import NoRoom, seen_keys
from peermentor_server.storage.transfer import CONTACTS, KINDS, Differs, Kind, State, Values
from support.clock import CONTRACT_DAY
from support.databases import empty, url_of
from support.factories import STORED_TEMPLATE, contents
from support.transfers import fill, moved

ORG_1 = Wall(frozenset({"org_1"}))


def _rows(database: Database, wall: Wall = EVERYWHERE) -> list[tuple[Kind, Values]]:
    with database.snapshot() as connection:
        return list(transfer.rows(connection, wall))


def _last(database: Database) -> dict[str, int]:
    with database.snapshot() as connection:
        return last_keys.read(connection)


# --- Keys ---


def test_the_last_keys_are_those_that_were_given_out(own: Database) -> None:
    assert _last(own) == {"assignments": 0, "contacts": 0, "templates": 0}
    fill(own)
    assert _last(own) == {"assignments": 40, "contacts": 40, "templates": 11}


def test_keys_go_on_after_those_that_are_taken_and_never_go_back(own: Database) -> None:
    fill(own)
    for taken in (0, 7, 2_000_000_000_000):
        with own.write() as connection:
            last_keys.raise_to(connection, dict.fromkeys(last_keys.KEYED, taken))
        assert _last(own)["templates"] == max(taken, 11)
    with own.write() as connection:
        row = templates.add(connection, EVERYWHERE, STORED_TEMPLATE, CONTRACT_DAY)
    assert row.id == 2_000_000_000_001


def test_keys_of_a_table_that_never_had_rows_are_taken(own: Database) -> None:
    with own.write() as connection:
        last_keys.raise_to(connection, {"assignments": 1, "contacts": 0, "templates": 5})
    assert _last(own) == {"assignments": 1, "contacts": 0, "templates": 5}


def test_a_role_that_cannot_take_keys_is_named(postgresql: Database) -> None:
    url = url_of(postgresql)
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (
            b"CREATE ROLE hasty LOGIN",
            b"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO hasty",
            b"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hasty",
        ):
            connection.execute(statement)
        weak = Database(url.replace("//postgres:@", "//hasty@").replace("//postgres@", "//hasty@"))
        with weak.write() as writing:
            last_keys.raise_to(writing, dict.fromkeys(last_keys.KEYED, 0))
        with pytest.raises(DatabaseUnavailable) as raised, weak.write() as writing:
            last_keys.raise_to(writing, dict.fromkeys(last_keys.KEYED, 5))
        assert diagnosis(raised.value) == (
            "role hasty lacks UPDATE on assignments_id_seq, contacts_id_seq, templates_id_seq "
            "(GRANT), to keep ids from being given twice"
        )
        weak.close()
        connection.execute(b"DROP OWNED BY hasty")
        connection.execute(b"DROP ROLE hasty")
    assert _last(postgresql) == {"assignments": 0, "contacts": 0, "templates": 0}


# --- Walls ---


def test_only_what_is_inside_is_read(own: Database) -> None:
    fill(own)
    found = _rows(own, ORG_1)
    with own.snapshot() as connection:
        assert sum(transfer.count(connection, ORG_1).values()) == len(found)
        assert transfer.without_rows(connection, Wall(frozenset({"org_1", "no", "or"}))) == [
            "no",
            "or",
        ]
        assert transfer.without_rows(connection, EVERYWHERE) == []
    assert {kind for kind, _ in found} == set(KINDS)
    mine = {values[0] for kind, values in found if kind is transfer.ASSIGNMENTS}
    for kind, values in found:
        if kind is CONTACTS:
            assert values[kind.place("assignment_id")] in mine
        else:
            assert values[kind.place(kind.org_id.name)] == "org_1"
    assert len(_rows(own)) == len(found) + len(
        _rows(own, Wall(frozenset({"org_0", "org_2", "org_3", "org_4"})))
    )


@pytest.mark.parametrize("place", range(4), ids=lambda place: KINDS[place].table.name)
def test_nothing_is_stored_outside(own: Database, place: int) -> None:
    fill(own)
    rows = _rows(own)
    empty(own)
    with own.write() as connection:
        named = [row for row in rows if KINDS.index(row[0]) < place]
        transfer.store(connection, EVERYWHERE, named)
    before = contents(own)
    with pytest.raises(OrganizationForbidden), own.write() as connection:
        transfer.store(connection, ORG_1, [row for row in rows if row[0] is KINDS[place]])
    assert contents(own) == before


# --- Rows ---


def _changed(kind: Kind, values: Values, **columns: Any) -> tuple[Kind, Values]:
    return kind, tuple(
        columns.get(name, value) for name, value in zip(kind.columns, values, strict=True)
    )


def test_rows_are_new_known_or_different(own: Database) -> None:
    fill(own)
    known, *_, (kind, values) = _rows(own)
    batch = [
        (kind, values),
        _changed(kind, values, name="other"),
        known,
        _changed(kind, values, id=999),
    ]
    with own.read() as connection:
        states = transfer.states(connection, batch)
    assert states == [State.KNOWN, State.DIFFERENT, State.KNOWN, State.NEW]


def test_a_mentee_is_known_by_whatever_ways_the_name_has_come(own: Database) -> None:
    fill(own)
    kind, values = _rows(own)[0]
    before = contents(own)
    again = _changed(kind, values, name_version=7)
    with own.write() as connection:
        assert transfer.states(connection, [again]) == [State.KNOWN]
        transfer.store(connection, EVERYWHERE, [again])
    assert contents(own) == before


def test_a_different_row_undoes_its_batch(own: Database) -> None:
    fill(own)
    kind, values = _rows(own)[-1]
    before = contents(own)
    different = _changed(kind, values, name="other")
    batch = [_changed(kind, values, id=999), (kind, values), different]
    with pytest.raises(Differs) as raised, own.write() as connection:
        transfer.store(connection, EVERYWHERE, batch)
    assert (raised.value.kind, raised.value.values) == different
    assert contents(own) == before


def test_rows_come_after_those_that_they_name(own: Database) -> None:
    fill(own)
    above = None
    kinds = []
    for kind, values in _rows(own):
        kinds.append(KINDS.index(kind))
        if kind is transfer.ASSIGNMENTS:
            above = values[0]
        if kind is CONTACTS:
            assert values[kind.place("assignment_id")] == above
    assert kinds[0] == 0
    assert kinds[-1] == 3
    assert [kind for kind in kinds if kind != 2] == sorted(kind for kind in kinds if kind != 2)


def test_what_is_known_of_repeated_writes_stays(own: Database) -> None:
    fill(own)
    with own.write() as connection:
        connection.execute(text("UPDATE templates SET recent_writes = 'Telltale'"))
    assert "Telltale" not in str(_rows(own)) + str(moved(own))


# --- Keys of a file ---


def test_keys_are_seen_once_for_each_kind() -> None:
    with seen_keys() as seen:
        assert seen.add("a", 1)
        assert not seen.add("a", 1)
        assert seen.add("b", 1)
        assert seen.holds("b", 1)
        assert not seen.holds("b", 2)


def _see_many_keys() -> None:
    with seen_keys() as seen:
        for number in range(1_000_000):
            seen.add("a", f"{number}{'x' * 100}")


def test_more_keys_than_memory_holds_need_room(request: pytest.FixtureRequest) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    with pytest.raises(NoRoom):
        _see_many_keys()


# --- Snapshots ---


def test_a_snapshot_reads_one_state(own: Database) -> None:
    writer = Database(url_of(own))
    with own.snapshot() as connection:
        before = transfer.count(connection, EVERYWHERE)
        with writer.write() as writing:
            templates.add(writing, EVERYWHERE, STORED_TEMPLATE, CONTRACT_DAY)
        assert transfer.count(connection, EVERYWHERE) == before
    with own.snapshot() as connection:
        assert transfer.count(connection, EVERYWHERE) == before | {"templates": 1}
    writer.close()


def test_a_snapshot_may_take_longer_than_a_call(postgresql: Database) -> None:
    hasty = Database(f"{url_of(postgresql)}&options=-c%20statement_timeout%3D1s")
    with hasty.snapshot() as connection:
        connection.execute(text("SELECT pg_sleep(1.5)"))
    hasty.close()
