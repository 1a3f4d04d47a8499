"""What stands for a space in a query, and what for a plus."""

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT

A = "/api/v1/assignments"
CONTACT = {"contact_date": "2026-03-10T14:30:00Z", "contact_type": "a walk, 1+1"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("asgn_001/contacts?contact_type=a+walk,+1%2B1", 1),
        ("asgn_001/contacts?contact_type=a%20walk,%201%2B1", 1),
        ("asgn_001/contacts?contact_type=a+walk,+1+1", 0),
        ("overdue?cutoff_date=2026-03-10T15:30:00+01:00", 0),
        ("overdue?cutoff_date=2026-03-10T15:30:01+01:00", 1),
        ("overdue?cutoff_date=2026-03-10+15%3A30%3A01%2B01%3A00", 1),
        ("overdue?cutoff_date=2026-03-10+15:30:01+01:00", 1),
    ],
)
def test_a_plus_is_a_space_but_for_that_before_an_offset(
    rest: httpx.Client, path: str, found: int
) -> None:
    rest.post(A, json=NEW_ASSIGNMENT)
    rest.put(f"{A}/asgn_001/last-contact", json=CONTACT)
    answer = rest.get(f"{A}/{path}")
    assert (answer.status_code, answer.json()["pagination"]["total"]) == (200, found)
