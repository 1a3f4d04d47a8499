"""The code that all values share: they convert to the JSON of REST answers and back."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from peermentor._options import expect


class Value:
    """A frozen dataclass that can be converted to JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the API's JSON."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return {name: _json(getattr(self, name)) for name in names}

    def to_json(self) -> str:
        """Return the API's JSON as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


class Model(Value):
    """A value that corresponds to a message of peermentor.v1."""

    __slots__ = ()
    _message: ClassVar[type[Message]]

    @classmethod
    def from_message(cls, message: Any) -> Self:
        """Read the message of peermentor.v1."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read an object of the API's JSON. Unknown fields are ignored, as in a server's answer."""
        expect("given", given, Mapping, "a mapping such as that of to_dict()")
        if not given.keys() & cls._message.DESCRIPTOR.fields_by_name.keys():
            raise ValueError(f"{cls.__name__}: none of its fields is there")
        try:
            message = ParseDict(dict(given), cls._message(), ignore_unknown_fields=True)
            return cls.from_message(message)
        except (ParseError, ValueError) as error:
            raise ValueError(f"{cls.__name__}: {error}") from None


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        stamp = Timestamp()
        stamp.FromDatetime(value)
        return stamp.ToJsonString()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    if isinstance(value, Value):
        return value.to_dict()
    return str(value) if isinstance(value, StrEnum) else value
