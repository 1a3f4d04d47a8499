"""Which calls are safe to make again when nobody knows whether they have taken effect.

The protos say it: calls that change nothing, those whose repetition changes nothing more
(`idempotency_level`), and those that carry an id by which the service knows them again.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from peermentor.v1.assignments_pb2 import DESCRIPTOR as ASSIGNMENTS
from peermentor.v1.templates_pb2 import DESCRIPTOR as TEMPLATES

KEY_HEADER = "idempotency-key"
"""The metadata that may carry the id instead of the field of the request."""
KEY_FIELD = "request_id"
CALL_HEADER = "x-peermentor-call"
"""The metadata in which the gateway numbers calls: all attempts of one have the same."""


def _methods() -> Iterator[MethodDescriptor]:
    for file in (ASSIGNMENTS, TEMPLATES):
        for service in file.services_by_name.values():
            yield from service.methods


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


READS = frozenset(
    _path(method)
    for method in _methods()
    if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
)
"""The methods that change nothing."""

ALWAYS = frozenset(
    _path(method)
    for method in _methods()
    if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
)
"""The methods that are safe to repeat as they are."""

WITH_KEY = frozenset(
    _path(method) for method in _methods() if KEY_FIELD in method.input_type.fields_by_name
)
"""The methods that are safe to repeat when the request has an id."""


def is_repeatable(method: str, request: Any, metadata: Any) -> bool:
    """Tell whether this call may be made again, whatever has become of it."""
    if method in ALWAYS:
        return True
    if method not in WITH_KEY:
        return False
    return bool(getattr(request, KEY_FIELD)) or any(key == KEY_HEADER for key, _ in metadata)
