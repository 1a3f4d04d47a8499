"""The headers of requests and answers that callers have to do with."""

from typing import Any

from describe.options import find_enum, text_limits

# As in the examples of docs.
REQUEST_ID = "b1946ac9-2d4f-4b0b-9f43-1c1b1c6f6d10"
ETAG = '"3-1.16"'

Header = dict[str, Any]

# Without examples: tools send these along as they stand, and an etag or a key of an example
# would be that of another state or of another call.
PARAMETERS: dict[str, Header] = {
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "description": "Names the call in the log, and comes back in the answer. It is cut to 64"
        " characters, and what is not printable ASCII is replaced. Without it, the call gets one.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`handling=strict` refuses unknown fields and names them. Otherwise they"
        " are ignored.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes the call safe to repeat: when no answer came, send the same request"
        " again with the same key, preferably a UUID4. A create is known again for a day, an"
        " update for a minute.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": f"One etag or more, such as `{ETAG}`, one of which has to be current; `*`"
        " stands for each. The field `etag` does the same.",
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The etags of the answers that the caller has. If one of them is current,"
        " nothing more is sent.",
        "schema": {"type": "string"},
    },
}

HEADERS: dict[str, Header] = {
    "RequestId": {
        "description": "The id of the call, the caller's own or a new one. The log has it too. Only"
        " what the gateway could not read as a request is answered without.",
        "schema": {"type": "string", "maxLength": 64},
    },
    "ETag": {
        "description": "The `etag` of the resource, or of the file.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[^"]*"$'},
    },
    "ContentDisposition": {
        "description": "A name for the file.",
        "required": True,
        "schema": {"type": "string", "pattern": '^attachment; filename="[a-z0-9.-]+"$'},
    },
    "PreferenceApplied": {
        "description": "Says that `Prefer: handling=strict` was followed.",
        "schema": {"const": "handling=strict"},
    },
    "RetryAfter": {
        "description": "The seconds to wait before the call is made again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Challenge": {
        "description": "How to show credentials.",
        "required": True,
        "schema": {"const": 'Bearer realm="peermentor"'},
    },
}

_OF_STATUS = {401: {"www-authenticate": "Challenge"}, 429: {"retry-after": "RetryAfter"}}


def headers_of(
    status: int, *, body: bool = False, tagged: bool = False, file: bool = False
) -> dict[str, Any]:
    """Return the headers of an answer of this status, to a call with or without a body.

    `tagged`: of one that has the header ETag. `file`: of one that is a file.
    """
    names = {"x-request-id": "RequestId"} | _OF_STATUS.get(status, {})
    if tagged:
        names["etag"] = "ETag"
    if file:
        names["content-disposition"] = "ContentDisposition"
    if body:
        names["preference-applied"] = "PreferenceApplied"
    return {name: {"$ref": f"#/components/headers/{each}"} for name, each in names.items()}


def parameters() -> dict[str, Header]:
    """Return all headers of requests. If-Match may be what the field `etag` may be."""
    etags = text_limits(find_enum("TextFormat").values_by_name["TEXT_FORMAT_ETAGS"])
    schema = PARAMETERS["IfMatch"]["schema"] | etags
    return PARAMETERS | {"IfMatch": PARAMETERS["IfMatch"] | {"schema": schema}}


def parameter(name: str) -> dict[str, str]:
    """Return a reference to a header of a request."""
    return {"$ref": f"#/components/parameters/{name}"}
