"""Every method of the SDK, on both clients and against the real server."""

import inspect
import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from peermentor import (
    UNSET,
    Aborted,
    Assignment,
    AssignmentStatus,
    AssignmentSummary,
    Client,
    Contact,
    InvalidArgument,
    NotFound,
    Page,
)
from support.calendars import event_of
from support.clients import opened
from support.clock import CONTRACT_DAY
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE


def test_an_assignment_from_its_creation_to_its_end(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT, mentee_name="Bjørn Solberg")
    assert made.mentee_name == "Bjørn Solberg"
    assert made.start_date == date(2026, 3, 26)
    assert made.created_at == CONTRACT_DAY
    assert made.created_at.tzinfo is UTC
    assert (made.last_contact_date, made.days_since_contact) == (None, None)
    assert made.status is AssignmentStatus.ACTIVE
    assert client.assignments.get(made.assignment_id) == made
    paused = client.assignments.update(made.assignment_id, status="paused")
    assert paused.status == "paused"
    assert client.assignments.delete(made.assignment_id) is None
    with pytest.raises(NotFound) as raised:
        client.assignments.get(made.assignment_id)
    assert raised.value.reason == "ASSIGNMENT_NOT_FOUND"


def test_a_contact(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    in_oslo = datetime(2026, 3, 20, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    told = client.assignments.update_last_contact(
        made.assignment_id, contact_date=in_oslo, contact_type="message"
    )
    assert told.last_contact_date == in_oslo
    assert told.days_since_contact == 7


def test_an_update_changes_what_is_given_and_none_clears(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT, mentee_name="Bjørn Solberg")
    reminded = client.assignments.update(made.assignment_id, reminder_sent_at=CONTRACT_DAY)
    assert reminded.reminder_sent_at == CONTRACT_DAY
    assert reminded.mentee_name == "Bjørn Solberg"
    cleared = client.assignments.update(made.assignment_id, reminder_sent_at=None, mentee_name="")
    assert (cleared.reminder_sent_at, cleared.mentee_name) == (None, "")
    moved = client.assignments.update(made.assignment_id, start_date=date(2026, 1, 2))
    assert moved.start_date == date(2026, 1, 2)


def test_an_update_of_nothing_is_refused(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    with pytest.raises(InvalidArgument):
        client.assignments.update(made.assignment_id)


def test_a_write_by_who_knows_an_older_state_is_refused(client: Any) -> None:
    known = client.assignments.create(**NEW_ASSIGNMENT)
    writes: tuple[tuple[Any, dict[str, Any]], ...] = (
        (client.assignments.update_last_contact, {"contact_date": CONTRACT_DAY}),
        (client.assignments.update, {"reminder_sent_at": CONTRACT_DAY}),
        (client.assignments.delete, {}),
    )
    contact, fields = writes[0]
    told = contact(known.assignment_id, **fields, etag=known.etag)
    for write, fields in writes:
        with pytest.raises(Aborted) as raised:
            write(known.assignment_id, **fields, etag=known.etag)
        assert raised.value.reason == "ETAG_MISMATCH"
    assert client.assignments.get(known.assignment_id) == told
    client.assignments.delete(known.assignment_id, etag=told.etag)


def test_a_template_has_an_etag_that_none_does_not_stand_for(client: Any) -> None:
    made = client.templates.create(**NEW_TEMPLATE)
    with pytest.raises(TypeError, match="etag: None is not allowed here"):
        client.templates.update(made.id, name="x", etag=None)
    with pytest.raises(InvalidArgument):
        client.templates.update(made.id, etag=made.etag)
    changed = client.templates.update(made.id, name="x", mentor_ids=[], etag=made.etag)
    assert (changed.name, changed.mentor_ids) == ("x", ())
    with pytest.raises(Aborted):
        client.templates.delete(made.id, etag=made.etag)


def test_an_empty_list_empties(client: Any) -> None:
    made = client.templates.create(**NEW_TEMPLATE)
    assert made.mentor_ids == ("mentor-482", "mentor-521", "mentor-533")
    assert client.templates.update(made.id, is_active=False).mentor_ids == made.mentor_ids
    assert client.templates.update(made.id, mentor_ids=[]).mentor_ids == ()


def test_lists_and_their_filters(client: Any) -> None:
    first = client.assignments.create(**NEW_ASSIGNMENT)
    client.assignments.create(**{**NEW_ASSIGNMENT, "org_id": "org_04"})
    assert [a.org_id for a in client.assignments.list()] == ["org_03", "org_04"]
    assert list(client.assignments.list(org_id="org_03")) == [first]
    assert list(client.assignments.list(status=AssignmentStatus.PAUSED)) == []
    assert list(client.assignments.list_overdue(org_id="org_03", cutoff_date="2026-03-12")) == [
        first
    ]
    late = client.assignments.list_overdue(cutoff_date=CONTRACT_DAY, started_before=date.max)
    assert len(list(late)) == 2
    client.assignments.update(first.assignment_id, reminder_sent_at=CONTRACT_DAY)
    told = client.assignments.list_overdue(
        reminded=True, escalated=False, updated_after="2026-03-26"
    )
    assert [each.org_id for each in told] == ["org_03"]
    assert client.assignments.list(reminded=False).count() == 1
    assert client.assignments.list(updated_after=CONTRACT_DAY).count() == 0


def test_contacts(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    assert list(client.assignments.list_contacts(made.assignment_id)) == []
    for contact_type in ("call", "message"):
        client.assignments.update_last_contact(
            made.assignment_id, contact_date=CONTRACT_DAY, contact_type=contact_type
        )
    told = list(client.assignments.list_contacts(made.assignment_id, limit=1))
    assert [each.contact_type for each in told] == ["message", "call"]
    assert {each.contact_date for each in told} == {CONTRACT_DAY}
    assert Contact.from_dict(told[0].to_dict()) == told[0]
    of_later = client.assignments.list_contacts(
        made.assignment_id, contacted_from=date(2026, 3, 27), contact_type="call"
    )
    assert of_later.count() == 0
    with pytest.raises(NotFound):
        client.assignments.list_contacts("asgn_404").count()


def test_a_summary(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    assert client.assignments.get_summary().longest_silence_days is None
    client.assignments.update_last_contact(
        made.assignment_id, contact_date=CONTRACT_DAY - timedelta(days=20)
    )
    found = client.assignments.get_summary(org_id="org_03", coordinator_id="user_007")
    assert (found.open, found.overdue, found.recent_contacts) == (1, 1, 1)
    assert found.longest_silence_days == 20
    assert AssignmentSummary.from_dict(found.to_dict()) == found
    assert client.assignments.get_summary(org_id="org_04").open == 0


def test_templates(client: Any) -> None:
    made = client.templates.create(**NEW_TEMPLATE)
    assert client.templates.get(made.id) == made
    assert list(client.templates.list()) == [made]
    assert list(client.templates.list_by_coordinator("coord-119")) == [made]
    assert list(client.templates.list_by_organization("org-45")) == []
    assert list(client.templates.list(is_active=True, activity_type="workshop")) == [made]
    assert list(client.templates.list_by_organization("org-44", is_active=False)) == []
    client.templates.delete(made.id)
    assert list(client.templates.list()) == []


def test_a_calendar_file(client: Any) -> None:
    made = client.templates.create(**NEW_TEMPLATE)
    event = event_of(client.templates.get_calendar(made.id))
    assert event.summary.value == made.name
    with pytest.raises(NotFound):
        client.templates.get_calendar("rt-404")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"org_id": 3}, "org_id: a str is needed, not int"),
        ({"org_id": b"org_03"}, "org_id: a str is needed, not bytes"),
        ({"org_id": date(2026, 3, 1)}, "org_id: a str is needed, not date"),
        ({"status": []}, "status: a str is needed, not list"),
        ({"limit": "5"}, "limit: an int is needed, not str"),
        ({"limit": True}, "limit: an int is needed, not bool"),
        ({"reminded": 1}, "reminded: a bool is needed, not int"),
        ({"limit": 2.5}, "limit: an int is needed, not float"),
        ({"cutoff_date": 20260301}, "cutoff_date: a str is needed, not int"),
        (
            {"started_before": datetime(2026, 3, 1, tzinfo=UTC)},
            "started_before: a date is needed, not a datetime",
        ),
    ],
)
def test_wrong_types_are_named_before_anything_is_sent(
    client: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        client.assignments.list_overdue(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "late"}, "status: 'late' is not one of active, paused, completed, cancelled$"),
        ({"status": AssignmentStatus.UNSPECIFIED}, "status: 'unspecified' is not one of active,"),
        ({"org_id": "\ud800"}, "org_id: .*surrogates not allowed"),
        ({"limit": 2**40}, "limit: Value out of range"),
        ({"cutoff_date": datetime(2026, 3, 1)}, "cutoff_date: the datetime has no time zone"),  # noqa: DTZ001
    ],
)
def test_wrong_values_are_named_before_anything_is_sent(
    client: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        client.assignments.list_overdue(**fields)


def test_wrong_times_and_lists_are_named(client: Any) -> None:
    tell = client.assignments.update_last_contact
    with pytest.raises(ValueError, match="contact_date: the datetime has no time zone"):
        tell("asgn_001", contact_date=datetime(2026, 3, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="contact_date: a datetime is needed, not str"):
        tell("asgn_001", contact_date="2026-03-01")
    with pytest.raises(ValueError, match=r"^contact_date: "):
        tell("asgn_001", contact_date=datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))))
    with pytest.raises(TypeError, match="start_date: a date is needed, not a datetime"):
        client.assignments.create(**{**NEW_ASSIGNMENT, "start_date": CONTRACT_DAY})
    for mentors in ("mentor-482", b"mentor-482", 482):
        with pytest.raises(TypeError, match="mentor_ids: a sequence is needed"):
            client.templates.create(**{**NEW_TEMPLATE, "mentor_ids": mentors})
    with pytest.raises(TypeError, match="mentor_ids: a str is needed, not int"):
        client.templates.create(**{**NEW_TEMPLATE, "mentor_ids": [482]})
    with pytest.raises(TypeError, match="assignment_id: None is not allowed"):
        client.assignments.get(None)
    with pytest.raises(TypeError, match="mentee_name: None is not allowed"):
        client.assignments.create(**NEW_ASSIGNMENT, mentee_name=None)


def test_none_is_no_filter(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    assert list(client.assignments.list(org_id=None, status=None, limit=None)) == [made]
    assert list(client.assignments.list(org_id=UNSET)) == [made]


def test_what_is_required_has_to_be_given(client: Any) -> None:
    with pytest.raises(TypeError, match="required keyword-only argument"):
        client.assignments.create(mentee_id="user_088")
    with pytest.raises(TypeError, match="contact_date"):
        client.assignments.update_last_contact("asgn_001")


def test_a_request_id_may_be_a_uuid(client: Any) -> None:
    request_id = uuid.uuid4()
    made = client.assignments.create(**NEW_ASSIGNMENT, request_id=request_id)
    assert client.assignments.create(**NEW_ASSIGNMENT, request_id=str(request_id)) == made
    with pytest.raises(TypeError, match="request_id: a str is needed, not int"):
        client.assignments.create(**NEW_ASSIGNMENT, request_id=7)


def test_an_idempotency_key_of_the_metadata_stands_for_the_request_id(
    client_kind: str, client: Any
) -> None:
    metadata = {"Idempotency-Key": "import-7"}
    with opened(client_kind, client.address, metadata=metadata) as own:
        made = own.assignments.create(**NEW_ASSIGNMENT)
        assert own.assignments.create(**NEW_ASSIGNMENT) == made
    assert client.assignments.list().count() == 1


FRACTIONS = CONTRACT_DAY.replace(microsecond=120_000)


def test_values_become_the_json_of_rest_and_come_back(client: Any, rest: httpx.Client) -> None:
    bare = client.assignments.create(**NEW_ASSIGNMENT)
    full = client.assignments.create(**NEW_ASSIGNMENT, mentee_name="Łukasz „Lu” Bjørn")
    client.assignments.update_last_contact(full.assignment_id, contact_date=FRACTIONS)
    full = client.assignments.update(
        full.assignment_id, reminder_sent_at=CONTRACT_DAY, escalation_sent_at=FRACTIONS
    )
    bare = client.assignments.get(bare.assignment_id)
    template = client.templates.create(**NEW_TEMPLATE, excluded_dates=[date(2026, 4, 8)])
    plain = client.templates.create(**{**NEW_TEMPLATE, "mentor_ids": [], "notes_template": ""})
    for value, path in (
        (bare, f"assignments/{bare.assignment_id}"),
        (full, f"assignments/{full.assignment_id}"),
        (template, f"recurring-templates/{template.id}"),
        (plain, f"recurring-templates/{plain.id}"),
        (client.assignments.list(limit=1).page(1), "assignments?limit=1"),
        (client.templates.list().page(1), "recurring-templates"),
        (client.assignments.list(org_id="none").page(1), "assignments?org_id=none"),
    ):
        told = rest.get(f"/api/v1/{path}").json()
        assert value.to_dict() == told
        assert json.loads(value.to_json()) == told
        if not isinstance(value, Page):
            assert type(value).from_dict(told) == value


def test_days_of_a_list_are_dates_or_their_texts(client: Any) -> None:
    days = (date(2026, 4, 8), date(2026, 4, 22))
    made = client.templates.create(
        **NEW_TEMPLATE, starts_on=days[0], excluded_dates=[days[0], "2026-04-22"]
    )
    assert (made.starts_on, made.excluded_dates) == (days[0], days)
    assert client.templates.update(made.id, excluded_dates=days[:1]).excluded_dates == days[:1]
    assert client.templates.update(made.id, excluded_dates=[]).excluded_dates == ()
    for wrong in ("2026-04-08", days[0], [CONTRACT_DAY], [7], [None]):
        with pytest.raises(TypeError, match="excluded_dates: "):
            client.templates.update(made.id, excluded_dates=wrong)


def test_json_of_other_versions_is_read() -> None:
    told = {"assignment_id": "asgn_001", "status": "dreaming", "mood": "good"}
    read: Any = Assignment.from_dict(told)
    assert (read.assignment_id, read.status) == ("asgn_001", "unspecified")
    assert (read.mentee_name, read.created_at) == ("", None)
    assert Assignment.from_dict(read.to_dict()) == read


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], TypeError, r"^given: a mapping such as that of to_dict\(\) is needed, not list$"),
        ({"data": []}, ValueError, "^Assignment: none of its fields is there$"),
        ({"org_id": 7}, ValueError, "^Assignment: .*org_id"),
        ({"created_at": "yesterday"}, ValueError, "^Assignment: .*created_at"),
        ({"start_date": "2026-02-30"}, ValueError, "^Assignment: start_date: day is out of range"),
    ],
)
def test_what_is_no_json_of_a_value_is_refused(
    given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Assignment.from_dict(given)
    with pytest.raises(TypeError, match="message: a message Assignment is needed"):
        Assignment.from_message(given)


def test_no_name_of_a_person_is_shown(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT, mentee_name="Bjørn Solberg")
    for value in (made, client.assignments.list().page(1)):
        assert made.assignment_id in repr(value)
        assert "Solberg" not in repr(value)


def test_a_number_of_a_page_is_an_int(client: Any) -> None:
    with pytest.raises(TypeError, match=r"^number: an int is needed, not str$"):
        client.assignments.list().page("1")
    with pytest.raises(ValueError, match=r"^page: Value out of range"):
        client.assignments.list().page(2**40)


def test_unset_shows_itself_as_nothing() -> None:
    assert repr(UNSET) == "UNSET"
    assert not UNSET


def test_docstrings_speak_of_arguments_alone() -> None:
    update = inspect.getdoc(Client("127.0.0.1:1").assignments.update) or ""
    assert "reminder_sent_at: When the reminder of this cycle went out. None clears it." in update
    for owner in (Client("127.0.0.1:1").assignments, Client("127.0.0.1:1").templates):
        for _, method in inspect.getmembers(owner, inspect.ismethod):
            assert "update_mask" not in (method.__doc__ or "")


def test_values_are_frozen_and_slotted(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.status = "paused"
    assert hash(made) == hash(client.assignments.get(made.assignment_id))
