"""What makes calls safe to repeat: which ones are, and which requests are the same.

The protos say which are: calls that change nothing, those whose repetition changes nothing more
(`idempotency_level`), and those that carry an id by which the service knows them again.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import DESCRIPTOR as ASSIGNMENTS
from peermentor.v1.templates_pb2 import DESCRIPTOR as TEMPLATES
from peermentor_server.rules.principals import Principal
from peermentor_server.services import callers
from peermentor_server.services.validation import Checks
from peermentor_server.storage import idempotency_keys
from peermentor_server.storage.idempotency_keys import Request

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


def request_id(check: Checks, request: Any, context: grpc.ServicerContext) -> str | None:
    """Return the id that the caller gave a create, in its field or in the metadata."""
    given = _values(KEY_HEADER, context)
    if not check.has(KEY_FIELD):
        return check.request_id(KEY_HEADER, given)
    return check.request_id(KEY_FIELD, given | {getattr(request, KEY_FIELD)})


def identify(
    check: Checks, owner: Principal, rpc: str, given_id: str | None, values: Mapping[str, Any]
) -> Request | None:
    """Return what distinguishes this request from others; None for one without an id.

    Only what the caller named counts: a default may be another one the next time, such as a
    start date of today.
    """
    if given_id is None:
        return None
    named = {name: value for name, value in values.items() if check.has(name)}
    return Request(owner.subject, rpc, given_id, idempotency_keys.digest(named))


def write_id(check: Checks, request: Message, context: grpc.ServicerContext) -> str:
    """Return what distinguishes an update from others; it is the same for all its attempts.

    The key that the caller gave it counts together with who asks for what; without one, the
    gateway's number of the call. For storage/recent_writes.
    """
    if key := check.request_id(KEY_HEADER, _values(KEY_HEADER, context)):
        content = request.SerializeToString(deterministic=True)
        owner = callers.principal(context).subject
        identity: tuple[object, ...] = (owner, key, request.DESCRIPTOR.full_name, content)
    else:
        identity = tuple(_values(CALL_HEADER, context))
    digest = hashlib.sha256(repr(identity).encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


def _values(header: str, context: grpc.ServicerContext) -> set[str]:
    return {str(value) for key, value in context.invocation_metadata() if key == header}
