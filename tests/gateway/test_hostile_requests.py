"""Mistaken and hostile requests, through the real gateway: one row, one request.

Whoever refuses, the gateway or the server behind it, the answer has the one error shape and
tells nothing about the inside; and the next good request is answered.
"""

import http.client
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1 import assignments_pb2, templates_pb2
from support import openapi
from support.edges import edge_with
from support.lua import contract
from support.torture import either

A = "/api/v1/assignments"
T = "/api/v1/recurring-templates"
JSON = "Content-Type: application/json"
KIB = 1024
MIB = 1024 * KIB

# The gRPC codes that an answer of this status may carry.
CODES = {
    400: {3, 9, 11},
    404: {5},
    405: {12},
    413: {3},
    414: {3},
    415: {3},
    421: {7},
    426: {3},
    431: {3},
    501: {12},
}
INTERNALS = re.compile(
    r"envoy|upstream|proto|psycopg|sqlite|Traceback|127\.0\.0\.1|TYPE_", re.IGNORECASE
)


@dataclass(frozen=True)
class Row:
    """A request as it goes over the wire, the expected status, and a part of the message."""

    name: str
    request: bytes
    status: int
    message: str = ""


def row(
    name: str,
    line: str,
    status: int,
    message: str = "",
    *,
    headers: tuple[str, ...] = (),
    body: bytes | str | None = None,
) -> Row:
    """Build a row from a request line; a body brings its length along."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{line} HTTP/1.1", "Host: localhost", *headers]
    if content is not None:
        lines.append(f"Content-Length: {len(content)}")
    return Row(name, "\r\n".join([*lines, "", ""]).encode() + (content or b""), status, message)


def post(name: str, body: bytes | str, status: int, message: str = "") -> Row:
    return row(f"POST: {name}", f"POST {T}", status, message, headers=(JSON,), body=body)


def put(name: str, body: str, status: int, message: str = "") -> Row:
    return row(f"PUT: {name}", f"PUT {A}/asgn_001", status, message, headers=(JSON,), body=body)


PATHS = [
    row("root", "GET /", 404, "no such path"),
    row("unknown path", "GET /nothing", 404, "no such path"),
    row("unknown version", "GET /api/v2/assignments", 404),
    row("other case", "GET /api/v1/Assignments", 404),
    row("trailing slash", f"GET {A}/", 404),
    row("trailing slash behind an id", f"GET {A}/asgn_001/", 404),
    row("one segment too many", f"GET {A}/asgn_001/more", 404),
    row("path parameter", f"GET {A};a=b", 404),
    row("base path three times", f"GET {A}{A}{A}", 404),
    row("two base paths", f"GET {A}{T}", 404),
    row("climbing out", f"GET {A}/../../../etc/passwd", 404),
    row("climbing out of a route", f"GET {A}/asgn_001/../../../../admin", 404),
    *(
        row(f"dots with parameters, {path}", f"GET {path}", 400, "dots with parameters")
        for path in (
            f"{A}/..;/secret",
            f"{A}/..;",
            f"{A}/x/..;/asgn_001",
            f"{A}/..;/recurring-templates",
            f"{A}/x/..;a=b/asgn_001",
            f"{A}/x/..;;/asgn_001",
            f"{A}/x/..%3b/asgn_001",
            f"{A}/x/..%3Ba=b/asgn_001",
            f"{A}/x/%2e%2e;/asgn_001",
            f"{A}/x/.%2E%3B/asgn_001",
            f"{A}/.;/asgn_001",
            f"{A}/.;x/asgn_001",
            f"{A}//..;//asgn_001",
            f"{A}/x\\..;\\asgn_001",
            f"/..;{A}",
            f"/x/..;{A}",
            f"http://localhost{A}/x/..;/asgn_001",
        )
    ),
    row("dots with parameters, climbed over", f"GET {A}/x/.;x/../asgn_001", 404),
    row("climbing out, encoded twice", f"GET {A}/%252e%252e", 404),
    row("climbing out, slash encoded", f"GET {A}/..%2f..%2fsecret", 400),
    row("climbing out, encoded", f"GET {A}/%2e%2e/%2e%2e/secret", 404),
    row("backslash", f"GET {A}/asgn\\001", 404),
    row("gRPC path", "GET /peermentor.v1.AssignmentService/GetAssignment", 404),
    row(
        "gRPC path as JSON",
        "POST /peermentor.v1.AssignmentService/DeleteAssignment",
        404,
        headers=(JSON,),
        body='{"assignment_id":"asgn_001"}',
    ),
    row(
        "forged path of the transcoder",
        "POST /peermentor.v1.AssignmentService/DeleteAssignment",
        404,
        headers=(JSON, "x-envoy-original-method: DELETE", f"x-envoy-original-path: {A}/asgn_001"),
        body="{}",
    ),
    row("health over REST", "GET /grpc.health.v1.Health/Check", 404),
    row("admin page", "GET /config_dump", 404),
    row("proxy request", "CONNECT example.org:80", 404),
    row("asterisk", "OPTIONS *", 404),
    row("unknown id", f"GET {A}/asgn_999", 404, "there is no assignment asgn_999"),
    row("id of another kind", f"GET {A}/rt-001", 404),
    row("negative id", f"GET {A}/asgn_-01", 404),
    row("huge id", f"GET {A}/asgn_{'9' * 40}", 404),
    row("long id", f"GET {A}/{'a' * 4000}", 404, "a" * 40 + "..."),
    row("SQL in an id", f"DELETE {A}/asgn_001'%20OR%20'1'='1", 404),
    row("Unicode id", f"GET {A}/%F0%9F%98%80", 404),
    row("digits of another script", f"GET {A}/asgn_%D9%A0%D9%A0%D9%A1", 404),
    row("encoded slash", f"GET {A}/a%2Fb", 400),
    row("encoded slash in lower case", f"GET {A}/a%2fb", 400),
    row("encoded slashes for all", "GET /api%2Fv1%2Fassignments", 400),
    row("encoded backslash", f"GET {A}/a%5Cb", 400),
    row("raw NUL in the path", f"GET {A}/a\0b", 400),
    row("raw control character in the path", f"GET {A}/a\x01b", 400),
    row("control character in the path", f"GET {A}/a%01b", 404, r"'a\x01b'"),
    row("line break in the path", f"GET {A}/a%0D%0AX-Test:%201", 404),
    row("NUL in the path", f"GET {A}/a%00b", 400),
    row("invalid UTF-8 in the path", f"GET {A}/%FF%FE", 400, "UTF-8"),
    row("overlong UTF-8 in the path", f"GET {A}/%C0%AF", 400, "UTF-8"),
    row("surrogate in the path", f"GET {A}/%ED%A0%80", 400, "UTF-8"),
    row("broken percent sign", f"GET {A}/a%zz", 400, "percent-encoded"),
    row("cut percent sign", f"GET {A}/a%2", 400, "percent-encoded"),
    row("raw Unicode in the path", f"GET {A}/é", 400),
    row("fragment", f"GET {A}#part", 400),
    row("URL of 9,000 bytes", f"GET {A}/{'a' * 9000}", 414, "URL"),
    row("query of 9,000 bytes", f"GET {A}?org_id={'a' * 9000}", 414, "URL"),
    row("URL of 100,000 bytes", f"GET {A}/{'a' * 100_000}", 431),
]

METHODS = [
    row("PATCH a list", f"PATCH {A}", 405, "PATCH"),
    row("DELETE a list", f"DELETE {A}", 405, "DELETE"),
    row("PUT a list", f"PUT {T}", 405, "PUT"),
    row("TRACE", f"TRACE {A}", 405, "TRACE"),
    row("OPTIONS without CORS", f"OPTIONS {A}", 405, "OPTIONS"),
    row("POST to an id", f"POST {A}/asgn_001", 405, "POST"),
    row("POST to the doubled path of an id", f"POST {A}{A}/asgn_001", 405, "POST"),
    row("DELETE the overdue", f"DELETE {A}/overdue", 405, "DELETE"),
    row("GET last-contact", f"GET {A}/asgn_001/last-contact", 405, "GET"),
    row("PUT by-coordinator", f"PUT {T}/by-coordinator/user_007", 405, "PUT"),
    row("method that nobody knows", f"FOO {A}", 400),
    row("method in lower case", f"get {A}", 400),
]

QUERIES = [
    row("unknown parameter", f"GET {A}?colour=red", 400, 'unknown query parameter "colour"'),
    row("unknown parameter with a quote", f"GET {A}?a%22b=1", 400, "unknown query parameter"),
    row("parameter of a parameter", f"GET {A}?page.x=1", 400, "page"),
    row("parameter without a value", f"GET {A}?page", 400, "page"),
    row("parameter without a name", f"GET {A}?=1", 400, "must be a name and a value"),
    row("2,000 parameters", f"GET {A}?" + "a=1&" * 2000, 400, "unknown query parameter"),
    row("10,000 parameters", f"GET {A}?" + "a=1&" * 10_000, 431),
    row("parameter twice", f"GET {A}?page=1&page=2", 400, "page: given more than once"),
    row("parameter in both spellings", f"GET {A}?page_token=a&pageToken=b", 400, "page_token"),
    row("other id in the query", f"GET {A}/asgn_001?assignment_id=asgn_002", 400, "assignment_id"),
    row("the same, encoded", f"GET {A}/asgn_001?%61ssignment_id=asgn_002", 400, "assignment_id"),
    row("the same, deleting", f"DELETE {A}/asgn_001?assignmentId=asgn_002", 400, "assignment_id"),
    row("other coordinator in the query", f"GET {T}/by-coordinator/a?coordinator_id=b", 400),
    row("query beside a body", f"POST {T}?name=x", 400, "name", headers=(JSON,), body="{}"),
    row("page that is text", f"GET {A}?page=abc", 400, "page: must be a whole number"),
    row("page that is empty", f"GET {A}?page=", 400, "page"),
    row("page 1.5", f"GET {A}?page=1.5", 400, "page"),
    row("page 1e3", f"GET {A}?page=1e3", 400, "page"),
    row("page 2^64", f"GET {A}?page=18446744073709551616", 400, "page"),
    row("page -2^31-1", f"GET {A}?page=-2147483649", 400, "page"),
    row("page 2^31", f"GET {A}?page=2147483648", 400, "page"),
    row("page 0", f"GET {A}?page=0", 400),
    row("page -1", f"GET {A}?page=-1", 400),
    row("page 2^31-1", f"GET {A}?page=2147483647", 400),
    row("limit 0", f"GET {A}?limit=0", 400),
    row("page token made up", f"GET {A}?page_token=bm9uc2Vuc2U", 400),
    row("unknown status", f"GET {A}?status=asleep", 400, "status: is not a known value"),
    row("status in upper case", f"GET {A}?status=ACTIVE", 400, "status"),
    row("cutoff that is no date", f"GET {A}/overdue?cutoff_date=2026-02-30", 400),
    row("cutoff in the year 10000", f"GET {A}/overdue?cutoff_date=10000-01-01", 400),
    row("NUL in the query", f"GET {A}?org_id=a%00b", 400),
    row("invalid UTF-8 in the query", f"GET {A}?org_id=%FF", 400, "UTF-8"),
    row("broken percent sign in the query", f"GET {A}?org_id=%z", 400, "percent-encoded"),
    row("surrogate in the query", f"GET {A}?org_id=%ED%A0%80", 400, "UTF-8"),
    row("cut UTF-8 in the query", f"GET {A}?org_id=%F0%9F%98", 400, "UTF-8"),
    row("raw NUL in the query", f"GET {A}?org_id=a\0b", 400),
    row("control character in a filter", f"GET {A}?org_id=a%01b", 400),
    row("cutoff in the year 0", f"GET {A}/overdue?cutoff_date=0000-01-01", 400),
    row("cutoff that is too long", f"GET {A}/overdue?cutoff_date=2026-01-01{'0' * 1000}", 400),
    row("line break in a filter", f"GET {A}?org_id=a%0Ab", 400),
]

NOT_JSON = [
    post("cut object", "{", 400, "malformed JSON at byte 2"),
    post("one bracket too many", '{"name":"a"}}', 400, "malformed JSON"),
    post("trailing comma", '{"name":"a",}', 400, "malformed JSON"),
    post("single quotes", "{'name':'a'}", 400, "malformed JSON"),
    post("name without quotes", "{name:1}", 400, "malformed JSON"),
    post("comment", '{"name":"a"/**/}', 400, "malformed JSON"),
    post("line comment", '{"name":"a"} // text', 400, "malformed JSON"),
    post("comment in front", '/* text */ {"name":"a"}', 400, "must be a JSON object"),
    post("hash comment", '{"name":"a"}\n# text', 400, "malformed JSON"),
    post("text behind", '{"name":"a"} and more', 400, "malformed JSON"),
    post("NUL behind", '{"name":"a"}\0', 400, "malformed JSON"),
    post("single quotes within", "{\"name\":'a'}", 400, "malformed JSON"),
    post("two documents", '{"name":"a"}{"name":"b"}', 400, "malformed JSON"),
    post("byte order mark", "\ufeff{}", 400),
    post("list", "[]", 400, "must be a JSON object"),
    post("text", '"name"', 400, "must be a JSON object"),
    post("null", "null", 400, "must be a JSON object"),
    post("spaces", "   ", 400, "must be a JSON object"),
    post("form", "name=a&duration_minutes=60", 400, "must be a JSON object"),
    post("NaN", '{"duration_minutes":NaN}', 400, "malformed JSON"),
    post("leading zero", '{"duration_minutes":01}', 400, "malformed JSON"),
    post("hexadecimal", '{"duration_minutes":0x10}', 400, "malformed JSON"),
    post("number without end", '{"duration_minutes":1e999}', 400, "too large"),
    post("lone high surrogate", r'{"name":"\ud800"}', 400, "malformed JSON"),
    post("lone low surrogate", r'{"name":"\udc00"}', 400, "malformed JSON"),
    post("surrogates in reverse", r'{"name":"\ude00\ud83d"}', 400, "malformed JSON"),
    post("unknown escape", r'{"name":"\x41"}', 400, "malformed JSON"),
    post("raw line break in a text", '{"name":"a\nb"}', 400, "malformed JSON"),
    post("raw NUL in a text", '{"name":"a\0b"}', 400, "malformed JSON"),
    post("invalid UTF-8", b'{"name":"\xff"}', 400, "UTF-8"),
    post("invalid UTF-8 in a name", b'{"na\xffme":"a"}', 400, "UTF-8"),
    post("raw DEL and C1 in a name", '{"a\x7f\x85":1}', 400),
    post("raw tab in a text", '{"name":"a\tb"}', 400, "malformed JSON"),
    post("cut UTF-8", b'{"name":"\xf0\x9f\x98"}', 400, "UTF-8"),
    post("overlong UTF-8", b'{"name":"\xc0\xaf"}', 400, "UTF-8"),
    post("surrogate in UTF-8", b'{"name":"\xed\xa0\x80"}', 400, "UTF-8"),
    post("UTF-16", '{"name":"a"}'.encode("utf-16"), 400, "UTF-8"),
    post("10,000 objects deep", '{"a":' * 10_000, 400, "nested too deeply"),
    post("30,000 lists deep", '{"a":' + "[" * 30_000, 400, "nested too deeply"),
    post("30,000 lists deep, closed", f'{{"a":{"[" * 30_000}{"]" * 30_000}}}', 400, "too deeply"),
    post("100,000 lists deep", '{"a":' + "[" * 100_000, 413),
    post("100,000 objects deep", '{"a":' * 100_000, 413),
    post("30,000 values", '{"a":[' + ",".join("1" * 30_000) + "]}", 400, "too many values"),
]

WRONG_FIELDS = [
    post("no field", "{}", 400),
    post("nothing", "", 400),
    post("field twice", '{"name":"a","name":"b"}', 400, "name: given more than once"),
    post("null first", '{"name":null,"name":"b"}', 400, "name: given more than once"),
    post("both spellings", '{"mentor_ids":[],"mentorIds":[]}', 400, "mentor_ids: given more"),
    post("escaped twin", r'{"name":"a","n\u0061me":"b"}', 400, "name: given more than once"),
    post("twice, deep inside", '{"x":[{"y":{"z":1,"z":2}}]}', 400, "z: given more than once"),
    post("no name", '{"":1}', 400, "a field has no name"),
    post("number as text", '{"duration_minutes":"abc"}', 400, "duration_minutes: must be a whole"),
    post("fraction", '{"duration_minutes":1.5}', 400, "duration_minutes: must be a whole number"),
    post("2^40", '{"duration_minutes":1099511627776}', 400, "duration_minutes: must be a whole"),
    post("2^31", '{"duration_minutes":2147483648}', 400, "duration_minutes: must be a whole"),
    post("-2^31-1", '{"duration_minutes":-2147483649}', 400, "duration_minutes: must be a whole"),
    post("2^64 as text", '{"duration_minutes":"18446744073709551616"}', 400, "duration_minutes"),
    post("400 digits", f'{{"duration_minutes":{"9" * 400}}}', 400, "too large"),
    post("float", '{"duration_minutes":6.02e23}', 400, "duration_minutes: must be a whole"),
    post("tiny float", '{"duration_minutes":1e-9}', 400, "duration_minutes: must be a whole"),
    post("true as number", '{"duration_minutes":true}', 400, "duration_minutes"),
    post(
        "list as number", '{"duration_minutes":[60]}', 400, "duration_minutes: must not be a list"
    ),
    post("text as boolean", '{"is_active":"yes"}', 400, "is_active: must be true or false"),
    post("number as boolean", '{"is_active":1}', 400, "is_active: must be true or false"),
    post("text as list", '{"mentor_ids":"mentor-1"}', 400, "mentor_ids: must be a list of texts"),
    post("numbers in a list", '{"mentor_ids":[1]}', 400, "mentor_ids: must be a list of texts"),
    post("null in a list", '{"mentor_ids":[null]}', 400, "mentor_ids: must be a list of texts"),
    post("list in a list", '{"mentor_ids":[["a"]]}', 400, "mentor_ids: must be a list of texts"),
    post("number as text field", '{"name":5}', 400, "name: must be a text"),
    post("object as text field", '{"name":{"first":"a"}}', 400, "name: must not be an object"),
    post("control character in a text", r'{"name":"a\u0001b"}', 400, "name"),
    post("NUL in a text", r'{"name":"a\u0000b"}', 400),
    put("no field", "{}", 400),
    put("unknown fields only", '{"colour":"red"}', 400),
    put("other id", '{"assignment_id":"asgn_002"}', 400, "assignment_id: the body contradicts"),
    put("other id in camel case", '{"assignmentId":"asgn_002"}', 400, "assignment_id"),
    put("other id, escaped", r'{"\u0061ssignment_id":"asgn_002"}', 400, "assignment_id"),
    put("empty id", '{"assignment_id":""}', 400, "assignment_id"),
    put("unknown status", '{"status":"asleep"}', 400, "status: is not a known value"),
    put("status 0", '{"status":"unspecified"}', 400),
    put("status of an unknown number", '{"status":99}', 400),
    put("list as status", '{"status":["active"]}', 400, "status: must not be a list"),
    put("time that is none", '{"reminder_sent_at":"yesterday"}', 400, "reminder_sent_at: must be"),
    put("date as time", '{"reminder_sent_at":"2026-03-01"}', 400, "reminder_sent_at: must be"),
    put("30 February", '{"reminder_sent_at":"2026-02-30T00:00:00Z"}', 400, "reminder_sent_at"),
    put("year 10000", '{"reminder_sent_at":"10000-01-01T00:00:00Z"}', 400, "reminder_sent_at"),
    put("year 0", '{"reminder_sent_at":"0000-01-01T00:00:00Z"}', 400, "reminder_sent_at"),
    put("year 99999", '{"reminder_sent_at":"99999-12-31T23:59:59Z"}', 400, "reminder_sent_at"),
    put("year -1", '{"reminder_sent_at":"-0001-01-01T00:00:00Z"}', 400, "reminder_sent_at"),
    put(
        "year 10000 by offset",
        '{"reminder_sent_at":"9999-12-31T23:59:59-01:00"}',
        400,
        "reminder_sent_at",
    ),
    put(
        "year 0 by offset", '{"reminder_sent_at":"0001-01-01T00:00:00+01:00"}', 400, "reminder_sent"
    ),
    put("number as time", '{"reminder_sent_at":5}', 400, "reminder_sent_at: must be"),
    put(
        "object as time", '{"reminder_sent_at":{}}', 400, "reminder_sent_at: must not be an object"
    ),
    put("list as mask", '{"update_mask":["status"]}', 400, "update_mask: must not be a list"),
    put("mask of nonsense", '{"update_mask":"a..b,(x)"}', 400),
    put("mask with the id", '{"update_mask":"assignment_id"}', 400),
]


def chunked(content: bytes, times: int = 1) -> bytes:
    """Encode a body in chunks of the same content."""
    return (f"{len(content):x}\r\n".encode() + content + b"\r\n") * times + b"0\r\n\r\n"


CHUNKED = (
    f"POST {T} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
)

BODIES = [
    post("body one byte too large", '{"name":"' + "a" * (64 * KIB - 10) + '"}', 413, "too large"),
    post("body of 10 MB", b"a" * 10 * MIB, 413, "too large"),
    Row("chunks of 10 MB", CHUNKED + chunked(b"a" * 64 * KIB, times=160), 413, "too large"),
    Row("10 MB in one chunk", CHUNKED + chunked(b"a" * 10 * MIB), 413, "too large"),
    row("GET with 10 MB", f"GET {A}", 413, body=b"a" * 10 * MIB),
    Row(
        "GET with 10 MB of chunks",
        f"GET {A} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + chunked(b"a" * 64 * KIB, times=160),
        413,
        "too large",
    ),
    post("body of a megabyte", '{"name":"' + "a" * KIB * KIB + '"}', 413, "too large"),
    Row("chunks, too large", CHUNKED + chunked(b"a" * 65 * KIB), 413, "too large"),
    Row("chunks, cut JSON", CHUNKED + chunked(b"{"), 400, "malformed JSON"),
    Row("chunk of 2^64 bytes", CHUNKED + b"10000000000000000\r\na", 400),
    Row("chunk of negative size", CHUNKED + b"-1\r\na", 400),
    Row("chunks without size", CHUNKED + b"zz\r\n", 400),
    row("GET with a body", f"GET {A}", 400, "GET takes no request body", body="{}"),
    row("GET with a large body", f"GET {A}", 413, body=b"a" * 65 * KIB),
    row("DELETE with a body", f"DELETE {A}/asgn_001", 400, "DELETE takes no", body="{}"),
    row(
        "text",
        f"POST {T}",
        415,
        "application/json",
        headers=("Content-Type: text/plain",),
        body="{}",
    ),
    row(
        "form",
        f"POST {T}",
        415,
        headers=("Content-Type: application/x-www-form-urlencoded",),
        body="name=a",
    ),
    row("almost JSON", f"POST {T}", 415, headers=("Content-Type: application/jsonx",), body="{}"),
    row("almost gRPC", f"POST {T}", 415, headers=("Content-Type: application/grpc-x",), body="{}"),
    row(
        "almost gRPC-Web",
        f"POST {T}",
        415,
        headers=("Content-Type: application/grpc-web+x",),
        body="{}",
    ),
    row(
        "JSON in a comment",
        f"POST {T}",
        415,
        headers=("Content-Type: text/json (json)",),
        body="{}",
    ),
    row("gzip", f"POST {T}", 415, headers=(JSON, "Content-Encoding: gzip"), body=b"\x1f\x8b\x08"),
    row("no type", f"POST {T}", 415, headers=(), body="{}"),
    row("empty type", f"POST {T}", 415, headers=("Content-Type:",), body="{}"),
    row("two types", f"POST {T}", 415, headers=(JSON, "Content-Type: text/plain"), body="{}"),
]

PROTOCOL = [
    row("absolute URL of another host", f"GET http://other{A}", 421),
    Row("no HTTP", b"\x00\x01\x02 nonsense\r\n\r\n", 400),
    Row("TLS", b"\x16\x03\x01\x02\x00\x01\x00" + b"\x01" * 200, 400),
    Row("HTTP/1.0", f"GET {A} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode(), 426),
    Row("no host", f"GET {A} HTTP/1.1\r\n\r\n".encode(), 400),
    row("two hosts", f"GET {A}", 400, headers=("Host: other",)),
    row("space before the colon", f"GET {A}", 400, headers=("X-Test : 1",)),
    row("header without colon", f"GET {A}", 400, headers=("nonsense",)),
    row("NUL in a header", f"GET {A}", 400, headers=("X-Test: a\0b",)),
    row("two lengths", f"POST {T}", 400, headers=("Content-Length: 3",), body="{}"),
    row("the same length twice", f"POST {T}", 400, headers=(JSON, "Content-Length: 2"), body="{}"),
    row("length that is none", f"POST {T}", 400, headers=(JSON, "Content-Length: two")),
    row("two lengths in one header", f"POST {T}", 400, headers=(JSON, "Content-Length: 2, 3")),
    row("length of 2^64", f"POST {T}", 400, headers=(JSON, "Content-Length: 18446744073709551616")),
    row("negative length", f"POST {T}", 400, headers=("Content-Length: -1",)),
    row("length and chunks", f"POST {T}", 400, headers=("Transfer-Encoding: chunked",), body="{}"),
    row("unknown encoding", f"POST {T}", 501, headers=("Transfer-Encoding: br, chunked",)),
    row("header with an underscore", f"GET {A}", 400, "underscores", headers=("x_request_id: 1",)),
    row("header of 20,000 bytes", f"GET {A}", 431, headers=("X-Test: " + "a" * 20_000,)),
    row("header of 100 KB", f"GET {A}", 431, headers=("X-Test: " + "a" * 100 * KIB,)),
    row("name of 100 KB", f"GET {A}", 431, headers=("a" * 100 * KIB + ": 1",)),
    row("200 headers", f"GET {A}", 431, headers=tuple(f"X-Test-{n}: 1" for n in range(200))),
    row("200 headers of one name", f"GET {A}", 431, headers=("X-Test: 1",) * 200),
    row("line feed alone in a header", f"GET {A}", 400, headers=("X-Test: a\nb",)),
    row("control character in a header", f"GET {A}", 400, headers=("X-Test: a\x01b",)),
    row("expecting the impossible", f"POST {T}", 400, headers=(JSON, "Expect: 200-ok"), body="{}"),
    row("100 headers", f"GET {A}", 431, headers=tuple(f"X-Test-{n}: 1" for n in range(100))),
    row("long user agent", f"GET {A}", 431, headers=("User-Agent: " + "a" * 13_000,)),
]

ROWS = [*PATHS, *METHODS, *QUERIES, *NOT_JSON, *WRONG_FIELDS, *BODIES, *PROTOCOL]


@pytest.mark.parametrize("case", ROWS, ids=[case.name for case in ROWS])
def test_refusal(case: Row, rest: httpx.Client) -> None:
    answer = send(rest, case.request)
    assert answer.status_code == case.status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()
    assert error.keys() == {"code", "message", "details"}
    assert error["code"] in CODES[case.status]
    assert case.message in error["message"]
    assert error["message"]
    assert not INTERNALS.search(answer.text), answer.text
    assert_no_noise(answer)
    assert rest.get(A).json()["data"] == []


# Odd, but to be answered; what they try to do has no effect.
HARMLESS = [
    row("nothing behind the question mark", f"GET {A}?", 200),
    row("only ampersands", f"GET {A}?&&", 200),
    row("doubled slashes", "GET //api//v1//assignments", 200),
    row("dots", "GET /api/./v1/x/../assignments", 200),
    row("encoded letters", "GET /api/v1/%61ssignments", 200),
    row("absolute URL", f"GET http://localhost{A}", 200),
    row("encoding of gRPC", f"GET {A}", 200, headers=("grpc-encoding: gzip",)),
    row("timeout of gRPC", f"GET {A}", 200, headers=("grpc-timeout: 1n",)),
    row("long timeout of gRPC", f"GET {A}", 200, headers=("grpc-timeout: 99999999H",)),
    row("timeout of gRPC that is none", f"GET {A}", 200, headers=("grpc-timeout: soon",)),
    row("timeout of Envoy", f"GET {A}", 200, headers=("x-envoy-upstream-rq-timeout-ms: 1",)),
    row("try timeout", f"GET {A}", 200, headers=("x-envoy-upstream-rq-per-try-timeout-ms: 1",)),
    row("expected timeout", f"GET {A}", 200, headers=("x-envoy-expected-rq-timeout-ms: 1",)),
    row("other cluster", f"GET {A}", 200, headers=("x-envoy-upstream-alt-stat-name: a",)),
    row("retries", f"GET {A}", 200, headers=("x-envoy-retry-on: 5xx", "x-envoy-max-retries: 99")),
    row("internal", f"GET {A}", 200, headers=("x-envoy-internal: true", "X-Forwarded-For: ::1")),
    row("other path", f"GET {A}", 200, headers=("x-envoy-original-path: /secret",)),
    row("other method", f"GET {A}", 200, headers=("x-envoy-original-method: DELETE",)),
    row("decorator", f"GET {A}", 200, headers=("x-envoy-decorator-operation: a",)),
    row("forced trace", f"GET {A}", 200, headers=("x-envoy-force-trace: 1",)),
    row("original URL", f"GET {A}", 200, headers=("X-Original-URL: /secret",)),
    row("metadata that is not base64", f"GET {A}", 200, headers=("x-test-bin: !!!",)),
    row("header that is not ASCII", f"GET {A}", 200, headers=("X-Test: é",)),
    row("request id that is not ASCII", f"GET {A}", 200, headers=("X-Request-Id: é",)),
    row("folded header", f"GET {A}", 200, headers=("X-Test: 1", " folded")),
    row("method override", f"GET {A}", 200, headers=("X-HTTP-Method-Override: DELETE",)),
    row("15 KB of cookies", f"GET {A}", 200, headers=("Cookie: " + "a" * 15_000,)),
    row("text type without a body", f"GET {A}", 200, headers=("Content-Type: text/plain",)),
    *(
        row(f"upgrade to {protocol}", f"GET {A}", 200, headers=(*headers, f"Upgrade: {protocol}"))
        for protocol in ("TLS/1.2", "h2c", "websocket", "foo/1, bar", "")
        for headers in [("Connection: Upgrade", "HTTP2-Settings: AAMAAABkAAQAAP__")]
    ),
]


EVERY = [*ROWS, *HARMLESS]


@pytest.mark.parametrize("case", HARMLESS, ids=[case.name for case in HARMLESS])
def test_harmless(case: Row, rest: httpx.Client) -> None:
    answer = send(rest, case.request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == []
    assert_no_noise(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", A, "GET, HEAD, POST"),
        ("PATCH", A + A, "GET, HEAD, POST"),
        ("POST", f"{A}/asgn_001", "GET, HEAD, PUT, DELETE"),
        ("PUT", f"{A}/overdue", "GET, HEAD"),
        ("GET", f"{A}/asgn_001/last-contact", "PUT"),
        ("HEAD", f"{A}/asgn_001/last-contact", "PUT"),
        ("DELETE", T, "GET, HEAD, POST"),
        ("PATCH", f"{T}/rt-001", "GET, HEAD, PUT, DELETE"),
        ("POST", f"{T}/by-coordinator/user_007", "GET, HEAD"),
        ("POST", f"{T}/by-organization/org_03", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/readyz", "GET, HEAD"),
    ],
)
def test_wrong_method_names_the_right_ones(
    method: str, path: str, allowed: str, rest: httpx.Client
) -> None:
    answer = rest.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("sent", "used"), [("my-id 1", "my-id 1"), ("é\t\u202e", "??????"), ("a" * 500, "a" * 64)]
)
def test_a_request_id_can_stand_in_a_log_line(sent: str, used: str, rest: httpx.Client) -> None:
    answer = rest.get(A, headers={b"x-request-id": sent.encode()})
    assert answer.headers["x-request-id"] == used


def test_a_body_of_64_kib_is_read(rest: httpx.Client) -> None:
    body = b'{"notes_template":"' + b"a" * (64 * KIB - 21) + b'"}'
    answer = rest.post(T, content=body, headers={"content-type": "application/json"})
    assert len(body) == 64 * KIB
    assert "notes_template" in answer.text


def test_memory_returns(tmp_path: Path) -> None:
    """All these requests over and over, 16 at a time, and what both processes hold then."""
    with edge_with(tmp_path) as edge, ThreadPoolExecutor(16) as callers:

        def send_all() -> None:
            statuses = callers.map(lambda case: send(edge.rest, case.request).status_code, EVERY)
            assert all(status < 500 or status == 501 for status in statuses)

        send_all()
        before = edge.memory()
        for _ in range(int(either(2, 200))):
            send_all()
        after = edge.memory()
        assert all(after[name] < before[name] * 1.25 + 20 for name in before), (before, after)
        assert edge.answers()


# The tables that the gateway keeps of the .proto files ------------------------------------


def test_the_gateway_knows_the_methods_of_every_path() -> None:
    expected: dict[str, set[str]] = {}
    for rpc in rpcs():
        rule = rpc.GetOptions().Extensions[annotations_pb2.http]
        verb = str(rule.WhichOneof("pattern"))
        expected.setdefault(getattr(rule, verb), set()).add(verb.upper())
    routes = contract()["routes"]
    assert {each["path"]: set(each["methods"].split(", ")) for each in routes} == expected


def test_the_gateway_knows_the_kinds_of_body_fields() -> None:
    expected = {
        (field.name, kind_of(field))
        for rpc in rpcs()
        if rpc.GetOptions().Extensions[annotations_pb2.http].body == "*"
        for field in rpc.input_type.fields
    }
    bodies = [call.get("body", {}) for call in contract()["calls"].values()]
    assert {each for body in bodies for each in body.items()} == expected


def test_the_gateway_knows_the_fields_of_every_body() -> None:
    expected: dict[str, set[str]] = {}
    for rpc in rpcs():
        rule = rpc.GetOptions().Extensions[annotations_pb2.http]
        verb = str(rule.WhichOneof("pattern"))
        if rule.body:
            fields = {field.name for field in rpc.input_type.fields}
            expected[f"{verb.upper()} {getattr(rule, verb)}"] = fields
    calls = contract()["calls"]
    assert {name: set(call["body"]) for name, call in calls.items() if "body" in call} == expected


def test_no_field_of_a_body_holds_an_object() -> None:
    """So that what the gateway does not know can only be a name of the outermost object."""
    in_json_a_text = {"google.protobuf.Timestamp", "google.protobuf.FieldMask"}
    for rpc in rpcs():
        for field in rpc.input_type.fields:
            assert field.message_type is None or field.message_type.full_name in in_json_a_text


def rpcs() -> Iterator[MethodDescriptor]:
    for module in (assignments_pb2, templates_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def kind_of(field: FieldDescriptor) -> str:
    if field.is_repeated:
        return "list of texts"
    if field.message_type is Timestamp.DESCRIPTOR:
        return "instant"
    return "boolean" if field.type == FieldDescriptor.TYPE_BOOL else "scalar"


# -------------------------------------------------------------------------------------------


def send(rest: httpx.Client, request: bytes) -> httpx.Response:
    """Send bytes as they are, and read one answer."""
    address = (rest.base_url.host, rest.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        # It may be refused before it is sent whole; the answer is there then.
        with suppress(ConnectionError):
            connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        read = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    if read.is_error:
        openapi.check_refusal(read)
    return read


def assert_no_noise(answer: httpx.Response) -> None:
    """Check that the headers do not tell about the inside either."""
    noise = [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-", "server"))]
    assert not noise
