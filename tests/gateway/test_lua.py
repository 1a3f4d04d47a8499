"""The modules of gateway/ alone, in LuaJIT: each rule at its limit and one past it."""

import json as python_json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lua import LINES_RUN, ROOT, Lua, to_python

FILES = sorted((ROOT / "gateway").glob("*.lua"))
CALL = b"PUT /api/v1/recurring-templates/{id}"


@pytest.fixture(scope="module")
def lua() -> Iterator[Lua]:
    state = Lua()
    file = os.environ.get(LINES_RUN)
    if file:
        state.note_lines()
    yield state
    if file:
        Path(file).write_text(python_json.dumps(state.lines_run()))


# --- JSON ---


GOOD = [
    "{}",
    ' {"a" : [ ] , "b":\t{"a":{}}}\r\n',
    r'{"a":"\"\\\/\b\f\n\r\t\u0041\uD83D\uDE00"}',
    '{"a":-0.5e+10,"b":0,"c":1E5,"d":true,"e":false,"f":null}',
    '{"a":"\u00e4\u20ac\U0001f600"}',
    '{"a":{"b":1},"b":[{"b":1},{"b":1}]}',
    '{"a":1e308}',
]
BAD = [
    '{"a":1,}',
    '{"a":[1,]}',
    "{'a':1}",
    "{a:1}",
    '{"a" 1}',
    '{"a":1 "b":2}',
    '{"a":01}',
    '{"a":+1}',
    '{"a":1.}',
    '{"a":.5}',
    '{"a":1e}',
    '{"a":NaN}',
    '{"a":True}',
    '{"a":nul}',
    '{"a":"\\x"}',
    '{"a":"\\u12"}',
    '{"a":"\\uD83D"}',
    '{"a":"\\uDE00"}',
    '{"a":"\n"}',
    '{"a":"\0"}',
    '{"a":"',
    '{"a":[1',
    "{} {}",
    "{",
]


def read(lua: Lua, text: str | bytes) -> tuple[dict[str, Any] | None, list[tuple[Any, ...]]]:
    """Return the refusal, if any, and the fields that were told of."""
    fields: list[tuple[Any, ...]] = []
    each = lambda *field: fields.append(tuple(to_python(part) for part in field))  # noqa: E731
    raw = text.encode() if isinstance(text, str) else text
    return lua.refusal(lua.module("json").read_object, raw, each), fields


@pytest.mark.parametrize("text", GOOD)
def test_what_is_json_is_read(lua: Lua, text: str) -> None:
    refusal, fields = read(lua, text)
    assert refusal is None
    assert [name for name, *_ in fields] == list(python_json.loads(text))


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_is_refused_with_the_place(lua: Lua, text: str) -> None:
    refusal, _ = read(lua, text)
    assert refusal is not None
    assert refusal["status"] == 400
    assert re.fullmatch(r"malformed JSON at byte \d+", refusal["message"])


def test_each_field_of_the_outermost_object_is_told_with_kind_and_place(lua: Lua) -> None:
    text = r'{"peer\u004dentorId": "x", "list": ["a"], "mixed": ["a", 1], "o": {"p": 1}, "n": null}'
    _, fields = read(lua, text)
    assert [(name, kind, text[start - 1 : stop]) for name, _, kind, start, stop in fields] == [
        ("peer_mentor_id", "string", '"x"'),
        ("list", "list of texts", '["a"]'),
        ("mixed", "list", '["a", 1]'),
        ("o", "object", '{"p": 1}'),
        ("n", "null", "null"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the body must be a JSON object"),
        ("", "the body must be a JSON object"),
        (b'{"a":"\xff"}', "the body is not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "the body is not UTF-8"),
        (b'{"a":"\xc0\x80"}', "the body is not UTF-8"),
        ('{"":1}', "a field has no name"),
        ('{"a_b":1,"aB":2}', "a_b: given more than once"),
        ('{"o":{"a":1,"\\u0061":2}}', "a: given more than once"),
        ('{"a":{"b":1e400}}', "a: the number is too large"),
        ('{"a":' + "[" * 32 + "]" * 32 + "}", "the JSON is nested too deeply"),
        ('{"a":[' + ",".join("1" * 999) + "]}", "the JSON has too many values"),
    ],
)
def test_what_a_body_must_not_be(lua: Lua, text: str | bytes, message: str) -> None:
    refusal, _ = read(lua, text)
    assert refusal is not None
    assert refusal["message"] == message


@pytest.mark.parametrize("inside", ["[" * 31 + "]" * 31, "[" + ",".join("1" * 998) + "]"])
def test_a_body_may_be_as_deep_and_as_long_as_that(lua: Lua, inside: str) -> None:
    assert read(lua, f'{{"a":{inside}}}')[0] is None


# --- Bodies ---


def check(lua: Lua, body: str, *, strict: bool = False) -> dict[str, Any] | None:
    call = lua.module("contract").calls[CALL]
    return lua.refusal(lua.module("body").check, body.encode(), call, strict)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"is_active":"yes"}', "is_active: must be true or false"),
        ('{"mentor_ids":"m"}', "mentor_ids: must be a list of texts"),
        ('{"mentorIds":[1]}', "mentor_ids: must be a list of texts"),
        ('{"name":["n"]}', "name: must not be a list"),
        ('{"name":{}}', "name: must not be an object"),
    ],
)
def test_a_value_of_another_kind_is_refused(lua: Lua, body: str, message: str) -> None:
    refusal = check(lua, body)
    assert refusal is not None
    assert (refusal["status"], refusal["message"]) == (400, message)


def test_unknown_fields_are_refused_to_those_who_ask_for_it(lua: Lua) -> None:
    body = python_json.dumps({"name": "n", "mentorIds": []} | {f"x{n}": 1 for n in range(7)})
    assert check(lua, body) is None
    refusal = check(lua, body, strict=True)
    assert refusal is not None
    assert [each["field"] for each in refusal["violations"]] == [f"x{n}" for n in range(7)]
    assert refusal["message"].endswith("x4: there is no such field; and 2 more")


def test_the_id_that_makes_a_create_repeatable_is_seen(lua: Lua) -> None:
    call = lua.module("contract").calls[b"POST /api/v1/assignments"]
    for body, seen in ((b'{"requestId":"r"}', True), (b'{"request_id":null}', False)):
        assert lua.module("body").check(body, call, False) == (body, seen)


def test_an_instant_keeps_its_length(lua: Lua) -> None:
    call = lua.module("contract").calls[b"PUT /api/v1/assignments/{assignment_id}/last-contact"]
    body = rb'{"contact_date":"2026-03-26t09:45:00\u007a","contact_type":"call"}'
    tidied, _ = lua.module("body").check(body, call, False)
    assert len(tidied) == len(body)
    assert python_json.loads(tidied)["contact_date"] == "2026-03-26T09:45:00Z"


def test_what_is_no_instant_is_refused_by_its_field(lua: Lua) -> None:
    call = lua.module("contract").calls[b"PUT /api/v1/assignments/{assignment_id}/last-contact"]
    body = b'{"contact_date":"26-3-26T1:0:60Z"}'
    refusal = lua.refusal(lua.module("body").check, body, call, False)
    assert refusal is not None
    assert [each["field"] for each in refusal["violations"]] == ["contact_date"]


@pytest.mark.parametrize(
    ("content_type", "encoding", "status"),
    [
        ("application/json", None, None),
        (" Application/JSON ; charset=utf-8", "identity", None),
        ("application/json", "gzip", 415),
        ("application/json, text/plain", None, 415),
        ("text/plain", None, 415),
        (None, None, 415),
    ],
)
def test_which_types_of_body_there_are(
    lua: Lua, content_type: str | None, encoding: str | None, status: int | None
) -> None:
    call = lua.module("contract").calls[CALL]
    given = [text and text.encode() for text in (content_type, encoding)]
    refusal = lua.refusal(lua.module("body").check_type, b"PUT", call, *given)
    assert (refusal and refusal["status"]) == status


def test_what_takes_no_body_refuses_one(lua: Lua) -> None:
    call = lua.module("contract").calls[b"GET /api/v1/assignments"]
    refusal = lua.refusal(lua.module("body").check_type, b"GET", call, b"application/json")
    assert refusal is not None
    assert refusal["message"] == "GET takes no request body"


# --- URLs and headers ---


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/api/v1/assignments/overdue?limit=1", None),
        ("HEAD", "/api/v1/assignments/overdue", None),
        ("PUT", "/api/v1/assignments/overdue", 405),
        ("PUT", "/api/v1/assignments/asgn_001", None),
        ("PUT", "/api/v1/assignments/asgn_001?status=active", 400),
        ("GET", "/api/v1/assignments/", 404),
        ("GET", "/api/v1xassignments", 404),
        ("GET", "/api/v1/assignments/a/b/c", 404),
        ("GET", "/api/v1/assignments/%2e.;x=1", 400),
        ("GET", "/api/v1/assignments?limit", 400),
        ("GET", "/api/v1/assignments?=1", 400),
        ("GET", "/api/v1/assignments?org_id=%00", 400),
        ("GET", "/api/v1/assignments?org_id=%zz", 400),
        ("GET", "/api/v1/assignments?org_id=%ff", 400),
        ("POST", "/healthz", 405),
    ],
)
def test_which_calls_there_are(lua: Lua, method: str, url: str, status: int | None) -> None:
    refusal = lua.refusal(lua.module("url").check, method.encode(), url.encode())
    assert (refusal and refusal["status"]) == status


@pytest.mark.parametrize(("length", "refused"), [(8192, False), (8193, True)])
def test_how_long_a_url_may_be(lua: Lua, length: int, refused: bool) -> None:
    assert bool(lua.refusal(lua.module("url").check_length, b"/" * length)) is refused


def test_a_doubled_base_is_one(lua: Lua) -> None:
    short = lua.module("url").without_doubled_base
    assert short(b"/api/v1/assignments/api/v1/assignments/a") == b"/api/v1/assignments/a"
    assert short(b"/api/v1/assignments/a") == b"/api/v1/assignments/a"


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("", ""),
        ("?a=b+c&d=+", "?a=b%20c&d=%20"),
        ("?a=b%2Bc", "?a=b%2Bc"),
        ("?a=b=c+d", "?a=b=c%20d"),
        ("?a+b=c", "?a+b=c"),
        ("?a=2026-03-20T01:00:00+01:00&b=c+d", "?a=2026-03-20T01:00:00+01:00&b=c%20d"),
        ("?a=2026-03-20+01%3a00%3A00.5+01%3A00", "?a=2026-03-20%2001%3a00%3A00.5+01%3A00"),
        ("?a=at+10:00+11:00", "?a=at%2010:00%2011:00"),
    ],
)
def test_a_plus_in_a_query_is_a_space_but_for_that_of_an_offset(
    lua: Lua, query: str, read: str
) -> None:
    path = "/api/v1/assignments/a+b"
    assert lua.module("url").without_plus(f"{path}{query}".encode()) == f"{path}{read}".encode()


# --- Answers ---


def test_nulls_are_added_where_nothing_is_set(lua: Lua) -> None:
    nullable = lua.module("contract").nulls[b"peermentor.v1.ListAssignmentsResponse"]
    first: dict[str, Any] = {
        "assignment_id": "a",
        "mentee_name": '","status":"',
        "status": "active",
    }
    rows = [first, first | {"days_since_contact": 3}]
    text = python_json.dumps({"data": rows}, separators=(",", ":")).encode()
    added = python_json.loads(lua.module("nulls").added(text, nullable))["data"]
    unset: dict[str, Any] = dict.fromkeys(to_python(nullable)["fields"])
    assert added == [unset | row for row in rows]


@pytest.mark.parametrize(
    ("json", "etag"),
    [
        (r'{"id":"a","etag":"\"7-2.13\""}', b'"7-2.13"'),
        (r'{"id":",\"etag\":\"\\\"1\\\"\"","etag":"\"7\"","name":"x"}', b'"7"'),
        (r'{"id":"a","etag":""}', None),
        (r'{"etagged":"\"7\"","a":"\"7\""}', None),
    ],
)
def test_the_etag_of_an_answer_is_that_of_its_field(
    lua: Lua, json: str, etag: bytes | None
) -> None:
    assert lua.module("etags").of(json.encode()) == etag


@pytest.mark.parametrize(
    ("known", "is_among"),
    [
        (b'"7"', True),
        (b'W/"7"', True),
        (b'"6" , W/"7"', True),
        (b"*", True),
        (b'"77"', False),
        (b"7", False),
        (b"", False),
    ],
)
def test_who_names_the_etag_has_the_answer(lua: Lua, known: bytes, *, is_among: bool) -> None:
    assert lua.module("etags").is_among(b'"7"', known) is is_among


def in_our_words(lua: Lua, message: str) -> Any:
    """Return the gateway's refusal in its last form."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "peermentor"}
    info |= {"metadata": {}, "reason": "MALFORMED_REQUEST"}  # type: ignore[dict-item]
    refusal = {"code": 3, "details": [info], "message": message}
    json = python_json.dumps(refusal, separators=(",", ":"))
    return python_json.loads(lua.module("transcoder_errors").in_our_words(json.encode()))


TIMESTAMP = "type.googleapis.com/google.protobuf.Timestamp"


@pytest.mark.parametrize(
    ("said", "field", "description"),
    [
        ('page: invalid value "x" for type TYPE_INT32', "page", "must be a whole number of at"),
        (f'contact_date: invalid value "soon" for type {TIMESTAMP}', "contact_date", "must be a"),
        ('status: invalid value "x" for type TYPE_OTHER', "status", "is not a known value"),
        ("oneof field '_name' is already set. Cannot set 'x'", "name", "given more than once"),
        (
            "The binding value x of the field id is conflicting with the value",
            "id",
            "the body contradicts the path",
        ),
        ('Could not find field "x" in the type "T".', "x", "there is no such query parameter"),
        ('Encountered a non-leaf field "x" in the middle', "x", "there is no such query parameter"),
    ],
)
def test_what_the_transcoder_refuses_is_said_by_field(
    lua: Lua, said: str, field: str, description: str
) -> None:
    answer = in_our_words(lua, said)
    assert [detail.get("reason") for detail in answer["details"]] == ["INVALID_FIELD", None]
    [violation] = answer["details"][1]["field_violations"]
    assert violation["field"] == field
    assert violation["description"].startswith(description)
    assert field in answer["message"]


def test_what_else_the_transcoder_says_is_kept_back(lua: Lua) -> None:
    assert in_our_words(lua, "protobuf.cc:12 went wrong")["message"] == "malformed request"
    own = "header names must not have underscores"
    assert in_our_words(lua, own)["message"] == own


def test_what_the_server_refuses_is_left_as_it_is(lua: Lua) -> None:
    answer = b'{"code":3,"message":"page: must not be negative"}'
    assert lua.module("transcoder_errors").in_our_words(answer) == answer


# --- The files themselves ---


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_compiles_and_sets_no_global_but_what_envoy_calls(file: Path) -> None:
    """Without a linter for Lua: the compiled code names each global that it reads or sets."""
    names = Lua().globals_of(file)
    assert ("require" in names["read"]) is ("require(" in file.read_text(encoding="utf-8"))
    assert names["set"] <= {"envoy_on_request", "envoy_on_response"}
    known = "require error ipairs pairs pcall tonumber tostring type math string table jit"
    assert names["read"] <= set(known.split()) | names["set"]
