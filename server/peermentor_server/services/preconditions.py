"""What a caller expects of a resource before it is changed or deleted (AIP-154)."""

from typing import Any

import grpc

from peermentor_server.rules import etags
from peermentor_server.rules.etags import Precondition
from peermentor_server.services.validation import Checks

MATCH_HEADER = "if-match"
"""The metadata that may carry the etag instead of the field of the request, or besides it."""
FIELD = "etag"


def read(check: Checks, request: Any, context: grpc.ServicerContext) -> Precondition:
    """Return what the field and the metadata ask for."""
    given = {FIELD: request.etag} if check.has(FIELD) else {}
    # A header that is given again goes on the list.
    headers = [str(value) for key, value in context.invocation_metadata() if key == MATCH_HEADER]
    if headers:
        given[MATCH_HEADER] = ", ".join(headers)
    for name, text in given.items():
        if not etags.is_list(text):
            check.refuse(name, etags.PROBLEM)
    return etags.precondition(given.values()) if given else etags.UNCONDITIONAL
