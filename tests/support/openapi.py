"""docs/openapi.json, and whether REST calls and their answers are as it says."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from jsonschema_rs import Draft202012Validator

from support.lua import ROOT

Json = dict[str, Any]
_checked = True
# Where REST is; other servers of the tests have other paths.
PATHS = ("/api/", "/healthz", "/readyz", "/openapi.json")


@cache
def description() -> Json:
    """Return the description as it is served."""
    content: Json = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    return content


def resolved(part: Json) -> Json:
    """Return what a reference of the description refers to."""
    while "$ref" in part:
        name = part["$ref"].removeprefix("#/components/")
        kind, _, name = name.partition("/")
        part = description()["components"][kind][name]
    return part


def validator(schema: Json) -> Draft202012Validator:
    """Return what checks values by a schema of the description."""
    # So that its references mean here what they mean there.
    whole = {"components": description()["components"], **schema}
    return Draft202012Validator(whole, validate_formats=True)


class Operation:
    """One method of one path."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self.name: str = content["operationId"]
        self.tags: list[str] = content["tags"]
        self.parameters: dict[tuple[str, str], Json] = {
            (each["in"], each["name"]): each
            for each in map(resolved, content.get("parameters", []))
        }

    @cached_property
    def body(self) -> Draft202012Validator | None:
        """What the body of a request has to be; None where there is none."""
        if "requestBody" not in self.content:
            return None
        return validator(self.content["requestBody"]["content"]["application/json"]["schema"])

    @cached_property
    def query(self) -> dict[str, Draft202012Validator]:
        """What the parameters of the query have to be."""
        return {
            name: validator(each["schema"])
            for (place, name), each in self.parameters.items()
            if place == "query"
        }

    @cached_property
    def answers(self) -> dict[int, "Answer"]:
        """The answers there are, by their status."""
        return {
            int(status): Answer.of(resolved(each))
            for status, each in self.content["responses"].items()
        }


@dataclass(frozen=True)
class Answer:
    """What an answer of one status has to be."""

    body: Draft202012Validator | None
    """None where there is no body: 304."""
    media_type: str
    headers: frozenset[str]

    @staticmethod
    @cache
    def _of(text: str) -> "Answer":
        content = json.loads(text)
        headers = {
            name for name, each in content["headers"].items() if resolved(each).get("required")
        }
        if "content" not in content:
            return Answer(None, "", frozenset(headers))
        [(media_type, described)] = content["content"].items()
        return Answer(validator(described["schema"]), media_type, frozenset(headers))

    @staticmethod
    def of(content: Json) -> "Answer":
        """Return the same for the same content: many operations share their refusals."""
        return Answer._of(json.dumps(content))

    def check(self, response: httpx.Response, *, body: bool) -> None:
        """Check the headers, and the body."""
        missing = self.headers - response.headers.keys()
        assert not missing, f"the answer lacks {missing}"
        if self.body is None:
            assert not {"content-type", "content-length"} & response.headers.keys()
            return
        assert response.headers["content-type"] == self.media_type
        if body:
            is_json = self.media_type == "application/json"
            _check(self.body, response.json() if is_json else response.text, "the answer")


@cache
def _operations() -> list[tuple[re.Pattern[str], dict[str, Operation]]]:
    # The file has the most specific paths first.
    return [
        (
            re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))),
            {verb.upper(): Operation(each) for verb, each in item.items()},
        )
        for path, item in description()["paths"].items()
    ]


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield all operations, each with its method."""
    for _, methods in _operations():
        yield from methods.items()


def find(method: str, path: str) -> Operation | None:
    """Return the operation that a request is about; None if there is none."""
    short = re.sub(r"^(/api/v1/[\w-]+)\1", r"\1", path)
    for pattern, methods in _operations():
        if pattern.fullmatch(short):
            return methods.get("GET" if method == "HEAD" else method)
    return None


def limits(rpc: str, field: str) -> Json:
    """Return the schema of a field of a request."""
    parameters = operation(rpc).parameters
    for place in ("path", "query"):
        if (place, field) in parameters:
            return resolved(parameters[place, field]["schema"])
    schema = operation(rpc).content["requestBody"]["content"]["application/json"]["schema"]
    return resolved(resolved(schema)["properties"][field])


def operation(rpc: str) -> Operation:
    """Return the operation of an RPC."""
    [found] = [each for _, each in operations() if each.name == rpc[0].lower() + rpc[1:]]
    return found


@cache
def _refusals(status: int) -> list[Draft202012Validator]:
    """Return what answers of a status can be; 405 and 404 are for what is not described."""
    found = {id(each): each for _, op in operations() if (each := op.answers.get(status))}
    any_error = validator({"$ref": "#/components/schemas/ErrorResponse"})
    plain = [] if found and status != 404 else [any_error]
    return [*(each.body for each in found.values() if each.body), *plain]


def check_refusal(response: httpx.Response) -> None:
    """Check that an answer is one that some call may get, be it of no path at all."""
    known = {404, 405, *(status for _, op in operations() for status in op.answers)}
    assert response.status_code in known, response.status_code
    body = response.json()
    if not any(each.is_valid(body) for each in _refusals(response.status_code)):
        raise AssertionError(f"no answer of this status is as docs/openapi.json has it: {body}")


@contextmanager
def held_to() -> Iterator[None]:
    """Check all REST calls that are made by httpx."""
    send = httpx.Client.send

    def checked(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(client, request, **options)
        if _checked and request.url.path.startswith(PATHS):
            check(response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", checked)
        yield


@contextmanager
def unchecked() -> Iterator[None]:
    """Leave out calls to a gateway that is not ours, or to a server that answers by a script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}._checked", False)
        yield


def check(response: httpx.Response) -> None:
    """Check an answer, and a request that was not refused."""
    request = response.request
    target = request.url.raw_path.decode()
    operation = find(request.method, target.partition("?")[0])
    if operation is None:
        if request.method not in {"HEAD", "OPTIONS"}:
            check_refusal(response)
        return
    answer = operation.answers.get(response.status_code)
    assert answer, f"{operation.name}: the description has no {response.status_code}"
    # What is read in pieces is not there yet.
    answer.check(response, body=request.method != "HEAD" and response.is_stream_consumed)
    if response.status_code == 200:
        _check_request(operation, request)


def _check_request(operation: Operation, request: httpx.Request) -> None:
    # The plus before the offset of an instant is one, others are spaces.
    text = re.sub(r"\+(\d\d:\d\d(?:&|$))", r"%2B\1", request.url.query.decode())
    query = parse_qsl(text, keep_blank_values=True)
    for name, value in query if operation.query else ():
        assert name in operation.query, f"{operation.name}: the description has no {name}"
        _check(operation.query[name], _parameter(operation, name, value), name)
    if operation.body:
        _check(operation.body, plain(json.loads(request.content)), "the request")


def _parameter(operation: Operation, name: str, value: str) -> Any:
    """Return the value that a text of the query stands for."""
    kind = resolved(operation.parameters["query", name]["schema"]).get("type")
    read_as_json = kind in {"integer", "number", "boolean"}
    return json.loads(value) if read_as_json else with_t(value)


def plain(body: Json) -> Json:
    """Return a body as the schemas have it: they leave to words what else is taken."""
    return {
        re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): with_t(value)
        for name, value in body.items()
    }


def with_t(value: Any) -> Any:
    """Return a value; if it is an instant with a space, as RFC 3339 has it."""
    return re.sub(r"^(\d{4}-\d\d-\d\d) ", r"\1T", value) if isinstance(value, str) else value


def _check(by: Draft202012Validator, value: Any, what: str) -> None:
    if not by.is_valid(value):
        problems = [f"{each.instance_path}: {each.message}" for each in by.iter_errors(value)]
        raise AssertionError(f"{what} is not as docs/openapi.json has it: {'; '.join(problems)}")
