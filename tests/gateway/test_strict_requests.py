"""`Prefer: handling=strict`: fields that no request knows are refused, and named."""

from typing import Any

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, refused_field

A = "/api/v1/assignments"
T = "/api/v1/recurring-templates"
STRICT = {"Prefer": "handling=strict"}
CONTACT = {"contact_date": "2026-03-26T09:45:00Z", "contact_type": "call"}

# Every request with a body.
WRITES = [
    pytest.param("POST", A, NEW_ASSIGNMENT, id="create assignment"),
    pytest.param("PUT", f"{A}/asgn_001", {"status": "paused"}, id="update assignment"),
    pytest.param("PUT", f"{A}/asgn_001/last-contact", CONTACT, id="last contact"),
    pytest.param("POST", T, NEW_TEMPLATE, id="create template"),
    pytest.param("PUT", f"{T}/rt-001", {"name": "Walk"}, id="update template"),
]
each_write = pytest.mark.parametrize(("method", "path", "body"), WRITES)


@pytest.fixture
def rest(rest: httpx.Client) -> httpx.Client:
    """The gateway, with one assignment and one template behind it."""
    rest.post(A, json=NEW_ASSIGNMENT)
    rest.post(T, json=NEW_TEMPLATE)
    return rest


@each_write
def test_a_misspelt_field_is_refused_and_named(
    method: str, path: str, body: dict[str, Any], rest: httpx.Client
) -> None:
    before = rest.get(A).json(), rest.get(T).json()

    answer = rest.request(method, path, json=body | {"asigned_to": "user_042"}, headers=STRICT)

    assert answer.status_code == 400
    assert answer.headers["preference-applied"] == "handling=strict"
    assert answer.json() == refused_field("asigned_to", "there is no such field")
    assert (rest.get(A).json(), rest.get(T).json()) == before


@each_write
def test_without_the_header_it_is_ignored(
    method: str, path: str, body: dict[str, Any], rest: httpx.Client
) -> None:
    answer = rest.request(method, path, json=body | {"asigned_to": "user_042"})
    assert answer.status_code == 200, answer.text
    assert "preference-applied" not in answer.headers


@each_write
@pytest.mark.parametrize("spelling", ["snake_case", "lowerCamelCase"])
def test_known_fields_are_taken_in_both_spellings(
    spelling: str, method: str, path: str, body: dict[str, Any], rest: httpx.Client
) -> None:
    if spelling == "lowerCamelCase":
        body = {camel(name): value for name, value in body.items()}
    answer = rest.request(method, path, json=body, headers=STRICT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["preference-applied"] == "handling=strict"


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def test_the_shape_is_that_of_the_servers_own_refusals(rest: httpx.Client) -> None:
    by_server = rest.put(f"{A}/asgn_001", json={"org_id": ""}).json()
    by_gateway = rest.put(f"{A}/asgn_001", json={"og_id": ""}, headers=STRICT).json()
    assert without_texts(by_gateway) == without_texts(by_server)


def without_texts(error: dict[str, Any]) -> dict[str, Any]:
    info, bad_request = error["details"]
    violations = [set(each) for each in bad_request["field_violations"]]
    return error | {
        "message": "",
        "details": [info, bad_request | {"field_violations": violations}],
    }


def test_every_unknown_field_is_named_and_the_message_stays_short(rest: httpx.Client) -> None:
    names = [f"field_{number}" for number in range(900)]
    answer = rest.put(f"{A}/asgn_001", json=dict.fromkeys(names, 1), headers=STRICT).json()
    violations = answer["details"][1]["field_violations"]
    assert [each["field"] for each in violations] == names
    assert answer["message"].startswith("field_0: there is no such field; field_1: there is")
    assert answer["message"].endswith("field_4: there is no such field; and 895 more")


@pytest.mark.parametrize(
    "spelt",
    [
        "peerMentor_id",  # a mixture
        "PeerMentorId",
        "peer-mentor-id",
        "mentee_id",  # of another request
        "created_at",  # of the answer
        "@type",
        "é🧑\u2028",
        r"\u00ff\u0000\"\\",
        "%LOCAL_REPLY_BODY%",
        "a" * 10_000,
    ],
)
def test_a_field_is_named_as_it_is_spelt(spelt: str, rest: httpx.Client) -> None:
    headers = STRICT | {"content-type": "application/json"}
    body = f'{{"status":"paused","{spelt}":1}}'
    answer = rest.put(f"{A}/asgn_001", content=body.encode(), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"] == f"{spelt}: there is no such field"
    (violation,) = answer.json()["details"][1]["field_violations"]
    assert violation["field"] == spelt


def test_of_an_unknown_object_its_own_name_is_enough(rest: httpx.Client) -> None:
    body = {"colour": {"red": [{"status": 1}]}}
    answer = rest.put(f"{A}/asgn_001", json=body, headers=STRICT)
    assert answer.json()["message"] == "colour: there is no such field"


def test_an_escaped_name_is_the_field_that_it_spells(rest: httpx.Client) -> None:
    headers = STRICT | {"content-type": "application/json"}
    answer = rest.put(f"{A}/asgn_001", content=rb'{"st\u0061tus":"paused"}', headers=headers)
    assert answer.json()["status"] == "paused"


@pytest.mark.parametrize(
    "prefer",
    [
        "handling=strict",
        "Handling = Strict",
        'handling="strict"',
        "respond-async, handling=strict; a=b",
        'x="a, \\"handling=lenient", wait=10,handling=strict',
        "handling=strict, handling=lenient",
    ],
)
def test_strict_is_understood(prefer: str, rest: httpx.Client) -> None:
    answer = rest.put(f"{A}/asgn_001", json={"colour": 1}, headers={"Prefer": prefer})
    assert answer.json()["message"] == "colour: there is no such field"


@pytest.mark.parametrize(
    "prefer",
    [
        "",
        "handling",
        "handling=lenient",
        "handling=stricter",
        "handling=lenient, handling=strict",
        "strict",
        "wait=10; handling=strict",
        'x="a, handling=strict"',
        ",;=,",
        '"',
        "handling=" + "strict" * 1000,
    ],
)
def test_other_preferences_change_nothing(prefer: str, rest: httpx.Client) -> None:
    body = {"status": "paused", "colour": 1}
    answer = rest.put(f"{A}/asgn_001", json=body, headers={"Prefer": prefer})
    assert answer.status_code == 200, answer.text
    assert "preference-applied" not in answer.headers


def test_two_headers_are_one_list(rest: httpx.Client) -> None:
    headers = [("Prefer", "return=minimal"), ("Prefer", "handling=strict")]
    answer = rest.put(f"{A}/asgn_001", json={"colour": 1}, headers=headers)
    assert answer.json()["message"] == "colour: there is no such field"


@pytest.mark.parametrize("headers", [{}, STRICT])
def test_unknown_query_parameters_are_refused_in_any_case(
    headers: dict[str, str], rest: httpx.Client
) -> None:
    answer = rest.get(A, params={"colour": "red"}, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"] == 'unknown query parameter "colour"'


def test_what_is_no_json_is_said_first(rest: httpx.Client) -> None:
    headers = STRICT | {"content-type": "application/json"}
    answer = rest.put(f"{A}/asgn_001", content=b'{"colour":1,}', headers=headers)
    assert answer.json()["message"] == "malformed JSON at byte 13"


def test_answers_without_a_request_body_tell_that_it_was_applied(rest: httpx.Client) -> None:
    for method in ("GET", "DELETE"):
        answer = rest.request(method, f"{A}/asgn_001", headers=STRICT)
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "handling=strict"
