"""Which requests are the same: what the services share to make creates safe to repeat."""

from collections.abc import Mapping
from typing import Any

import grpc

from peermentor_server.repeatable import KEY_FIELD, KEY_HEADER
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
