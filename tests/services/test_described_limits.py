"""What docs/openapi.json says of the fields of requests is what the service takes."""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from support.factories import explained
from support.openapi import Json, limits, operation, validator
from support.routes import METHODS
from support.rpcs import GoodRequests

# What says no more than that: a rule and a token are more than their characters.
LOOSE = {"recurrence_rule", "page_token"}
TEXTS: list[Any] = [
    "",
    " ",
    ".",
    "..",
    "...",
    "x",
    *("x" * length for length in (64, 65, 128, 129, 200, 201, 500, 501, 5000, 5001)),
    "Bjørn Solberg",
    "a b",
    " a ",
    "a/b",
    "a\\b",
    *(f"a{control}b" for control in "\0\x08\t\n\v\f\r\x1f\x7f\x80\x9f"),
    "~!-.[]:;%'",
    "\N{GRINNING FACE}" * 64,
    "\N{GRINNING FACE}" * 65,
    "2026-03-26",
    "2024-02-29",
    "2026-02-29",
    "2026-3-26",
    "2026-03-26T10:00:00Z",
    "2026-03-26T10:00:00.123456789+01:00",
    "2026-03-26T10:00:00",
    "FREQ=DAILY",
]
NUMBERS: list[Any] = [-(2**31), -1, 0, 1, 99, 100, 101, 10_080, 10_081, 100_000, 100_001, 2**31 - 1]
LISTS: list[Any] = [
    ["2026-03-26", "2026-03-27"],
    ["2026-03-26"] * 2,
    ["a", "b"],
    ["a", "a"],
    ["a", " "],
    [f"m-{n}" for n in range(100)],
    ["m"] * 101,
]


@pytest.mark.parametrize(
    "rpc", [name for name in METHODS if not name.startswith(("Get", "Delete"))]
)
def test_what_it_says_of_a_field_is_what_the_service_takes(service: GoodRequests, rpc: str) -> None:
    """Each value is given to all fields of its kind at once: all that are refused are named."""
    for kind, values in {"string": TEXTS, "integer": NUMBERS, "array": LISTS}.items():
        described = {name: validator(each) for name, each in fields(rpc) if kind in each["type"]}
        for value in values if described else ():
            refused = violations(service, rpc, dict.fromkeys(described, value))
            allowed = {name for name, each in described.items() if each.is_valid(value)}
            assert not allowed & refused - LOOSE, (ascii(value), allowed & refused)
            assert not described.keys() - allowed - refused, (ascii(value), allowed)


def violations(service: GoodRequests, rpc: str, values: dict[str, Any]) -> set[str]:
    """Return the fields of a request that the service refuses."""
    try:
        service.call(rpc, **values)
    except grpc.RpcError as error:
        return {re.sub(r"\[.*", "", name) for name in explained(error).violations}
    return set()


def fields(rpc: str) -> Iterator[tuple[str, Json]]:
    """Yield the texts, numbers and lists of a request, but for those of its path, with schemas."""
    in_path = {name for place, name in operation(rpc).parameters if place == "path"}
    for field in METHODS[rpc].input_type.fields:
        plain = field.enum_type is None and field.message_type is None
        if plain and field.name not in in_path:
            yield field.name, limits(rpc, field.name)
