"""Who makes a call: what surrounds the RPCs has found that out, and hands it on."""

from typing import Any

from peermentor_server.rules.principals import Principal


def principal(context: Any) -> Principal:
    """Return the principal of a call."""
    found: Principal = context.principal
    return found
