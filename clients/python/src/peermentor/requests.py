"""Requests from keyword arguments."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_MessageT = TypeVar("_MessageT", bound=Message)


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """Short, as signatures show it."""
        return self.value


UNSET: Final = Unset.UNSET
"""The default of arguments: nothing is said about this field."""


def fill(request: _MessageT, identity: Mapping[str, Any], fields: Mapping[str, Any]) -> _MessageT:
    """Set the fields of a request, all but those that are UNSET, and return it.

    An `update_mask` names what of `fields` is set: so an empty list counts, and None clears.
    A `request_id` that is not given is made up.
    """
    known = request.DESCRIPTOR.fields_by_name
    given = {name: value for name, value in fields.items() if value is not UNSET}
    if "request_id" in known:
        given.setdefault("request_id", str(uuid.uuid4()))
    if "update_mask" in known:
        request.update_mask.paths.extend(given)  # type: ignore[attr-defined]
        given = {name: value for name, value in given.items() if value is not None}
    for name, value in {**identity, **given}.items():
        _set(request, name, value)
    return request


def _set(request: Any, name: str, value: Any) -> None:
    field = request.DESCRIPTOR.fields_by_name[name]
    if value is None:
        raise TypeError(f"{name}: None is no value here; leave the argument out")
    if field.enum_type is not None and value not in field.enum_type.values_by_name:
        choices = ", ".join(field.enum_type.values_by_name)
        raise ValueError(f"{name}: {value!r} is none of {choices}")
    try:
        _put(request, field, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _put(request: Any, field: Any, value: Any) -> None:
    now = getattr(request, field.name)
    if isinstance(now, Timestamp):
        now.FromDatetime(_aware(value))
    elif field.message_type is not None:
        now.value = value
    elif field.enum_type is not None:
        setattr(request, field.name, field.enum_type.values_by_name[value].number)
    elif not isinstance(now, str | bool | int | float | bytes):
        now.extend(_several(value))
    else:
        setattr(request, field.name, value.isoformat() if isinstance(value, date) else value)


def _several(value: Any) -> Any:
    if isinstance(value, str):
        raise TypeError("a sequence is needed, not one string")
    return value


def _aware(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime is needed, not {value!r}")
    if value.utcoffset() is None:
        raise ValueError("the datetime has no time zone; give one, such as datetime.now(UTC)")
    return value
