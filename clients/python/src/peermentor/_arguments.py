"""Requests from keyword arguments."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, TypeVar
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_MessageT = TypeVar("_MessageT", bound=Message)


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """Short, as signatures show it."""
        return self.value

    def __bool__(self) -> bool:
        """No value counts as true."""
        return False


UNSET: Final = Unset.UNSET
"""The default of arguments: nothing is said about this field."""


_ETAG = "etag"
"""Which state of the resource the caller knows: in a request it is nothing that is changed."""

_KINDS = {Field.CPPTYPE_BOOL: bool, Field.CPPTYPE_INT32: int, Field.CPPTYPE_INT64: int}


def fill(
    request: _MessageT,
    identity: Mapping[str, Any],
    fields: Mapping[str, Any],
    texts: Mapping[str, Callable[[Any], Any]],
) -> _MessageT:
    """Set the fields of a request, all but those that are UNSET, and return it.

    An `update_mask` names what of `fields` is set: so an empty list counts, and None clears.
    In a list, None is no filter. `texts` says how to write what may be more than text.
    """
    known = request.DESCRIPTOR.fields_by_name
    given = {name: value for name, value in fields.items() if value is not UNSET}
    if "update_mask" in known:
        changed = [name for name in given if name != _ETAG]
        request.update_mask.paths.extend(changed)  # type: ignore[attr-defined]
    none_says_nothing = "page_token" in known or "update_mask" in known
    can_be_none = given.keys() - {_ETAG} if none_says_nothing else set()
    for name, value in {**identity, **given}.items():
        if value is None and name in can_be_none:
            continue
        try:
            _put(request, known[name], texts[name](value) if name in texts else value)
        except (TypeError, ValueError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name}: {error}") from None
    return request


def uuid(value: Any) -> Any:
    """Return the text of an id, which may be a UUID."""
    return str(value) if isinstance(value, UUID) else value


def day(value: Any) -> Any:
    """Return the text of a date."""
    if isinstance(value, datetime):
        raise TypeError("a date is needed, not a datetime: which day it is depends on the zone")
    return value.isoformat() if isinstance(value, date) else value


def days(values: Any) -> Any:
    """Return the texts of a list of dates."""
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    return [day(each) for each in values] if is_list else values


def day_or_instant(value: Any) -> Any:
    """Return the text of a date, or of a datetime with its time zone."""
    return _aware(value).isoformat() if isinstance(value, datetime) else day(value)


def _put(request: Any, field: Any, value: Any) -> None:
    now = getattr(request, field.name)
    if value is None:
        raise TypeError("None is not allowed here; leave the argument out")
    if isinstance(now, Timestamp):
        now.FromDatetime(_aware(value))
    elif hasattr(now, "extend"):
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise TypeError(f"a sequence is needed, not {type(value).__name__}")
        now.extend([_checked(field, each) for each in value])
    elif field.message_type is not None:
        _put(now, field.message_type.fields_by_name["value"], value)
    else:
        setattr(request, field.name, _checked(field, value))


def _checked(field: Any, value: Any) -> Any:
    kind = _KINDS.get(field.cpp_type, object)
    if field.enum_type is not None or field.type == Field.TYPE_STRING:
        kind = str
    # A bool is an int to Python, and to nobody else.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = "an int" if kind is int else f"a {kind.__name__}"
        raise TypeError(f"{wanted} is needed, not {type(value).__name__}")
    if field.enum_type is None:
        return value
    choices = {each.name: each.number for each in field.enum_type.values if each.number}
    if value not in choices:
        raise ValueError(f"{str(value)!r} is not one of {', '.join(choices)}")
    return choices[value]


def _aware(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime is needed, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError("the datetime has no time zone; give one, such as datetime.now(UTC)")
    return value
