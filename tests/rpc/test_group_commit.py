"""Writes that came at once: stored by one commit, or as if each had come by itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from peermentor_server.rpc.group_commit import group_commit
from peermentor_server.rpc.lanes import Caller, Outcome
from peermentor_server.rules.errors import AssignmentNotFound, DatabaseUnavailable, DomainError
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.deadlines import Deadline
from peermentor_server.storage.tables import mentees
from support.disks import SQLITE_IOERR_FSYNC, FailingDisk, passing_by

CALLER = Caller("10.0.0.1", "10.0.0.1:1")


@dataclass
class Call:
    """A call that writes, and what becomes of it."""

    work: Callable[[], str]
    deadline: Deadline = field(default_factory=lambda: Deadline(60))
    caller: Caller = CALLER
    events: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Write by itself."""
        self.events.append("run")
        return Context().run(self._work)

    def join(self) -> str:
        """Write along with others."""
        self.events.append("join")
        return Context().run(self._work)

    def _work(self) -> str:
        deadlines.keep_to(self.deadline)
        return self.work()

    def log(self, error: DomainError | None, _answer: Any = None) -> None:
        """Note that the end is known."""
        self.events.append(f"told {error.reason if error else 'OK'}")


def _naming(database: Database, name: str) -> Callable[[], str]:
    def work() -> str:
        with database.write() as connection:
            assignments.name_mentee(connection, "org_03", f"user_{name}", name)
        return name

    return work


def _failing(database: Database, name: str, error: Exception) -> Callable[[], str]:
    def work() -> str:
        with database.write() as connection:
            assignments.name_mentee(connection, "org_03", f"user_{name}", name)
            raise error

    return work


def _names(database: Database) -> list[str]:
    with database.read() as connection:
        found = connection.execute(select(mentees.c.mentee_name).order_by(mentees.c.mentee_id))
        return list(found.scalars())


@contextmanager
def _begins(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Connection]]:
    """Give a list of the transactions that are begun in the block."""
    begun: list[Connection] = []
    begin = database.backend.begin

    def note(connection: Connection, **options: Any) -> None:
        begun.append(connection)
        begin(connection, **options)

    with monkeypatch.context() as patch:
        patch.setattr(database.backend, "begin", note)
        yield begun


def test_calls_that_came_at_once_are_stored_by_one_commit(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [Call(_naming(own, name)) for name in "abc"]
    with _begins(own, monkeypatch) as begun:
        outcomes = group_commit(own)(calls)
    assert len(begun) == 1
    assert outcomes == [Outcome("a"), Outcome("b"), Outcome("c")]
    assert [call.events for call in calls] == [["join", "told OK"]] * 3
    assert _names(own) == ["a", "b", "c"]


def test_none_is_told_before_all_are_stored(own: Database) -> None:
    seen: list[list[str]] = []

    class Teller(Call):
        def log(self, error: DomainError | None, answer: Any = None) -> None:
            """See what another connection finds."""
            super().log(error, answer)
            other = threading.Thread(target=lambda: seen.append(_names(own)))
            other.start()
            other.join()

    group_commit(own)([Teller(_naming(own, name)) for name in "ab"])
    assert seen == [["a", "b"]] * 2


@pytest.mark.parametrize("error", [AssignmentNotFound("asgn_999"), RuntimeError("a fault of ours")])
def test_one_that_fails_takes_no_other_along(own: Database, error: Exception) -> None:
    good, bad, last = calls = [
        Call(_naming(own, "good")),
        Call(_failing(own, "bad", error)),
        Call(_naming(own, "last")),
    ]
    assert group_commit(own)(calls) == [Outcome("good"), Outcome(None, error), Outcome("last")]
    # Each by itself, and so told of by itself.
    assert good.events == bad.events == ["join", "run"]
    assert last.events == ["run"]
    assert _names(own) == ["good", "last"]


def test_one_that_is_late_takes_no_other_along(own: Database) -> None:
    late = Deadline(60)

    def dawdle() -> str:
        name = _naming(own, "late")()
        late.end()
        return name

    calls = [Call(dawdle, late), Call(_naming(own, "in time"))]
    refused, stored = group_commit(own)(calls)
    assert isinstance(refused.error, DatabaseUnavailable)
    assert stored == Outcome("in time")
    assert _names(own) == ["in time"]


def test_one_that_is_given_up_before_the_commit_is_not_stored(own: Database) -> None:
    given_up = Call(_naming(own, "given up"))

    def go_on() -> str:
        given_up.deadline.end()
        return _naming(own, "other")()

    # Not by the one whose deadline would have come first.
    refused, stored = group_commit(own)([given_up, Call(go_on, Deadline(30))])
    assert isinstance(refused.error, DatabaseUnavailable)
    assert stored == Outcome("other")
    assert _names(own) == ["other"]


def test_a_commit_of_which_nobody_knows_is_told_to_all_and_not_made_again(tmp_path: Path) -> None:
    disk = FailingDisk(sync_code=SQLITE_IOERR_FSYNC)
    with passing_by(disk, tmp_path):
        database = Database(f"sqlite:///{tmp_path}/own.db")
        schema.migrate(database)

        def break_disk() -> str:
            disk.fails = True
            return _naming(database, "b")()

        calls = [Call(_naming(database, "a")), Call(break_disk)]
        outcomes = group_commit(database)(calls)
        disk.fails = False
        for call, outcome in zip(calls, outcomes, strict=True):
            assert isinstance(outcome.error, DatabaseUnavailable)
            assert outcome.error.unknown_outcome
            assert call.events == ["join", "told DATABASE_UNAVAILABLE"]
        assert group_commit(database)([Call(_naming(database, "c"))] * 2)[0] == Outcome("c")
        database.close()


def test_of_what_is_erased_among_others_nothing_stays_behind(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/own.db")
    schema.migrate(database)
    _naming(database, "Telltale Name")()

    def erase() -> str:
        with database.erase() as connection:
            assignments.forget_mentee(connection, "user_Telltale Name")
        return "erased"

    group_commit(database)([Call(_naming(database, "a")), Call(erase)])
    assert _names(database) == ["a"]
    for file in tmp_path.glob("own.db*"):
        assert b"Telltale Name" not in file.read_bytes()
    database.close()
