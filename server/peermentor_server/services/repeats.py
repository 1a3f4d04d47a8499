"""Which requests are the same: what the services share to make writes safe to repeat."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from peermentor_server.repeatable import CALL_HEADER, KEY_FIELD, KEY_HEADER
from peermentor_server.services.checks import Checks
from peermentor_server.storage import requests
from peermentor_server.storage.requests import Request


def request_id(check: Checks, context: grpc.ServicerContext) -> str | None:
    """Return the id that the caller gave this request, in its field or in the metadata."""
    metadata = context.invocation_metadata()
    keys = {str(value) for key, value in metadata if key == KEY_HEADER}
    return check.request_id(KEY_FIELD, keys)


def identify(
    check: Checks, rpc: str, given_id: str | None, values: Mapping[str, Any]
) -> Request | None:
    """Return what tells this request from others; None for one without an id.

    Only what the caller named counts: a default may be another one the next time, such as a
    start date of today.
    """
    if given_id is None:
        return None
    named = {name: value for name, value in values.items() if check.has(name)}
    return Request(rpc, given_id, requests.digest(named))


def write_id(request: Message, context: grpc.ServicerContext) -> str:
    """Return what tells an update from others, and is the same however often it is made.

    The key that the caller gave it counts together with what is asked for; without one, the
    gateway's number of the call. For storage/recent_writes.
    """
    metadata = context.invocation_metadata()
    keys = sorted(value for key, value in metadata if key == KEY_HEADER)
    if keys:
        content = request.SerializeToString(deterministic=True)
        identity: tuple[object, ...] = (*keys, request.DESCRIPTOR.full_name, content)
    else:
        identity = tuple(value for key, value in metadata if key == CALL_HEADER)
    digest = hashlib.sha256(repr(identity).encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()
