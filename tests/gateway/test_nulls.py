"""Explicit nulls: where the contract has them, nowhere else, and never inside a text."""

from collections.abc import Iterator

import httpx
import pytest
from google.protobuf.descriptor import Descriptor

from peermentor.v1 import assignments_pb2, templates_pb2
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE
from support.lua import contract

NULLABLE = ("last_contact_date", "days_since_contact", "reminder_sent_at", "escalation_sent_at")
FIELDS = {field.name for field in assignments_pb2.Assignment.DESCRIPTOR.fields}


def nullable_fields(message: Descriptor) -> Iterator[str]:
    """Return the fields that a message may leave unset, and that are printed as null then."""
    for field in message.fields:
        if field.message_type is None or field.is_repeated:
            continue
        if field.name not in ALWAYS_SET:
            yield field.name


# The server sets these in every answer.
ALWAYS_SET = {"pagination", "created_at", "updated_at"}


def test_the_gateways_list_of_nullable_fields_is_that_of_the_descriptor() -> None:
    of_the_answers = {
        (method.output_type.full_name, name)
        for file in (assignments_pb2, templates_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        for name in nullable_fields(method.output_type)
    }
    assert of_the_answers == {
        *(("peermentor.v1.Assignment", name) for name in NULLABLE),
        ("peermentor.v1.AssignmentSummary", "longest_silence_days"),
    }
    of_an_assignment = {"before": "status", "fields": list(NULLABLE)}
    assert contract()["nulls"] == {
        "peermentor.v1.Assignment": of_an_assignment,
        "peermentor.v1.AssignmentSummary": {
            "before": "recent_contacts",
            "fields": ["longest_silence_days"],
        },
        "peermentor.v1.ListAssignmentsResponse": of_an_assignment,
    }


def test_a_key_to_insert_before_stands_in_every_assignment_and_in_no_other_answer() -> None:
    """The gateway puts nulls before `status`: it must precede the fields it stands for."""
    names = [field.name for field in assignments_pb2.Assignment.DESCRIPTOR.fields]
    assert all(names.index("status") < names.index(name) for name in NULLABLE)
    for message in assignments_pb2.DESCRIPTOR.message_types_by_name.values():
        if message.name.endswith("Response"):
            assert "status" not in message.fields_by_name


def test_a_new_assignment_has_every_nullable_field_as_null(rest: httpx.Client) -> None:
    created = rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT).json()
    assert {name for name, value in created.items() if value is None} == set(NULLABLE)
    assert created.keys() == FIELDS
    assert rest.get("/api/v1/assignments/asgn_001").json() == created
    assert rest.get("/api/v1/assignments").json()["data"] == [created]
    assert rest.get("/api/v1/assignments/overdue").json()["data"] == [created]


def test_the_silence_of_nobody_is_null(rest: httpx.Client) -> None:
    path = "/api/v1/assignments/summary"
    rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT)
    counts = {"open": 1, "paused": 0, "overdue": 1, "never_contacted": 1, "recent_contacts": 0}
    assert rest.get(path).json() == counts | {"longest_silence_days": None}
    body = {"contact_date": "2026-03-26T09:45:00Z", "contact_type": "call"}
    rest.put("/api/v1/assignments/asgn_001/last-contact", json=body)
    counts |= {"overdue": 0, "never_contacted": 0, "recent_contacts": 1}
    assert rest.get(f"{path}?org_id=org_03").json() == counts | {"longest_silence_days": 0}


def test_a_set_field_is_printed_once_and_the_others_stay_null(rest: httpx.Client) -> None:
    rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT)
    body = {"contact_date": "2026-03-26T09:45:00Z", "contact_type": "call"}
    answer = rest.put("/api/v1/assignments/asgn_001/last-contact", json=body)
    assert answer.text.count('"last_contact_date"') == 1
    assert answer.json()["days_since_contact"] == 0
    assert answer.json()["reminder_sent_at"] is None
    assert answer.json()["escalation_sent_at"] is None
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_each_of_many_assignments_gets_its_own_nulls(rest: httpx.Client) -> None:
    for number in range(30):
        rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT | {"mentee_id": f"user_{number}"})
        if number % 3 == 0:
            path = f"/api/v1/assignments/asgn_{number + 1:03d}/last-contact"
            rest.put(path, json={"contact_date": "2026-03-20T09:45:00Z"})
    listed = rest.get("/api/v1/assignments?limit=100").json()["data"]
    assert [row["days_since_contact"] for row in listed] == [6, None, None] * 10
    assert all(row.keys() == FIELDS for row in listed)


TEXTS = [
    'quote " brace } bracket ] comma , colon :',
    '","last_contact_date":null}',
    '","status":"active","days_since_contact":1},{"status":"',
    ',"status":',
    '\\","status":"x',
    "\\",
    '\\"',
    "ends with a comma,",
    '{"data":[{"status":null}]}',
    "line\nbreak\r\n\ttab",
    "emoji 🧑‍🤝‍🧑 and Bjørn, Łukasz, 李, שלום",
    "</script><script>alert(1)</script>",
    "%s %d ${x} {{y}} %00 %2F",
    "a\u2028\u2029\ufeff\u200b",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_through_unchanged(text: str, rest: httpx.Client) -> None:
    created = rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT | {"mentee_name": text})
    assert created.status_code == 200, created.text
    assert created.json()["mentee_name"] == text
    assert created.json().keys() == FIELDS
    rest.post(
        "/api/v1/assignments", json=NEW_ASSIGNMENT | {"mentee_id": "other", "mentee_name": text}
    )
    listed = rest.get("/api/v1/assignments").json()
    assert [row["mentee_name"] for row in listed["data"]] == [text, text]
    assert [row.keys() for row in listed["data"]] == [FIELDS, FIELDS]


@pytest.mark.parametrize("text", TEXTS)
def test_templates_get_no_nulls_and_keep_their_texts(text: str, rest: httpx.Client) -> None:
    body = NEW_TEMPLATE | {"name": text, "mentor_ids": [], "notes_template": text}
    created = rest.post("/api/v1/recurring-templates", json=body)
    assert created.status_code == 200, created.text
    answer = created.json()
    assert (answer["name"], answer["notes_template"]) == (text, text)
    assert answer["mentor_ids"] == []
    assert None not in answer.values()


def test_empty_lists_and_zeros_are_printed(rest: httpx.Client) -> None:
    assert rest.get("/api/v1/assignments").json() == {
        "data": [],
        "pagination": {"page": 1, "limit": 20, "total": 0},
        "next_page_token": "",
    }
