"""The examples of the REST contract, with what the contract leaves out of its answers."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from describe.openapi.headers import ETAG
from gateway_contract import nullable_fields

Json = dict[str, Any]
INSTANT = "google.protobuf.Timestamp"
# What answers of the contract's calls have that the contract does not know.
ADDED = {"starts_on": "2026-03-26", "time_zone": "UTC", "etag": ETAG}


class Examples:
    """What the contract prints for each of its calls."""

    def __init__(self, directory: Path) -> None:
        self._printed: list[Json] = [
            example
            for file in sorted(directory.glob("*.json"))
            for example in json.loads(file.read_text(encoding="utf-8"))
        ]

    def of(self, verb: str, path: str) -> Json | None:
        """Return the example of a call; None if the contract has none."""
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        found = [
            example
            for example in self._printed
            if example["method"] == verb.upper()
            # The contract prints the base path twice.
            and re.fullmatch(pattern, example["path"][example["path"].index("/api/v1", 1) :])
        ]
        # The most specific of them has no variable there: /overdue is no id.
        return found[0] if found else None

    def variables(self, verb: str, path: str) -> dict[str, str]:
        """Return the values of the variables of a path in the example of a call."""
        example = self.of(verb, path)
        if example is None:
            return {}
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        match = re.search(pattern + "$", example["path"])
        return match.groupdict() if match else {}

    def answer(self, verb: str, path: str, message: Descriptor) -> Json | None:
        """Return a whole answer that holds what the contract prints; None without an example."""
        example = self.of(verb, path)
        if example is None:
            return None
        return self._whole(message, example["response"], example.get("request", {}))

    def _whole(self, message: Descriptor, printed: Json, request: Json) -> Json:
        return {field.name: self._value(field, printed, request) for field in message.fields}

    def _value(self, field: FieldDescriptor, printed: Json, request: Json) -> Any:
        if field.name not in printed:
            return self._unprinted(field, printed, request)
        value = printed[field.name]
        if isinstance(value, list) and field.message_type is not None:
            return [self._whole(field.message_type, each, request) for each in value]
        return self._whole(field.message_type, value, request) if isinstance(value, dict) else value

    def _unprinted(self, field: FieldDescriptor, printed: Json, request: Json) -> Any:
        if field.name in request:
            return request[field.name]
        if field in nullable_fields(field.containing_type):
            return None
        if field.message_type is not None and field.message_type.full_name == INSTANT:
            known = [value for name, value in printed.items() if name in _instants(field)]
            return known[0] if known else self._elsewhere(field)
        return self._elsewhere(field)

    def _elsewhere(self, field: FieldDescriptor) -> Any:
        """Return what another example prints as this field, or what is printed when it is empty."""
        for example in self._printed:
            for value in _objects([example.get("request", {}), example["response"]]):
                if value.get(field.name) is not None:
                    return value[field.name]
        if field.name in ADDED:
            return ADDED[field.name]
        if field.label == FieldDescriptor.LABEL_REPEATED:
            return []
        return field.default_value if field.enum_type is None else field.enum_type.values[1].name


def _instants(field: FieldDescriptor) -> set[str]:
    return {
        each.name
        for each in field.containing_type.fields
        if each.message_type is not None
        and each.message_type.full_name == INSTANT
        and each not in nullable_fields(field.containing_type)
    }


def _objects(value: Any) -> Iterable[Json]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _objects(each)
