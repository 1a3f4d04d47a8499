"""Every method of the SDK, on both clients and against the real server."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from peermentor import AssignmentStatus, InvalidArgument, NotFound
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


def test_templates(client: Any) -> None:
    made = client.templates.create(**NEW_TEMPLATE)
    assert client.templates.get(made.id) == made
    assert list(client.templates.list()) == [made]
    assert list(client.templates.list_by_coordinator("coord-119")) == [made]
    assert list(client.templates.list_by_organization("org-45")) == []
    client.templates.delete(made.id)
    assert list(client.templates.list()) == []


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"org_id": None}, TypeError, "org_id: None is no value"),
        ({"org_id": 3}, TypeError, "org_id: "),
        ({"status": "late"}, ValueError, "status: 'late' is none of unspecified, active"),
    ],
)
def test_wrong_values_are_named_before_anything_is_sent(
    client: Any, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client.assignments.list(**fields)


def test_wrong_times_and_lists_are_named(client: Any) -> None:
    with pytest.raises(ValueError, match="contact_date: the datetime has no time zone"):
        client.assignments.update_last_contact("asgn_001", contact_date=datetime(2026, 3, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="contact_date: a datetime is needed"):
        client.assignments.update_last_contact("asgn_001", contact_date="2026-03-01")
    with pytest.raises(TypeError, match="mentor_ids: a sequence is needed"):
        client.templates.create(mentor_ids="mentor-482")
    with pytest.raises(TypeError, match="assignment_id: None is no value"):
        client.assignments.get(None)


def test_values_are_frozen_and_slotted(client: Any) -> None:
    made = client.assignments.create(**NEW_ASSIGNMENT)
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.status = "paused"
    assert hash(made) == hash(client.assignments.get(made.assignment_id))
