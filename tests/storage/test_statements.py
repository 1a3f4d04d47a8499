"""What statements are called that the service executes."""

import pytest
from sqlalchemy import text

from peermentor_server.rules.errors import InternalFault
from peermentor_server.storage.engine import statements
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import VERSION_TABLE, metadata
from support.clock import SettableClock
from support.direct_calls import DirectCalls
from support.rpc_forms import FORMS

WORDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "PRAGMA"}


class Told:
    """What has been told, in order."""

    def __init__(self, database: Database) -> None:
        self.begun: list[str] = []
        self.ended: list[tuple[str, str | None]] = []
        database.tell_statements(self._begin)

    def _begin(self, name: str) -> statements.End:
        self.begun.append(name)
        return lambda error: self.ended.append((name, type(error).__name__ if error else None))


def test_a_name_has_what_a_statement_does_and_our_tables_and_nothing_else(
    own: Database,
) -> None:
    told = Told(own)
    calls = DirectCalls(own, SettableClock())
    for form in FORMS.values():
        try:
            calls.call(form.rpc, *form.prepare(calls, 1))
        except AssertionError:
            # There is no such row; it has been looked for.
            continue
    assert len(told.begun) > len(FORMS)
    assert {word for name in told.begun for word in name.split()} <= {
        *WORDS,
        *metadata.tables,
        VERSION_TABLE,
    }
    assert {"INSERT assignments", "SELECT assignments mentees", "COMMIT"} <= set(told.begun)
    # One after the other, and none is left open.
    assert [name for name, _ in told.ended] == told.begun
    assert {error for _, error in told.ended} == {None}


def test_values_and_names_of_others_are_no_part_of_a_name() -> None:
    names = {
        "SELECT 1 FROM assignments WHERE note = 'from mentees'": "SELECT assignments",
        "SELECT a.id FROM assignments a, templates t": "SELECT assignments templates",
        "WITH cut AS (SELECT id FROM templates) SELECT * FROM cut": "SELECT templates",
        "INSERT INTO mentees (a) VALUES (?) ON CONFLICT DO UPDATE SET a = 1": "INSERT mentees",
        "DELETE FROM strangers WHERE name = 'Solberg'": "DELETE",
        "BEGIN ISOLATION LEVEL READ COMMITTED": "BEGIN",
        "  PRAGMA busy_timeout=0": "PRAGMA",
        "'Solberg'": "statement",
    }
    assert {sql: statements.name(sql) for sql in names} == names


def test_a_statement_that_fails_has_ended_with_what_the_driver_raised(own: Database) -> None:
    told = Told(own)
    with pytest.raises(InternalFault), own.write() as connection:
        connection.execute(text("SELECT nothing FROM templates"))
    (begin, _), (failed, error) = told.ended
    assert (begin, failed) == ("BEGIN", "SELECT templates")
    assert error in {"OperationalError", "UndefinedColumn"}
