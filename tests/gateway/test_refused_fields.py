"""What the gateway refuses is told in the very details in which the service tells of it."""

from typing import Any

import httpx
import pytest

from peermentor.v1.assignments_pb2 import Assignment
from support.factories import NEW_ASSIGNMENT

A = "/api/v1/assignments"
T = "/api/v1/recurring-templates"
ONE = f"{A}/asgn_001"
JSON = {"content-type": "application/json"}
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@pytest.fixture
def rest(rest: httpx.Client) -> httpx.Client:
    """The gateway, with one assignment behind it."""
    rest.post(A, json=NEW_ASSIGNMENT)
    return rest


def assert_names(error: dict[str, Any], field: str, description: str) -> None:
    info, bad_request = error["details"]
    assert info == {
        "@type": INFO,
        "reason": "INVALID_FIELD",
        "domain": "peermentor",
        "metadata": {},
    }
    (violation,) = bad_request["field_violations"]
    assert bad_request["@type"] == BAD_REQUEST
    assert violation["field"] == field
    assert description in violation["description"]
    assert error["code"] == 3
    assert field in error["message"]


@pytest.mark.parametrize(
    ("query", "field", "description"),
    [
        ("limit=abc", "limit", "must be a whole number"),
        ("limit=", "limit", "must be a whole number"),
        ("limit=1.5", "limit", "must be a whole number"),
        ("limit=true", "limit", "must be a whole number"),
        ("page=18446744073709551616", "page", "must be a whole number"),
        ("status=open", "status", "active, paused, completed, cancelled"),
        ("status=", "status", "active, paused, completed, cancelled"),
        ("colour=red", "colour", "there is no such query parameter"),
        ("status.x=1", "status", "there is no such query parameter"),
        ("a%22b=1", "a%22b", "there is no such query parameter"),
        ("reminded=maybe", "reminded", "must be true or false"),
        ("escalated=", "escalated", "must be true or false"),
        (
            "updated_after=lately",
            "updated_after",
            "must be a date such as 2026-03-26, or an instant",
        ),
        ("page=1&page=2", "page", "given more than once"),
        ("page_token=a&pageToken=b", "page_token", "given more than once"),
        ("page", "page", "must be a name and a value"),
    ],
)
def test_a_query_parameter(query: str, field: str, description: str, rest: httpx.Client) -> None:
    answer = rest.get(f"{A}?{query}")
    assert answer.status_code == 400
    assert_names(answer.json(), field, description)


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "description"),
    [
        ("PUT", f"{ONE}/last-contact", '{"contact_date":"2026-03-26"}', "contact_date", "a time"),
        ("PUT", f"{ONE}/last-contact", '{"contact_date":5}', "contact_date", "a time"),
        ("PUT", ONE, '{"status":"open"}', "status", "active, paused, completed, cancelled"),
        ("PUT", ONE, '{"status":true}', "status", "active, paused, completed, cancelled"),
        ("PUT", ONE, '{"status":["active"]}', "status", "must not be a list"),
        ("PUT", ONE, '{"org_id":5}', "org_id", "must be a text"),
        ("PUT", ONE, '{"orgId":5}', "org_id", "must be a text"),
        ("PUT", ONE, '{"org_id":true}', "org_id", "must be a text"),
        ("PUT", ONE, '{"org_id":{}}', "org_id", "must not be an object"),
        ("PUT", ONE, '{"update_mask":5}', "update_mask", "must be names of fields"),
        ("PUT", ONE, '{"assignment_id":"asgn_002"}', "assignment_id", "contradicts the path"),
        ("POST", T, '{"duration_minutes":"abc"}', "duration_minutes", "must be a whole number"),
        ("POST", T, '{"duration_minutes":1.5}', "duration_minutes", "must be a whole number"),
        ("POST", T, '{"duration_minutes":2147483648}', "duration_minutes", "a whole number"),
        ("POST", T, '{"duration_minutes":1e99}', "duration_minutes", "must be a whole number"),
        ("POST", T, '{"duration_minutes":1e999}', "duration_minutes", "too large"),
        ("POST", T, '{"name":"a","duration_minutes":true}', "duration_minutes", "a whole number"),
        ("POST", T, '{"is_active":"yes"}', "is_active", "must be true or false"),
        ("POST", T, '{"mentor_ids":[1]}', "mentor_ids", "must be a list of texts"),
        ("POST", T, '{"name":"a","name":"b"}', "name", "given more than once"),
        ("POST", f"{T}?name=a", "{}", "name", "there is no such query parameter"),
    ],
)
def test_a_field_of_a_body(
    method: str, path: str, body: str, field: str, description: str, rest: httpx.Client
) -> None:
    answer = rest.request(method, path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert_names(answer.json(), field, description)


@pytest.mark.parametrize("body", ["{", "[]", '{"name":"a"}}', '{"":1}', '{"name":"\\ud800"}'])
def test_what_is_no_request_at_all_has_a_reason(body: str, rest: httpx.Client) -> None:
    answer = rest.post(T, content=body, headers=JSON)
    assert answer.status_code == 400
    assert_malformed(answer)


@pytest.mark.parametrize("path", [f"{A}/%FF", f"{A}/a%zz", f"{A}/a%2Fb", f"{A}/..;/x"])
def test_so_has_a_path_that_is_none(path: str, rest: httpx.Client) -> None:
    assert_malformed(rest.get(path))


def test_so_has_a_header_that_is_none(rest: httpx.Client) -> None:
    answer = rest.get(A, headers={"x_test": "1"})
    assert_malformed(answer)
    assert answer.json()["message"] == "header names must not have underscores"


def assert_malformed(answer: httpx.Response) -> None:
    (info,) = answer.json()["details"]
    assert info == {
        "@type": INFO,
        "reason": "MALFORMED_REQUEST",
        "domain": "peermentor",
        "metadata": {},
    }


def test_the_statuses_that_the_gateway_names_are_those_there_are(rest: httpx.Client) -> None:
    answer = rest.get(f"{A}?status=open").json()
    names = [name for name in Assignment.Status.keys() if name != "unspecified"]  # noqa: SIM118
    assert answer["message"].endswith(f"must be one of {', '.join(names)}")
