"""The description as a whole: its operations, and what they share."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from describe.comments import first_sentence, unwrapped
from describe.openapi.errors import Errors
from describe.openapi.examples import Examples
from describe.openapi.headers import HEADERS, headers_of, parameter, parameters
from describe.openapi.own_paths import OWN_PATHS, SCHEMAS, TAG
from describe.openapi.schemas import Schemas
from describe.options import is_required, permission
from describe.reasons import Reasons
from gateway_contract import HTTP_BODY, Unsupported, bindings, has_etag, specific_first

Json = dict[str, Any]

ABOUT = """
Who mentors whom, when they last had contact and who is overdue; and templates of recurring
activities.

- **Paths** also answer with the base path doubled, as in
`/api/v1/assignments/api/v1/assignments/asgn_001`. These are the same calls, and are
not listed here.
- **HEAD** is answered as GET is, without the body. Other methods than those of a path get 405, and
`Allow` lists those that it has; methods that the gateway does not know get 400. Unknown paths get
404.
- **Fields** of a body may also be spelt in camelCase. Unknown ones are ignored, or refused with
`Prefer: handling=strict`; those without a name always are. A field that is `null` counts as left
out. Unknown query parameters are always refused.
- **Queries** may have `+` or `%20` for a space, and `%2B` for a plus. The plus before the offset of
an instant may stand as it is.
- **PUT is partial**: the fields in the body change, the others stay. An empty list counts as left
out. To clear a field, name it in `update_mask` and leave its value out.
- **Instants** are written as in RFC 3339, with `Z` or an offset, and come back in UTC. A space may
stand for the `T`. Leap seconds and more than nine digits of a second are refused. Days are UTC
calendar days.
- **Errors** of the service and of the gateway have one shape, `ErrorResponse`.
"""
CREDENTIALS = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token (JWT) of the issuer that the service trusts.",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate, where the service takes them.",
    },
}
# The last one: where access is open, nobody needs any.
SECURITY: list[Json] = [{"bearer": []}, {"certificate": []}, {}]
# What paths that end so are answered with.
MEDIA_TYPES = {".ics": "text/calendar; charset=utf-8"}


class Document:
    """OpenAPI 3.1 of some RPCs."""

    def __init__(
        self, methods: Sequence[MethodDescriptor], comments: dict[str, str], examples: Examples
    ) -> None:
        self._methods = methods
        self._comments = comments
        self._examples = examples
        self._schemas = Schemas(comments)
        self._errors = Errors(Reasons(methods, comments))

    def content(self) -> Json:
        """Return all of it."""
        paths: dict[str, Json] = {}
        for verb, path, body, method in bindings(self._methods):
            paths.setdefault(path, {})[verb] = self._operation(verb, path, method, body=bool(body))
        ordered = {path: paths[path] for path in sorted(paths, key=specific_first)}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "peermentor",
                "version": "v1",
                "summary": "Peer-mentoring assignments and recurring activity templates",
                "description": unwrapped(ABOUT),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "The gateway that serves this file."}],
            "security": SECURITY,
            "tags": [*self._tags(), TAG],
            "paths": ordered | OWN_PATHS,
            "components": {
                "schemas": dict(
                    sorted((self._schemas.components | self._errors.schemas | SCHEMAS).items())
                ),
                "responses": dict(sorted(self._errors.responses.items())),
                "parameters": parameters(),
                "headers": HEADERS,
                "securitySchemes": CREDENTIALS,
            },
        }

    def _tags(self) -> Iterator[Json]:
        for service in dict.fromkeys(method.containing_service for method in self._methods):
            comment = self._comments[service.full_name]
            yield {"name": tag_of(service.name), "description": comment}

    def _operation(self, verb: str, path: str, method: MethodDescriptor, *, body: bool) -> Json:
        comment = self._comments[method.full_name]
        bound = re.findall(r"\{(\w+)\}", path)
        operation: Json = {
            "operationId": self._operation_id(verb, path, method),
            "tags": [tag_of(method.containing_service.name)],
            "summary": first_sentence(comment),
            "description": f"{comment}\n\nCredentials need the permission `{permission(method)}`.",
            "parameters": [
                *self._parameters(verb, path, method, bound, body=body),
                *_headers(verb, method, body=body),
            ],
        }
        if body:
            operation["requestBody"] = {
                "required": True,
                "content": self._body(verb, path, method, bound),
            }
        answers = {"200": self._answer(verb, path, method, body=body)}
        if _is_tagged(verb, method):
            answers["304"] = {
                "description": "The caller has the answer already, by `If-None-Match`.",
                "headers": headers_of(304, tagged=True),
            }
        operation["responses"] = answers | self._errors.of(method, body=body)
        return operation

    def _operation_id(self, verb: str, path: str, method: MethodDescriptor) -> str:
        """Return the name of the RPC, with a number if this is not its first route."""
        routes = [each[:2] for each in bindings([method])]
        number = routes.index((verb, path))
        name: str = method.name[0].lower() + method.name[1:]
        return f"{name}{number + 1}" if number else name

    def _parameters(
        self, verb: str, path: str, method: MethodDescriptor, bound: Sequence[str], *, body: bool
    ) -> Iterator[Json]:
        values = self._examples.variables(verb, path)
        for field in method.input_type.fields:
            if field.name in bound:
                example = {"example": values[field.name]} if field.name in values else {}
                yield self._parameter(field, "path") | {"required": True} | example
            elif not body:
                yield self._parameter(field, "query") | {"required": is_required(field)}

    def _parameter(self, field: FieldDescriptor, place: str) -> Json:
        return {
            "name": field.name,
            "in": place,
            "description": self._comments[field.full_name],
            "schema": self._schemas.value(field),
        }

    def _body(self, verb: str, path: str, method: MethodDescriptor, bound: Sequence[str]) -> Json:
        content: Json = {"schema": self._schemas.body(method.input_type, bound)}
        example = self._examples.of(verb, path)
        if example is not None:
            content["example"] = example["request"]
        return {"application/json": content}

    def _answer(self, verb: str, path: str, method: MethodDescriptor, *, body: bool) -> Json:
        message = method.output_type
        tagged = _is_tagged(verb, method)
        is_file = message.full_name == HTTP_BODY
        answer: Json = {"headers": headers_of(200, body=body, tagged=tagged, file=is_file)}
        if is_file:
            content = {_media_type(path): {"schema": {"type": "string"}}}
            return {"description": "The file."} | answer | {"content": content}
        content: Json = {"schema": self._schemas.answer(message)}
        example = self._examples.answer(verb, path, message)
        if example is not None:
            content["example"] = example
        description = self._comments[message.full_name]
        return {"description": description} | answer | {"content": {"application/json": content}}


def tag_of(service: str) -> str:
    """`AssignmentService` is about Assignments."""
    return re.sub("y$", "ie", service.removesuffix("Service")) + "s"


def _is_tagged(verb: str, method: MethodDescriptor) -> bool:
    """Tell whether the answer has the header ETag: gateway/rest.lua sees to that."""
    return verb == "get" and has_etag(method.output_type)


def _media_type(path: str) -> str:
    suffix = PurePosixPath(path).suffix
    if suffix not in MEDIA_TYPES:
        raise Unsupported(f"{path}: which kind of file is answered has to be known by its suffix")
    return MEDIA_TYPES[suffix]


def _headers(verb: str, method: MethodDescriptor, *, body: bool) -> Iterator[Json]:
    """Yield the headers that callers of a method may send."""
    options = method.GetOptions()
    changes = options.idempotency_level == MethodOptions.IDEMPOTENT
    if changes or "request_id" in method.input_type.fields_by_name:
        yield parameter("IdempotencyKey")
    if "etag" in method.input_type.fields_by_name:
        yield parameter("IfMatch")
    if _is_tagged(verb, method):
        yield parameter("IfNoneMatch")
    if body:
        yield parameter("Prefer")
    yield parameter("RequestId")
