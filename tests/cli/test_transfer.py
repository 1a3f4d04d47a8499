"""Exports and imports, as operators run them: from one database to another, and back."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    GetTemplateCalendarRequest,
    RecurringTemplate,
    UpdateTemplateRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.cli import export_lines
from peermentor_server.cli import transfer as moving
from peermentor_server.cli.data_import import DataImport
from peermentor_server.cli.export_lines import FIELDS, MAX_KEY, MAX_VERSION
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import clock, ids
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.settings import Settings
from peermentor_server.storage import assignments as stored_assignments
from peermentor_server.storage import tables, transfer
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import SettableClock
from support.commands import PROGRAM, run_on_terminal
from support.databases import empty, migrated, url_of
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, contents
from support.names import assert_no_name_in
from support.torture import either
from support.transfers import export, fill, importing, moved, start_import

on_sqlite = pytest.mark.parametrize("kind", ["sqlite"], indirect=True, scope="session")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where an export may be written: nothing else is there."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "all.jsonl"


def exported(database: Database, file: Path, *options: str) -> list[dict[str, Any]]:
    """Export a database, and return what is on each line."""
    result = export(database, file, *options)
    assert (result.returncode, result.stderr) == (0, "")
    return [json.loads(line) for line in file.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is in the file of an export."""
    place = tmp_path_factory.mktemp("written")
    with migrated(f"sqlite:///{place}/own.db") as database:
        fill(database)
        export(database, place / "all.jsonl")
    return (place / "all.jsonl").read_bytes()


@pytest.fixture
def lines(written: bytes) -> list[dict[str, Any]]:
    """What is on its lines."""
    return [json.loads(line) for line in written.splitlines()]


def location(database: Database) -> str:
    """Return how commands name it."""
    return Database(url_of(database)).location


def write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


# --- What is moved ---


def test_all_rows_and_the_last_ids_are_moved(own: Database, other: Database, file: Path) -> None:
    fill(own)
    result = export(own, file)
    assert (result.returncode, result.stderr) == (0, "")
    said = "41 mentees, 38 assignments, 38 contacts, 9 templates"
    assert result.stdout == f"exported {location(own)} to {file}: {said}\n"
    result = importing(other, file)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"imported {said} into {location(other)}\n"
    assert moved(other) == moved(own)
    assert moved(own)["last"] == {"assignments": 40, "contacts": 40, "templates": 11}


def test_a_second_import_stores_nothing(own: Database, other: Database, file: Path) -> None:
    fill(own)
    export(own, file)
    importing(other, file)
    before = contents(other)
    result = importing(other, file)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("; 126 of these rows were there already\n")
    assert contents(other) == before


def test_what_is_missing_is_added(own: Database, other: Database, file: Path) -> None:
    fill(own)
    export(own, file)
    importing(other, file)
    with other.write() as connection:
        connection.execute(tables.assignments.delete().where(tables.assignments.c.id % 3 == 0))
        connection.execute(tables.templates.delete().where(tables.templates.c.id == 4))
    assert moved(other) != moved(own)
    assert importing(other, file).returncode == 0
    assert moved(other) == moved(own)


def test_no_id_is_given_twice(
    own: Database, other: Database, file: Path, clock: SettableClock
) -> None:
    fill(own)
    export(own, file)
    importing(other, file)
    with own_server(other, clock) as channel:
        assignment = AssignmentServiceStub(channel).CreateAssignment(
            CreateAssignmentRequest(**NEW_ASSIGNMENT)
        )
        template = TemplateServiceStub(channel).CreateTemplate(
            CreateTemplateRequest(**NEW_TEMPLATE)
        )
    # The last two of each had been deleted.
    assert (assignment.assignment_id, template.id) == ("asgn_041", "rt-012")
    # Nor do keys ever go back.
    with other.write() as connection:
        connection.execute(tables.assignments.delete().where(tables.assignments.c.id == 41))
    assert importing(other, file).returncode == 0
    assert moved(other)["last"] == {"assignments": 41, "contacts": 40, "templates": 12}


def test_an_export_holds_one_state_while_others_write(
    own: Database,
) -> None:
    fill(own)
    before = moved(own)
    with own.snapshot() as connection:
        counts = transfer.count(connection, EVERYWHERE)
        rows = transfer.rows(connection, EVERYWHERE)
        found = [next(rows)]
        writer = Database(url_of(own))
        with writer.write() as writing:
            writing.execute(tables.contacts.delete())
            writing.execute(tables.templates.update().values(name="later"))
            stored_assignments.name_mentee(writing, "org_9", "user_9", "Ann")
        writer.close()
        found += rows
    assert len(found) == sum(counts.values())
    by_table = {
        kind.table.name: sorted((values for each, values in found if each is kind), key=repr)
        for kind in transfer.KINDS
    }
    assert by_table == {name: rows for name, rows in before.items() if name != "last"}
    assert moved(own) != before


# --- Some organisations ---


def test_some_organisations_are_moved(own: Database, other: Database, file: Path) -> None:
    fill(own)
    lines = exported(own, file, "--org", "org_1", "--org", "org_2")
    assert lines[0]["organizations"] == ["org_1", "org_2"]
    assert {line.get("org_id", line.get("organization_id", "org_1")) for line in lines[1:]} == {
        "org_1",
        "org_2",
    }
    assert importing(other, file).returncode == 0
    everything = moved(own)
    assert len(moved(other)["assignments"]) == 19
    # Ids go on where they do for all: what is left there can follow later.
    assert moved(other)["last"] == everything["last"]
    exported(own, file, "--overwrite")
    assert importing(other, file, "--org", "org_0").returncode == 0
    assert {row.org_id for row in moved(other)["mentees"]} == {"org_0", "org_1", "org_2"}
    assert importing(other, file).returncode == 0
    assert moved(other) == everything


@pytest.mark.parametrize("org", ["org_0", "org_4"])
def test_one_of_several_is_imported(own: Database, other: Database, file: Path, org: str) -> None:
    """Of the last there are templates alone."""
    fill(own)
    export(own, file)
    assert importing(other, file, "--org", org).returncode == 0
    alone = file.with_name("alone.jsonl")
    assert (
        exported(own, alone, "--org", org)[1:] == exported(other, file.with_name("again.jsonl"))[1:]
    )


def test_an_organisation_of_which_nothing_is_there_is_named(
    own: Database, other: Database, file: Path
) -> None:
    fill(own)
    result = export(own, file, "--org", "org_7", "--org", "org_1", "--org", "org_6")
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: {location(own)} has nothing of org_6, org_7\n"
    assert list(file.parent.iterdir()) == []
    export(own, file)
    result = importing(other, file, "--org", "org_7", "--org", "org_1")
    assert result.stderr.endswith("nothing imported\nthe file has nothing of org_7\n")
    assert moved(other)["mentees"] == []


# --- What is refused ---


@pytest.mark.parametrize(
    ("kind_of_row", "change", "title"),
    [
        ("mentee", {"mentee_name": "Ann Somebody"}, "mentee user_0 of org_0"),
        ("assignment", {"updated_at": "2026-03-02T00:00:00Z"}, "assignment asgn_001"),
        ("contact", {"contact_type": "x"}, "contact 1 of asgn_001"),
        ("template", {"mentor_ids": ["mentor_9"]}, "template rt-001"),
    ],
)
def test_what_is_there_and_differs_is_named_and_nothing_changes(
    own: Database,
    other: Database,
    file: Path,
    kind_of_row: str,
    change: dict[str, Any],
    title: str,
) -> None:
    fill(own)
    lines = exported(own, file)
    importing(other, file)
    with other.write() as connection:
        connection.execute(tables.templates.delete().where(tables.templates.c.id > 5))
    before = contents(other)
    number = min(
        place
        for place, line in enumerate(lines)
        if line["kind"] == kind_of_row and title.split()[1] in map(str, line.values())
    )
    lines[number] |= change
    write(file, lines)
    result = importing(other, file)
    assert result.returncode == 1
    assert result.stderr == (
        "peermentor-server: nothing imported\n"
        f"line {number + 1}: {title} is in the database already, and is another one or was "
        "changed\n"
    )
    assert contents(other) == before


def _without(field: str) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.pop(field)


def _with(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.update(fields)


LONG = "x" * 201
FUTURE = (clock.system_clock() + timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("kind_of_row", "change", "says"),
    [
        ("mentee", _with(mentee_name=LONG), "mentee_name: must have at most 200 characters"),
        ("mentee", _with(mentee_name="a\0"), "mentee_name: must not contain control characters"),
        ("mentee", _with(mentee_name=None), "mentee_name: must be a text"),
        ("mentee", _with(mentee_id="Ann Berg"), "mentee_id: must be ASCII letters"),
        ("mentee", _with(name_version=2**63 - 1), "name_version: must be from 1 to 1073741824"),
        ("mentee", _with(kind="Ann"), "kind: must be one of mentee, assignment, contact, template"),
        ("mentee", _with(kind=["mentee"]), "kind: must be one of "),
        ("mentee", _with(**{"Ann Berg": 1}), "must have no fields but kind, mentee_id, org_id,"),
        (
            "assignment",
            _with(assignment_id="asgn_1"),
            "assignment_id: must be an id such as asgn_001",
        ),
        (
            "assignment",
            _with(assignment_id="rt-001"),
            "assignment_id: must be an id such as asgn_001",
        ),
        ("assignment", _with(assignment_id="asgn_041"), "assignment_id: is above last_keys.assign"),
        (
            "assignment",
            _with(assignment_id="asgn_9223372036854775807"),
            "assignment_id: is above last_keys.assign",
        ),
        ("assignment", _with(version=2**63 - 1), "version: must be from 1 to 1073741824"),
        ("assignment", _with(version=0), "version: must be from 1 to 1073741824"),
        ("assignment", _with(mentee_id="user_99"), "mentee_id: must be that of a mentee on an ear"),
        ("assignment", _with(org_id="org_9"), "mentee_id: must be that of a mentee on an earlier"),
        ("assignment", _with(status="lost"), "status: must be one of active, paused, completed, c"),
        (
            "assignment",
            _with(start_date="20260326"),
            "start_date: must be a date such as 2026-03-26",
        ),
        ("assignment", _without("start_date"), "start_date: is required"),
        ("assignment", _without("reminder_sent_at"), "reminder_sent_at: is required"),
        ("assignment", _with(created_at=None), "created_at: must be a text"),
        ("assignment", _with(created_at="2026-03-26"), "created_at: must be an instant such as 20"),
        ("assignment", _with(last_contact_date=FUTURE), "last_contact_date: must not be more than"),
        ("contact", _with(contact_id="1"), "contact_id: must be a whole number"),
        ("contact", _with(contact_id=True), "contact_id: must be a whole number"),
        ("contact", _with(contact_id=2**53), "contact_id: must be from 1 to 9007199254740991"),
        ("contact", _with(contact_id=41), "contact_id: is above last_keys.contacts of line 1"),
        ("contact", _with(contact_date=FUTURE), "contact_date: must not be more than 5 minutes in"),
        ("contact", _with(contact_type="a\n"), "contact_type: must not contain control characters"),
        ("contact", _with(assignment_id="asgn_031"), "assignment_id: must be that of the assignme"),
        ("template", _with(name=" "), "name: is required and must not be blank"),
        ("template", _with(recurrence_rule="FREQ=SECONDLY"), "recurrence_rule: FREQ: has to be on"),
        (
            "template",
            _with(recurrence_rule="FREQ=DAILY;UNTIL=20260101"),
            "recurrence_rule: UNTIL: is in the past",
        ),
        (
            "template",
            _with(duration_minutes=0),
            "duration_minutes: must be from 1 to 10080 minutes",
        ),
        ("template", _with(duration_minutes=1.5), "duration_minutes: must be a whole number"),
        ("template", _with(mentor_ids=["a", "a"]), "mentor_ids[1]: is in the list already"),
        ("template", _with(mentor_ids=["a", 1]), "mentor_ids: must be a list of texts"),
        ("template", _with(mentor_ids=["m"] * 101), "mentor_ids: must have at most 100 entries"),
        ("template", _with(is_active=1), "is_active: must be true or false"),
        ("template", _without("starts_on"), "starts_on: is required"),
        ("template", _without("version"), "version: is required"),
        ("template", _with(version=2**30 + 1), "version: must be from 1 to 1073741824"),
        (
            "template",
            _with(id="rt-9223372036854775807"),
            "id: is above last_keys.templates of line 1",
        ),
    ],
)
def test_a_wrong_line_is_named_with_its_field_and_nothing_is_stored(
    lines: list[dict[str, Any]],
    file: Path,
    kind_of_row: str,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    number = next(place for place, line in enumerate(lines) if line["kind"] == kind_of_row)
    change(lines[number])
    write(file, lines)
    assert says in _refused(file)[number + 1]


def _refused(file: Path) -> dict[int, str]:
    """Import into a new database, which has to be refused; return what is said, by line."""
    with migrated(f"sqlite:///{file.parent.parent}/new.db") as database:
        with pytest.raises(CommandFailed) as raised:
            moving.read(
                Settings(database_url=url_of(database)),
                file,
                organizations=None,
                progress=lambda _doing, _done: None,
            )
        assert not any(moved(database)[table] for table in ("mentees", "assignments", "templates"))
        assert set(moved(database)["last"].values()) == {0}
    assert "Ann" not in str(raised.value)
    assert_no_name_in(str(raised.value))
    first, *others = str(raised.value).splitlines()
    assert first == "nothing imported"
    told = (each.removeprefix("line ").partition(": ") for each in others if "line " in each)
    return {int(number): problem for number, _, problem in told}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "is not JSON in UTF-8"),
        (b"Ann Somebody", "is not JSON in UTF-8"),
        (b'{"kind":"mentee","mentee_name":"Ann', "is not JSON in UTF-8"),
        (b'{"kind":"mentee","mentee_name":"\xc5"}', "is not JSON in UTF-8"),
        (b"[" * 100_000, "is not JSON in UTF-8"),
        (b"9" * 10_000, "is not JSON in UTF-8"),
        (b'"Ann"', "is not a JSON object"),
        (b'{"kind":"mentee","mentee_id":"Ann","mentee_id":"b"}', "has a field twice"),
        (b"x" * 3_000_000, "is longer than 262144 bytes"),
    ],
)
def test_what_is_no_line_is_named(written: bytes, file: Path, line: bytes, says: str) -> None:
    first, _, *others = written.splitlines()
    file.write_bytes(b"\n".join([first, line, *others, b""]))
    assert _refused(file)[2] == says


def test_a_line_may_stand_there_once(lines: list[dict[str, Any]], file: Path) -> None:
    write(file, [lines[0], *(line for line in lines[1:] for _ in "12")])
    told = _refused(file)
    assert told[3] == "mentee_id: is on an earlier line too"
    assert 2 not in told


@pytest.mark.parametrize("left", ["half", "whole"])
def test_a_file_that_was_cut_off_is_refused(written: bytes, file: Path, left: str) -> None:
    file.write_bytes(written[:-20] if left == "half" else written[: written.rindex(b"\n{") + 1])
    told = _refused(file)
    if left == "whole":
        assert told == {1: "rows.templates is 9, and there are 8: the file was cut off or changed"}
    else:
        assert set(told.values()) == {"is not JSON in UTF-8"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_with(kind="mentee"), "kind: must be export, as in the first line of each export"),
        (_with(format=3), "format: must be from 1 to 2; a newer program reads newer ones"),
        (_with(format="1"), "format: must be from 1 to 2; a newer program reads newer ones"),
        (_with(schema="9999"), "schema: is newer than this program; import it by a newer one"),
        (_with(schema="1" * 5_000), "schema: must be the revision of a schema, such as 0001"),
        (_with(schema="x"), "schema: must be the revision of a schema, such as 0001"),
        (
            _without("rows"),
            "rows: must be an object with mentees, assignments, contacts, templates",
        ),
        (_with(last_keys={"contacts": 1}), "last_keys: must be an object with assignments, contac"),
        (
            _with(last_keys={"assignments": -1, "contacts": 0, "templates": 0}),
            "last_keys.assignments: must be a whole number from 0 to ",
        ),
        (
            _with(last_keys={"assignments": 40, "contacts": 40, "templates": 2**53}),
            "last_keys.templates: must be a whole number from 0 to 9007199254740991",
        ),
        (_with(organizations="org_1"), "organizations: must be a list of ids, or null for all"),
        (_with(exported_at=1), "exported_at: must be an instant such as "),
    ],
)
def test_what_no_export_begins_with_is_refused(
    lines: list[dict[str, Any]],
    file: Path,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    change(lines[0])
    write(file, lines)
    assert _refused(file)[1].startswith(says)


def test_the_service_goes_on_from_the_highest_numbers_that_are_imported(
    own: Database, lines: list[dict[str, Any]], file: Path, clock: SettableClock
) -> None:
    lines[0]["last_keys"] = dict.fromkeys(lines[0]["last_keys"], MAX_KEY)
    for line in lines[1:]:
        line |= {each: MAX_VERSION for each in ("version", "name_version") if each in line}
    lines[-1]["id"] = highest = ids.TEMPLATE.render(MAX_KEY)
    write(file, lines)
    assert importing(own, file).stderr == ""
    known = next(line["assignment_id"] for line in lines if line["kind"] == "assignment")
    with own_server(own, clock) as channel:
        assignments, templates = AssignmentServiceStub(channel), TemplateServiceStub(channel)
        assignment = assignments.CreateAssignment(CreateAssignmentRequest(**NEW_ASSIGNMENT))
        template = templates.CreateTemplate(CreateTemplateRequest(**NEW_TEMPLATE))
        assignments.UpdateAssignment(
            UpdateAssignmentRequest(assignment_id=known, mentee_name="Another")
        )
        told = UpdateLastContactRequest(assignment_id=known)
        told.contact_date.FromDatetime(clock())
        assignments.UpdateLastContact(told)
        templates.UpdateTemplate(UpdateTemplateRequest(id=highest, name="Another"))
        calendar = templates.GetTemplateCalendar(GetTemplateCalendarRequest(id=highest))
    assert (assignment.assignment_id, template.id) == ("asgn_9007199254740992", f"rt-{2**53}")
    assert f"SEQUENCE:{2**30}\r\n".encode() in calendar.data
    assert moved(own)["last"] == dict.fromkeys(lines[0]["last_keys"], 2**53)


def test_what_is_no_export_makes_no_database(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in ("", "name\nAnn\n", "{}\n"):
        file.write_text(content)
        result = subprocess.run(
            [PROGRAM, "import", str(file)],
            env=os.environ | {"PEERMENTOR_DATABASE_URL": f"sqlite:///{tmp_path}/new.db"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "nothing imported\nline 1: " in result.stderr
        assert list(tmp_path.iterdir()) == [file]


def test_what_changes_after_the_check_is_named(own: Database, written: bytes) -> None:
    def started(content: bytes) -> DataImport:
        found = DataImport(own, io.BytesIO(content), EVERYWHERE, lambda _doing, _done: None)
        found.check()
        return found

    importing = started(written)
    with own.write() as connection:
        stored_assignments.name_mentee(connection, "org_2", "user_2", "Ann")
    with pytest.raises(CommandFailed) as raised:
        importing.store()
    assert str(raised.value) == (
        "mentee user_2 of org_2 is in the database already, and is another one or was changed "
        "meanwhile; what was imported before that stays"
    )
    assert len(moved(own)["mentees"]) == 1
    empty(own)

    importing = started(written)
    importing._file.truncate(len(written) - 9)
    with pytest.raises(CommandFailed, match="the file was changed meanwhile"):
        importing.store()
    assert moved(own)["mentees"] == []


# --- Files of older programs ---

# As the program wrote it that knew neither when templates begin, nor versions.
FORMAT_1 = Path(__file__).with_name("export_of_format_1.jsonl")


def test_an_export_of_an_older_program_is_imported(own: Database, file: Path) -> None:
    for known in ("", "; 22 of these rows were there already"):
        result = importing(own, FORMAT_1)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith(f"{location(own)}{known}\n")
    added = {
        "mentee": {"name_version": 1},
        "assignment": {"version": 1},
        "contact": {},
        "template": {
            "starts_on": "2026-03-01",
            "time_zone": "UTC",
            "excluded_dates": [],
            "version": 1,
        },
    }
    old = [json.loads(line) for line in FORMAT_1.read_bytes().splitlines()]
    header, *rows = exported(own, file)
    assert rows == [line | added[line["kind"]] for line in old[1:]]
    assert header == old[0] | {"format": 2, "exported_at": header["exported_at"]}


def test_a_damaged_export_of_an_older_program_is_refused(file: Path) -> None:
    *whole, template = [json.loads(line) for line in FORMAT_1.read_bytes().splitlines()]
    write(file, [*whole, template | {"time_zone": None}])
    assert _refused(file) == {23: "time_zone: must be a text"}
    del template["created_at"]
    write(file, [*whole, template])
    assert _refused(file) == {23: "created_at: is required"}
    write(file, whole)
    assert _refused(file)[1].startswith("rows.templates is 1, and there are 0")


# --- The file ---


@on_sqlite
def test_the_file_is_its_owners_alone_and_replaced_only_when_that_is_said(
    own: Database, file: Path
) -> None:
    file.write_text('{"kind":"export","dear')
    result = export(own, file)
    assert result.returncode == 1
    assert result.stderr == (
        f"peermentor-server: {file} exists already; name a new file, or replace it by --overwrite\n"
    )
    assert file.read_text() == '{"kind":"export","dear'
    assert export(own, file, "--overwrite").returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith('{"kind":"export",')
    assert list(file.parent.iterdir()) == [file]


def test_nothing_but_an_export_is_replaced(own: Database, file: Path) -> None:
    fill(own)
    mine = own.file or file
    if mine == file:
        file.write_text("of somebody else")
    result = export(own, mine, "--org", "org_1", "--overwrite")
    assert result.returncode == 1
    assert f"{mine} is no export, and is left as it is" in result.stderr
    assert len(contents(own)["assignments"]) == 38


@on_sqlite
def test_a_file_that_cannot_be_written_is_named(own: Database, tmp_path: Path) -> None:
    result = export(own, tmp_path / "none" / "all.jsonl")
    assert result.returncode == 1
    assert f"cannot write {tmp_path}/none/all.jsonl: No such file or directory" in result.stderr


def test_nothing_is_exported_where_no_database_is(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/typo.db")
    result = export(database, tmp_path / "all.jsonl")
    assert result.returncode == 1
    assert result.stderr.endswith("typo.db holds nothing to export\n")
    assert not list(tmp_path.iterdir())


def test_a_new_database_is_said_to_be_one(tmp_path: Path, own: Database, file: Path) -> None:
    fill(own)
    export(own, file)
    new = Database(f"sqlite:///{tmp_path}/new.db")
    assert importing(new, file).stdout.endswith("/new.db, a new database\n")
    assert moved(new) == moved(own)
    new.close()


@on_sqlite
def test_a_dash_reads_standard_input(own: Database, other: Database, file: Path) -> None:
    fill(own)
    export(own, file)
    process = start_import(other, Path("-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.communicate(file.read_bytes(), 60)[1] == b""
    assert moved(other) == moved(own)


@on_sqlite
def test_a_terminal_shows_how_far_it_is_and_no_name(
    own: Database, other: Database, file: Path
) -> None:
    fill(own)
    for command, database, words in (
        ("export", own, ["exporting"]),
        ("import", other, ["checking", "importing"]),
    ):
        result = run_on_terminal(command, str(file), PEERMENTOR_DATABASE_URL=url_of(database))
        assert result.returncode == 0
        shown = result.stderr.decode()
        bars = shown.split("\r")
        for word in words:
            assert f"{word}  [##############################] 100%\033[K" in bars
        assert bars[-1] == "\033[K"
        assert_no_name_in(shown)


# What a process of its own has had in memory at most: what its parent had counts for rusage.
MEASURED = """
import re, sys
from peermentor_server.cli.program import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@on_sqlite
def test_a_part_of_the_rows_is_in_memory(own: Database, tmp_path: Path) -> None:
    def peak_mib(command: str, file: Path, database: Database) -> float:
        process = subprocess.run(
            [sys.executable, "-c", MEASURED, command, str(file)],
            env=os.environ | {"PEERMENTOR_DATABASE_URL": url_of(database)},
            stdout=subprocess.PIPE,
            check=True,
        )
        return int(process.stdout.split()[-1]) / 1024

    peaks = []
    for count in (8, int(either(6_000, 150_000))):
        empty(own)
        fill(own, count)
        file = tmp_path / f"{count}.jsonl"
        with migrated(f"sqlite:///{file}.db") as target:
            peaks.append([peak_mib("export", file, own), peak_mib("import", file, target)])
    few, many = peaks
    # Held whole, these rows take 16 MiB more.
    assert max(many[0] - few[0], many[1] - few[1]) < either(12, 20)


# --- The form ---


def test_every_column_has_its_field() -> None:
    assert list(FIELDS) == list(transfer.KINDS)
    for kind, fields in FIELDS.items():
        assert tuple(field.column for field in fields.values()) == kind.columns


def test_every_table_is_moved_or_known_to_stay() -> None:
    staying = {"idempotency_keys", "access_keys"}
    assert {kind.table.name for kind in transfer.KINDS} | staying == set(tables.metadata.tables)


def test_fields_are_those_of_the_api() -> None:
    # The etag is made of the version, and of that of the name.
    of_assignment = FIELDS[transfer.ASSIGNMENTS].keys() - {"version"}
    elsewhere = {"mentee_name", "days_since_contact", "etag"}
    assert of_assignment | elsewhere == set(Assignment.DESCRIPTOR.fields_by_name)
    of_template = FIELDS[transfer.TEMPLATES].keys() - {"version"}
    assert of_template | {"etag"} == set(RecurringTemplate.DESCRIPTOR.fields_by_name)
    assert export_lines.key_field(transfer.TEMPLATES) == "id"
    assert ids.TEMPLATE.render(1) == "rt-001"


def test_a_database_without_rows_is_moved(own: Database, other: Database, file: Path) -> None:
    assert len(exported(own, file)) == 1
    assert importing(other, file).returncode == 0
    with other.read() as connection:
        assert connection.execute(select(tables.mentees)).all() == []
    assert moved(other) == moved(own)
