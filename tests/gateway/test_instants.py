"""Instants over REST: RFC 3339 to the letter, for every field alike.

In a body the transcoder reads them, which takes much more; the server reads `cutoff_date`.
"""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1 import assignments_pb2, templates_pb2
from support.factories import NEW_ASSIGNMENT, refused_field
from support.lua import contract

A = "/api/v1/assignments"
# Each field in a body, and where the value comes back.
FIELDS = [
    (f"{A}/asgn_001/last-contact", "contact_date", "last_contact_date"),
    (f"{A}/asgn_001/last-contact", "contactDate", "last_contact_date"),
    (f"{A}/asgn_001", "reminder_sent_at", "reminder_sent_at"),
    (f"{A}/asgn_001", "reminderSentAt", "reminder_sent_at"),
    (f"{A}/asgn_001", "escalation_sent_at", "escalation_sent_at"),
    (f"{A}/asgn_001", "escalationSentAt", "escalation_sent_at"),
]
each_field = pytest.mark.parametrize(("path", "field", "answered"), FIELDS)

REFUSED = [
    "",
    "26-03-26T12:00:00Z",
    "02026-03-26T12:00:00Z",
    "+2026-03-26T12:00:00Z",
    "2026-3-26T12:00:00Z",
    "2026-03-6T12:00:00Z",
    "2026-03- 6T12:00:00Z",
    "2026-03-26T1:00:00Z",
    "2026-03-26T 1:00:00Z",
    "2026-03-26T12:0:00Z",
    "2026-03-26T12:00:0Z",
    "2026-03-26T12:00:005Z",
    " 2026-03-26T12:00:00Z",
    "2026-03-26T12:00:00Z ",
    "2026-03-26T12:00:00 Z",
    "\t2026-03-26T12:00:00Z",
    "2026-03-26T12:00:00Z\n",
    "2026-03-26T12:00:00Z\0",
    "2026-03-26  12:00:00Z",
    "2026-03-26_12:00:00Z",
    "2026/03/26T12:00:00Z",
    "20260326T120000Z",
    "2026-03-26",
    "2026-03-26T12:00Z",
    "2026-03-26T12:00:00",
    "2026-03-26T12:00:00.Z",
    "2026-03-26T12:00:00,5Z",
    "2026-03-26T12:00:00.1234567890Z",
    "2026-03-26T12:00:00.-5Z",
    "2026-03-26T12:00:00+ 5:00",
    "2026-03-26T12:00:00+5:00",
    "2026-03-26T12:00:00+05",
    "2026-03-26T12:00:00+0500",
    "2026-03-26T12:00:00+-5:00",
    "2026-03-26T12:00:00-+5:00",
    "2026-03-26T12:00:00+05:00:00",
    "2026-03-26T12:00:00+05:0",
    "2026-03-26T12:00:00Z+05:00",
    "2026-03-26T12:00:00ZZ",
    "2026-03-26T12:00:00CET",
    "\uff12\uff10\uff12\uff16-03-26T12:00:00Z",
    "2026-03-26T12:00:0\u0660Z",
    "2026\u201103\u201126T12:00:00Z",
    "2026-03-26T12:00:00\u221205:00",
    # A leap second has no place in a Timestamp.
    "2025-12-31T23:59:60Z",
    "2026-03-26T12:00:60Z",
    # Of the year 1 by its offset, but written with a year that is none.
    "0000-12-31T23:30:00-01:00",
]
OUT_OF_RANGE = [
    "2026-00-26T12:00:00Z",
    "2026-13-26T12:00:00Z",
    "2026-03-00T12:00:00Z",
    "2026-02-29T12:00:00Z",
    "2026-04-31T12:00:00Z",
    "2026-03-26T24:00:00Z",
    "2026-03-26T12:60:00Z",
    "2026-03-26T12:00:00+24:00",
    "2026-03-26T12:00:00+05:60",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
]
READ = {
    "2026-03-26T09:45:00Z": "2026-03-26T09:45:00Z",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00Z",
    "2026-03-26t09:45:00z": "2026-03-26T09:45:00Z",
    "2026-03-26 09:45:00z": "2026-03-26T09:45:00Z",
    "2026-03-26T09:45:00-00:00": "2026-03-26T09:45:00Z",
    "2026-03-26T09:45:00+05:30": "2026-03-26T04:15:00Z",
    "2026-03-25 09:45:00-11:59": "2026-03-25T21:44:00Z",
    "2026-03-25T09:45:00+23:59": "2026-03-24T09:46:00Z",
    "2026-03-26T09:45:00.5Z": "2026-03-26T09:45:00.500Z",
    "2026-03-26t09:45:00.123456789+00:00": "2026-03-26T09:45:00.123456Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
}


@pytest.fixture
def rest(rest: httpx.Client) -> httpx.Client:
    """The gateway, with one assignment behind it."""
    rest.post(A, json=NEW_ASSIGNMENT)
    return rest


@each_field
def test_what_rfc_3339_does_not_write_is_refused_and_named(
    path: str, field: str, answered: str, rest: httpx.Client
) -> None:
    name = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", field)
    for text in REFUSED:
        answer = rest.put(path, json={field: text})
        assert answer.status_code == 400, (text, answer.text)
        assert answer.json() == refusal_of(name), text
    for text in OUT_OF_RANGE:
        answer = rest.put(path, json={field: text})
        assert answer.status_code == 400, (text, answer.text)
        assert answer.json()["message"].endswith(refusal_of(name)["message"].split(": ")[1]), text
    assert rest.get(f"{A}/asgn_001").json()[answered] is None


@each_field
def test_what_rfc_3339_writes_is_read(
    path: str, field: str, answered: str, rest: httpx.Client
) -> None:
    for text, read in READ.items():
        answer = rest.put(path, json={field: text})
        assert answer.status_code == 200, (text, answer.text)
        assert answer.json()[answered] == read, text


def test_the_server_reads_a_cutoff_by_the_same_rule(rest: httpx.Client) -> None:
    def status(text: str) -> int:
        return rest.get(f"{A}/overdue?cutoff_date={quote(text)}").status_code

    # A cutoff may be a day, too; and a NUL is refused before that.
    refused = [each for each in REFUSED + OUT_OF_RANGE if each != "2026-03-26"]
    assert {text: status(text) for text in refused} == dict.fromkeys(refused, 400)
    assert {text: status(text) for text in READ} == dict.fromkeys(READ, 200)


def test_all_refused_instants_of_a_body_are_named(rest: httpx.Client) -> None:
    body = {"reminder_sent_at": "1-1-1T0:0:0Z", "escalationSentAt": "soon", "colour": "red"}
    for headers, unknown in (({}, []), ({"Prefer": "handling=strict"}, ["colour"])):
        answer = rest.put(f"{A}/asgn_001", json=body, headers=headers)
        violations = answer.json()["details"][1]["field_violations"]
        refused = [each["field"] for each in violations]
        assert refused == [*unknown, "reminder_sent_at", "escalation_sent_at"]


def test_the_shape_is_that_of_the_servers_own_refusals(rest: httpx.Client) -> None:
    future = datetime.now(UTC).replace(year=9000).isoformat()
    by_server, by_gateway = (
        rest.put(f"{A}/asgn_001/last-contact", json={"contact_date": text}).json()
        for text in (future, "26-03-26T12:00:00Z")
    )
    assert without_texts(by_server) == without_texts(by_gateway)


def test_an_instant_may_be_written_with_escapes(rest: httpx.Client) -> None:
    body = rb'{"reminder\u005fsent_at" : "2026\u002d03-26t09\u003A45:00\u007a","status":"paused"}'
    answer = rest.put(f"{A}/asgn_001", content=body, headers={"content-type": "application/json"})
    assert answer.json()["reminder_sent_at"] == "2026-03-26T09:45:00Z"
    assert answer.json()["status"] == "paused"


def test_an_instant_may_be_null(rest: httpx.Client) -> None:
    body = {"reminder_sent_at": None, "update_mask": "reminder_sent_at"}
    assert rest.put(f"{A}/asgn_001", json=body).json()["reminder_sent_at"] is None


def test_the_gateway_knows_the_fields_that_are_instants() -> None:
    expected = {
        field.name
        for module in (assignments_pb2, templates_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods
        if rpc.GetOptions().Extensions[annotations_pb2.http].body
        for field in rpc.input_type.fields
        if field.message_type is Timestamp.DESCRIPTOR
    }
    bodies = [call.get("body", {}) for call in contract()["calls"].values()]
    found = {name for body in bodies for name, kind in body.items() if kind == "instant"}
    assert found == expected


def refusal_of(field: str) -> dict[str, Any]:
    return refused_field(
        field,
        "must be a time such as 2026-03-26T09:45:00Z, in the years 1 to 9999, "
        "with at most nine digits of a second and no leap second",
    )


def without_texts(error: dict[str, Any]) -> dict[str, Any]:
    info, bad_request = error["details"]
    violations = [(each["field"], set(each)) for each in bad_request["field_violations"]]
    return error | {
        "message": "",
        "details": [info, bad_request | {"field_violations": violations}],
    }
