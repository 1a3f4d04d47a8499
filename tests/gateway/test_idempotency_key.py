"""Creates that are repeated over REST, with the header `Idempotency-Key`."""

from typing import Any

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE

KEY = {"Idempotency-Key": "0c7c5ab2-3a0c-4ba6-9a39-6a8b6a1a8f0e"}
CREATES = [
    pytest.param("/api/v1/assignments", NEW_ASSIGNMENT, id="assignment"),
    pytest.param("/api/v1/recurring-templates", NEW_TEMPLATE, id="template"),
]

each_create = pytest.mark.parametrize(("path", "body"), CREATES)


def total(rest: httpx.Client, path: str) -> int:
    return int(rest.get(path).json()["pagination"]["total"])


@each_create
def test_a_repeat_is_answered_with_what_the_first_made(
    rest: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    first = rest.post(path, json=body, headers=KEY)
    again = rest.post(path, json=body, headers=KEY)
    by_field = rest.post(path, json=body | {"request_id": KEY["Idempotency-Key"]})

    assert first.status_code == 200, first.text
    assert again.json() == by_field.json() == first.json()
    assert total(rest, path) == 1


@each_create
def test_other_content_is_a_conflict(rest: httpx.Client, path: str, body: dict[str, Any]) -> None:
    rest.post(path, json=body, headers=KEY)

    answer = rest.post(path, json=body | {"coordinator_id": "another"}, headers=KEY)

    assert answer.status_code == 409
    assert answer.json()["code"] == 6
    assert answer.json()["details"][0]["reason"] == "REQUEST_ID_REUSED"
    assert total(rest, path) == 1


@each_create
@pytest.mark.parametrize(
    ("headers", "request_id", "field"),
    [
        (KEY, "another", "request_id"),
        ({"Idempotency-Key": "x" * 65}, None, "idempotency-key"),
        ({"Idempotency-Key": "two words"}, None, "idempotency-key"),
        ({"Idempotency-Key": ""}, None, "idempotency-key"),
    ],
)
def test_a_header_that_cannot_be_is_refused_by_its_name(
    rest: httpx.Client,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    request_id: str | None,
    field: str,
) -> None:
    answer = rest.post(path, json=body | {"request_id": request_id}, headers=headers)

    assert answer.status_code == 400
    violations = answer.json()["details"][1]["field_violations"]
    assert [each["field"] for each in violations] == [field]
    assert total(rest, path) == 0


@pytest.mark.parametrize("key", ["x" * 65, "two words", "", "é"])
def test_a_header_that_cannot_be_is_refused_by_updates_too(rest: httpx.Client, key: str) -> None:
    rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT)
    headers = {b"Idempotency-Key": key.encode()}
    for path in ("", "/last-contact"):
        url = f"/api/v1/assignments/asgn_001{path}"
        body = {"contact_date": "2026-03-26T10:00:00Z"} if path else {"org_id": "org_04"}
        answer = rest.put(url, json=body, headers=headers)
        assert answer.status_code == 400, answer.text
        (violation,) = answer.json()["details"][1]["field_violations"]
        assert violation["field"] == "idempotency-key"


def test_the_header_means_nothing_to_other_calls(rest: httpx.Client) -> None:
    rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT)
    for org_id in ("org_04", "org_05"):
        answer = rest.put("/api/v1/assignments/asgn_001", json={"org_id": org_id}, headers=KEY)
        assert answer.json()["org_id"] == org_id
