"""What the service and the gateway answer when they refuse a call, or cannot do what it asks.

Each is a google.rpc.Status in JSON, as `local_reply_config` of envoy.yaml and `rpc/errors` of the
server have it. The reasons, and the code of each, stand in error_reason.proto.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.rpc.code_pb2 import Code

from describe.comments import first_sentence
from describe.openapi.headers import REQUEST_ID, headers_of
from describe.openapi.schemas import narrowed, reference
from describe.options import Schema
from describe.reasons import STATUS_OF, Reasons
from gateway_contract import PACKAGE

TYPE = "type.googleapis.com/google.rpc."
# As `rules/errors` of the server has them.
RETRY_DELAYS = {"OVERLOADED": "1s", "TOO_MANY_ATTEMPTS": "60s"}


@dataclass(frozen=True)
class Refusal:
    """The answers of one status: the name of their schema, and when they are given."""

    name: str
    status: int
    code: str
    when: str
    bare: bool = True
    """Whether the gateway gives it by itself, without details."""
    reasons: tuple[str, ...] = ()


# What every call can be answered, with the reasons that are added to each.
EVERY_CALL = (
    Refusal(
        "InvalidRequest",
        400,
        "INVALID_ARGUMENT",
        "Fields are refused, all of which `field_violations` names (those of a wrong JSON type"
        " first, and one at a time); or what came is malformed: the JSON, the URL, a header.",
        bare=False,
    ),
    Refusal(
        "Unauthenticated",
        401,
        "UNAUTHENTICATED",
        "The service requires credentials, and the call has none that are valid.",
        bare=False,
    ),
    Refusal(
        "PermissionDenied",
        403,
        "PERMISSION_DENIED",
        "The credentials do not allow this, or not for this organization.",
        bare=False,
    ),
    Refusal("RequestTooSlow", 408, "DEADLINE_EXCEEDED", "The request took too long to arrive."),
    Refusal("BodyTooLarge", 413, "INVALID_ARGUMENT", "The body has more than 64 KiB."),
    Refusal("UrlTooLong", 414, "INVALID_ARGUMENT", "The URL has more than 8 KiB."),
    Refusal("HostNotServed", 421, "PERMISSION_DENIED", "This host name is not served."),
    Refusal("HttpVersion", 426, "INVALID_ARGUMENT", "This version of HTTP is not supported."),
    Refusal(
        "TooManyCalls",
        429,
        "RESOURCE_EXHAUSTED",
        "Too many calls at once, or too many without valid credentials. This one was not run."
        " `RetryInfo` and `Retry-After` say when to try again.",
        bare=False,
    ),
    Refusal(
        "HeadersTooLarge", 431, "INVALID_ARGUMENT", "The headers of the request are too large."
    ),
    Refusal(
        "InternalError",
        500,
        "INTERNAL",
        "A fault of the server; `ErrorInfo` holds the `request_id` that its log names.",
    ),
    Refusal("NotImplemented", 501, "UNIMPLEMENTED", "An unknown transfer coding."),
    Refusal(
        "Unavailable",
        503,
        "UNAVAILABLE",
        "The service or its database does not answer. Whether a change was stored is not known."
        " Try again.",
    ),
    Refusal(
        "DeadlineExceeded",
        504,
        "DEADLINE_EXCEEDED",
        "The service took too long to answer. Whether a change was stored is not known.",
    ),
)
# What calls with a body can be answered besides.
NOT_JSON = Refusal(
    "NotJson", 415, "INVALID_ARGUMENT", "The body is compressed, or its type is not JSON."
)


class Errors:
    """The answers to refused calls, and their schemas."""

    def __init__(self, reasons: Reasons) -> None:
        self.responses: dict[str, Any] = {}
        self.schemas = dict(_common_schemas())
        self._reasons = reasons

    def of(self, method: MethodDescriptor, *, body: bool) -> dict[str, Any]:
        """Return the answers to calls of a method that are refused, by their status."""
        refusals = [*EVERY_CALL, *([NOT_JSON] if body else [])]
        refusals = [replace(each, reasons=self._general(each.code)) for each in refusals]
        refusals += self._own(self._reasons.of(method))
        answers = {}
        for refusal in sorted(refusals, key=lambda each: each.status):
            self._add(refusal)
            answers[str(refusal.status)] = {"$ref": f"#/components/responses/{refusal.name}"}
        return answers

    def _general(self, code: str) -> tuple[str, ...]:
        reasons = self._reasons
        return tuple(each for each in reasons.general if reasons.told[each][0] == code)

    def _own(self, reasons: Iterable[str]) -> Iterator[Refusal]:
        """Yield the refusals that an RPC names in its comment, one for each status."""
        by_code: dict[str, list[str]] = {}
        for reason in reasons:
            by_code.setdefault(self._reasons.told[reason][0], []).append(reason)
        for code, names in by_code.items():
            when = " ".join(_sentence(self._reasons.told[name][1]) for name in names)
            name = "Or".join(each.title().replace("_", "") for each in names)
            yield Refusal(name, STATUS_OF[code], code, when, bare=False, reasons=tuple(names))

    def _add(self, refusal: Refusal) -> None:
        examples = {each: {"value": self._example(refusal, each)} for each in refusal.reasons}
        if refusal.bare:
            examples["gateway"] = {"value": _status(refusal.code, refusal.when, [])}
        self.responses[refusal.name] = {
            "description": refusal.when,
            "headers": headers_of(refusal.status),
            "content": {"application/json": {"schema": _schema(refusal), "examples": examples}},
        }

    def _example(self, refusal: Refusal, reason: str) -> dict[str, Any]:
        words = first_sentence(self._reasons.told[reason][1])
        metadata = {"request_id": REQUEST_ID} if refusal.code == "INTERNAL" else {}
        details = [_detail("ErrorInfo", reason=reason, domain=PACKAGE, metadata=metadata)]
        if reason == "INVALID_FIELD":
            words = "start_date: must be a date such as 2026-03-26"
            field, _, description = words.partition(": ")
            violation = {"field": field, "description": description}
            details.append(_detail("BadRequest", field_violations=[violation]))
        if reason in RETRY_DELAYS:
            details.append(_detail("RetryInfo", retry_delay=RETRY_DELAYS[reason]))
        return _status(refusal.code, words, details)


def _schema(refusal: Refusal) -> Schema:
    """Narrow the schema of all errors to that of one refusal."""
    details: Schema = {}
    if refusal.reasons:
        details["items"] = {"properties": {"reason": {"enum": list(refusal.reasons)}}}
    if not refusal.bare:
        details["minItems"] = 1
    elif not refusal.reasons:
        details["maxItems"] = 0
    return narrowed("ErrorResponse", code={"const": Code.Value(refusal.code)}, details=details)


def _common_schemas() -> Iterator[tuple[str, Schema]]:
    text = {"type": "string"}
    yield (
        "ErrorResponse",
        _object(
            "Why a call was refused: a google.rpc.Status. Branch on `code` and on the `reason`"
            " of `ErrorInfo`, which stands first in `details`, and not on messages.",
            code={"type": "integer", "format": "int32", "description": "A gRPC status code."},
            message=text | {"description": "For people. It may change."},
            details={"type": "array", "items": reference("ErrorDetail")},
        ),
    )
    kinds = {
        "ErrorInfo": _object(
            "Why, for programs.",
            reason=text | {"description": "One of ErrorReason, without the prefix."},
            domain=text | {"const": PACKAGE},
            metadata={
                "type": "object",
                "additionalProperties": text,
                "description": "With INTERNAL: the `request_id` that the log names.",
            },
        ),
        "BadRequest": _object(
            "The fields that are refused.",
            field_violations={
                "type": "array",
                "minItems": 1,
                "items": reference("FieldViolation"),
            },
        ),
        "RetryInfo": _object(
            "When to try again.",
            retry_delay=text | {"pattern": "^[0-9]+s$", "description": "Such as `1s`."},
        ),
    }
    for name, schema in kinds.items():
        schema["properties"] = {"@type": text | {"const": TYPE + name}} | schema["properties"]
        schema["required"].insert(0, "@type")
        yield name, schema
    yield (
        "ErrorDetail",
        {
            "description": "More about an error, of the kind that `@type` names.",
            "oneOf": [reference(name) for name in kinds],
            "discriminator": {
                "propertyName": "@type",
                "mapping": {TYPE + name: reference(name)["$ref"] for name in kinds},
            },
        },
    )
    yield (
        "FieldViolation",
        _object(
            "A field that is refused.",
            field=text | {"description": "Such as `mentor_ids[2]`."},
            description=text | {"description": "What is wrong with it."},
        ),
    )


def _object(description: str, /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }


def _status(code: str, message: str, details: list[Any]) -> dict[str, Any]:
    return {"code": Code.Value(code), "message": message.rstrip("."), "details": details}


def _detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": TYPE + kind, **fields}


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
