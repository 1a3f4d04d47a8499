"""What is remembered of creates: bounded, by index, and only of those that were stored."""

import threading
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text

from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import idempotency_keys, templates
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.idempotency_keys import FORGOTTEN_AT_ONCE, REMEMBERED_FOR, Request
from peermentor_server.storage.tables import idempotency_keys as keys_table
from peermentor_server.storage.tables import templates as templates_table
from peermentor_server.storage.templates import TemplateRow
from support.clock import CONTRACT_DAY
from support.factories import STORED_TEMPLATE
from support.racing import at_once, errors

NOW = CONTRACT_DAY
REQUEST = Request("", "CreateTemplate", "one", idempotency_keys.digest({"name": "Name"}))


def create(connection: Connection, request: Request = REQUEST, now: datetime = NOW) -> TemplateRow:
    make = partial(templates.add, wall=EVERYWHERE, values=STORED_TEMPLATE, now=now)

    def find(connection: Connection, key: int) -> TemplateRow | None:
        return templates.get(connection, EVERYWHERE, key)

    row = idempotency_keys.once(connection, request, now, make=make, find=find)
    assert row is not None
    return row


def remember(connection: Connection, name: str, count: int, created_at: datetime) -> None:
    rows = [
        {
            "owner": "",
            "rpc": "CreateTemplate",
            "request_id": f"{name}-{number}",
            "digest": "",
            "resource_key": 1,
            "created_at": created_at,
        }
        for number in range(count)
    ]
    connection.execute(insert(keys_table), rows)


def remembered(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(keys_table.c.request_id)).scalars())


def keys(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(select(templates_table.c.id)).scalars())


# --- Twins ---


@pytest.mark.parametrize("fails", [False, True])
def test_a_twin_waits_for_the_first_and_creates_only_if_that_one_fails(
    database: Database, fails: bool
) -> None:
    other = Database(database.engine.url.render_as_string(hide_password=False))
    made: list[int] = []

    def repeat() -> None:
        with other.write() as connection:
            made.append(create(connection).id)

    twin = threading.Thread(target=repeat)
    with database.write() as connection:
        first = create(connection).id
        twin.start()
        twin.join(0.3)
        assert twin.is_alive()
        (connection.rollback if fails else connection.commit)()
        twin.join()
    other.close()

    assert len(made) == 1
    assert keys(database) == made
    assert fails or made == [first]
    assert remembered(database) == ["one"]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
def test_a_repeat_writes_although_it_changes_nothing(database: Database) -> None:
    """So its commit, too, waits for a standby that the first one's had to wait for."""
    written = set()
    for _ in range(3):
        with database.write() as connection:
            create(connection)
        with database.read() as connection:
            query = "SELECT xmin FROM idempotency_keys"
            written.add(connection.exec_driver_sql(query).scalar_one())
    assert len(written) == 3
    assert len(keys(database)) == 1


# --- Forgetting ---


def test_a_create_forgets_some_of_the_oldest_alone(database: Database) -> None:
    with database.write() as connection:
        remember(connection, "a day old", 2, NOW - REMEMBERED_FOR)
        remember(connection, "older", FORGOTTEN_AT_ONCE - 1, NOW - timedelta(days=3))
        remember(connection, "not yet", 1, NOW - REMEMBERED_FOR + timedelta(seconds=1))
    with database.write() as connection:
        create(connection)
    [a_day_old, *others] = sorted(remembered(database))
    assert a_day_old.startswith("a day old")
    assert others == ["not yet-0", "one"]
    with database.write() as connection:
        create(connection, Request("", "CreateTemplate", "two", ""))
    assert sorted(remembered(database)) == ["not yet-0", "one", "two"]


def test_the_oldest_are_found_by_an_index(database: Database) -> None:
    with database.write() as connection:
        remember(connection, "new", 1000, NOW)
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.write() as connection:
        idempotency_keys._forget_oldest(connection, NOW)
    event.remove(database.engine, "before_cursor_execute", note)
    [(statement, parameters)] = [each for each in seen if each[0].startswith("DELETE")]
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("ANALYZE idempotency_keys"))
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
    assert "ix_idempotency_keys_created_at" in plan
    assert "Seq Scan" not in plan
    assert "SCAN idempotency_keys" not in plan


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
def test_creates_that_forget_the_same_ones_never_deadlock(
    database: Database,
) -> None:
    other = Database(database.engine.url.render_as_string(hide_password=False))

    def create_all(database: Database, ids: list[str]) -> None:
        for request_id in ids:
            with database.write() as connection:
                create(connection, Request("", "CreateTemplate", request_id, ""))

    for _ in range(5):
        with database.write() as connection:
            connection.execute(keys_table.delete())
            remember(connection, "old", 60, NOW - timedelta(days=2))
        # Each also takes up again what the other is about to forget.
        ids = [f"old-{number}" for number in range(60)]
        outcomes = at_once(
            partial(create_all, database, ids[::2]),
            partial(create_all, other, ids[::-1]),
            partial(create_all, database, ids),
        )
        assert errors(outcomes) == []
        assert sorted(remembered(database)) == sorted(ids)
    other.close()


# --- Digests ---


def test_a_digest_depends_on_the_values_alone_and_not_on_their_order() -> None:
    content = {"a": "x", "b": date(2026, 3, 26), "c": ["ø", 1, True, None]}
    backwards = dict(reversed(content.items()))
    assert idempotency_keys.digest(content) == idempotency_keys.digest(backwards)
    # Stored by one version of the server and compared by the next.
    assert (
        idempotency_keys.digest(content)
        == "cafb302a928a7687f8a73b16a6384e88c9674e00ff63acfc6e8bcff34134da6e"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"a": ""}),
        ({"a": ""}, {"a": None}),
        ({"a": "1"}, {"a": 1}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({"a": ["x,y"]}, {"a": ["x", "y"]}),
        ({"a": "b", "c": "d"}, {"a": "d", "c": "b"}),
    ],
)
def test_different_contents_have_different_digests(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert idempotency_keys.digest(one) != idempotency_keys.digest(other)
