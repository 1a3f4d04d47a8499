"""Who makes a call: what surrounds the RPCs has found that out, and hands it on."""

from collections.abc import Mapping
from typing import Any

from peermentor_server.rules.principals import Principal


def principal(context: Any) -> Principal:
    """Return the principal of a call."""
    found: Principal = context.principal
    return found


def add_headers(context: Any, headers: Mapping[str, str]) -> None:
    """Send these headers with the answer of a call, which are initial metadata of gRPC."""
    context.headers = tuple(headers.items())


def note_organization(context: Any, org_id: str) -> None:
    """Say for the log to which organisation belonged what a call has deleted."""
    context.organization = org_id
