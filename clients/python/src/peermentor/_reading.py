"""How the fields of messages become those of values."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

_EnumT = TypeVar("_EnumT", bound=StrEnum)


def present(message: Any, name: str, read: Callable[[Any], Any]) -> Any:
    """Return what is in a field; None when a server older than this package does not send it."""
    return read(getattr(message, name)) if message.HasField(name) else None


def instant(message: Timestamp) -> datetime:
    """Return the datetime, in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def unwrapped(message: Any) -> Any:
    """Return what is in a wrapper such as Int32Value."""
    return message.value


def day(name: str, text: str) -> Any:
    """Return the date of a text, which has the form `YYYY-MM-DD`; None when it is empty."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def member(enum: type[_EnumT], names: Any, number: int) -> _EnumT:
    """Return the member; the first when a server newer than this package sends another."""
    members = list(enum)
    return enum(names.Name(number)) if number in names.values() else members[0]
