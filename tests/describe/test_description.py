"""docs/openapi.json is OpenAPI 3.1, and whole.

That the calls of all other tests are as it says, a fixture of conftest.py sees to; that the
service takes what it says, `tests/services/test_described_limits.py`.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from openapi_pydantic import OpenAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from peermentor.v1 import error_reason_pb2
from peermentor_server.rules import errors, pages, texts
from support import openapi
from support.openapi import Json, description, limits, operation, validator
from support.routes import METHODS

LIMITS = {"maxLength", "pattern", "format", "then"}


def test_two_validators_take_it() -> None:
    OpenAPIV31SpecValidator(description()).validate()

    assert OpenAPI.model_validate(description()).openapi == "3.1.0"


def test_every_rpc_is_there() -> None:
    names = {name[0].lower() + name[1:] for name in METHODS}
    assert {each.name for _, each in openapi.operations() if "Gateway" not in each.tags} == names


def test_its_examples_are_as_it_says() -> None:
    checked = 0
    for content in media_types(description()):
        named = [each["value"] for each in content.get("examples", {}).values()]
        for example in [*named, *([content["example"]] if "example" in content else [])]:
            validator(content["schema"]).validate(example)
            checked += 1
    # Those of the contract, and each reason with its code.
    assert checked > 2 * 14


def media_types(part: Any) -> Iterator[Json]:
    if isinstance(part, dict):
        if "schema" in part and ("example" in part or "examples" in part):
            yield part
        for each in part.values():
            yield from media_types(each)


def test_every_reason_is_there() -> None:
    reasons = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    told = {reason for reason, _ in refusals()} - {"gateway"}
    assert told == reasons - {"UNSPECIFIED"}


def refusals() -> Iterator[tuple[str, Json]]:
    """Yield the examples of all refusals, each with its reason."""
    for answer in description()["components"]["responses"].values():
        for reason, example in answer["content"]["application/json"]["examples"].items():
            yield reason, example["value"]


def test_the_delays_of_its_examples_are_those_of_the_service() -> None:
    kinds = (errors.Overloaded, errors.TooManyAttempts)
    delays = {kind.reason: f"{kind.retry_after_s}s" for kind in kinds}
    told = {
        reason: detail["retry_delay"]
        for reason, example in refusals()
        for detail in example["details"]
        if "retry_delay" in detail
    }
    assert told == delays


def test_every_text_of_a_request_says_what_it_takes() -> None:
    """A field without `text_format` has no limits here, and the service has some for each."""
    unlimited = [
        (name, field.name)
        for name, method in METHODS.items()
        for field in method.input_type.fields
        if field.type == FieldDescriptor.TYPE_STRING
        and not LIMITS & (schema := limits(name, field.name)).get("items", schema).keys()
    ]
    assert not unlimited, "give these a text_format, as options.proto has them"


def test_what_all_lists_and_creates_have_is_as_the_rules_have_it() -> None:
    numbers = {"minimum": 1, "maximum": pages.MAX_PAGE, "default": 1}
    assert limits("ListTemplates", "page").items() >= numbers.items()
    default = {"minimum": 1, "default": pages.DEFAULT_LIMIT}
    assert limits("ListTemplates", "limit").items() >= default.items()
    assert limits("ListTemplates", "page_token")["maxLength"] == pages.MAX_TOKEN_LENGTH
    assert limits("CreateTemplate", "request_id")["maxLength"] == texts.MAX_REQUEST_ID_LENGTH
    key = operation("CreateTemplate").parameters["header", "Idempotency-Key"]["schema"]
    assert (
        limits("CreateTemplate", "request_id").items()
        >= (key | {"type": ["string", "null"]}).items()
    )


def test_an_answer_that_is_not_as_it_says_fails_its_test(rest: httpx.Client) -> None:
    """What the fixture of conftest.py does, on answers of our own making."""
    answer = rest.get("/api/v1/recurring-templates")
    page = answer.json()
    bodies: list[Json] = [{}, page | {"next_page_token": None}, page | {"data": [{}]}]
    for body in bodies:
        false = httpx.Response(200, headers=answer.headers, json=body, request=answer.request)
        with pytest.raises(AssertionError, match="the answer is not as"):
            openapi.check(false)
    refused = rest.get("/api/v1/recurring-templates/rt-000")
    error = refused.json()
    details = [error["details"][0] | {"reason": "ASSIGNMENT_NOT_FOUND"}]
    for body in (error | {"code": 3}, error | {"details": []}, error | {"details": details}):
        false = httpx.Response(404, headers=refused.headers, json=body, request=refused.request)
        with pytest.raises(AssertionError, match="the answer is not as"):
            openapi.check(false)
    with pytest.raises(AssertionError, match="listTemplates: the description has no 402"):
        openapi.check(httpx.Response(402, headers=answer.headers, request=answer.request))
