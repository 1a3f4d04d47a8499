#!/usr/bin/env python3
"""Writes gateway/contract.lua: all that the gateway's Lua knows of the protos, and refusals.

Usage: gateway_contract.py DESCRIPTOR_SET CONTRACT_LUA

What the gateway has no way to do for a proto ends this program in words that name the place.
"""

import base64
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.api.annotations_pb2 import http
from google.api.http_pb2 import HttpRule
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

PACKAGE = "peermentor"
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 3, 4, 8, 12
# In the order in which `allow` names them.
VERBS = ("get", "post", "put", "patch", "delete")
# An answer that is not JSON but a file. The service gives it the header ETag.
HTTP_BODY = "google.api.HttpBody"
# Messages that are no objects in JSON.
TEXTS = {"google.protobuf.Timestamp": "instant", "google.protobuf.FieldMask": "scalar"}
WRAPPERS = {f"google.protobuf.{each}Value" for each in ("String", "Int32", "UInt32", "Double")}
Table = dict[str, "Table"] | list["Table"] | str
Binding = tuple[str, str, str, MethodDescriptor]


class Unsupported(Exception):
    """The gateway cannot do what the protos ask for."""


def methods_of(descriptor_set: bytes) -> list[MethodDescriptor]:
    """Return the RPCs of our own services."""
    pool = descriptor_pool.Default()
    files = FileDescriptorSet.FromString(descriptor_set).file
    for file in files:
        # What google ships may be there already.
        try:
            pool.FindFileByName(file.name)
        except KeyError:
            pool.Add(file)
    return [
        method
        for file in files
        if file.package.startswith(PACKAGE)
        for service in pool.FindFileByName(file.name).services_by_name.values()
        for method in service.methods
    ]


# --- REST ---


def bindings(methods: Iterable[MethodDescriptor]) -> Iterator[Binding]:
    """Yield verb, path, body and RPC of each HTTP rule."""
    for method in methods:
        rule = method.GetOptions().Extensions[http]
        for each in (rule, *rule.additional_bindings):
            yield binding(each, method)


def binding(rule: HttpRule, method: MethodDescriptor) -> Binding:
    """Return one HTTP rule of an RPC."""
    verb = rule.WhichOneof("pattern")
    if verb not in VERBS:
        raise Unsupported(f"{method.full_name}: needs an HTTP rule with one of {VERBS}")
    if rule.body not in {"", "*"} or rule.response_body:
        raise Unsupported(f"{method.full_name}: a body is the whole message, or there is none")
    path = getattr(rule, verb)
    if not re.fullmatch(r"(/([A-Za-z0-9._~:-]+|\{\w+\}))+", path):
        raise Unsupported(f"{method.full_name}: a variable of a path is one whole segment of it")
    return verb, path, rule.body, method


def routes(methods: Iterable[MethodDescriptor]) -> Table:
    """Return the methods of each path, the most specific path first."""
    verbs: dict[str, set[str]] = {}
    for verb, path, _, _ in bindings(methods):
        verbs.setdefault(path, set()).add(verb)
    return [
        {"path": path, "methods": ", ".join(each.upper() for each in VERBS if each in verbs[path])}
        for path in sorted(verbs, key=specific_first)
    ]


def specific_first(path: str) -> list[tuple[bool, str]]:
    """Sort a literal segment before a variable one, as the transcoder does."""
    return [(segment.startswith("{"), segment) for segment in path.split("/")]


def calls(methods: Iterable[MethodDescriptor]) -> Table:
    """Return what each call answers, and the kinds of the fields of its body."""
    result: dict[str, Table] = {}
    for verb, path, body, method in bindings(methods):
        call: dict[str, Table] = {"answer": method.output_type.full_name}
        if body:
            call["body"] = {field.name: kind(field) for field in method.input_type.fields}
        result[f"{verb.upper()} {path}"] = call
    return dict(sorted(result.items(), key=lambda each: each[0].partition(" ")[2]))


def kind(field: FieldDescriptor) -> str:
    """Return what the JSON value of a field of a request is."""
    # The gateway finds a field again by this, however a caller spells it.
    if re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", field.json_name) != field.name:
        raise Unsupported(f"{field.full_name}: name fields in lower_case, without _ before digits")
    if field.label == FieldDescriptor.LABEL_REPEATED:
        if field.type != FieldDescriptor.TYPE_STRING:
            raise Unsupported(f"{field.full_name}: lists are of texts only")
        return "list of texts"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "boolean"
    if field.message_type is None:
        return "scalar"
    name = field.message_type.full_name
    if name in WRAPPERS:
        return "scalar"
    if name not in TEXTS:
        raise Unsupported(f"{field.full_name}: no field of a request body holds an object")
    return TEXTS[name]


def enums(methods: Iterable[MethodDescriptor]) -> Table:
    """Return the values that a request may have, for each enum of requests."""
    found = {
        field.enum_type.full_name: field.enum_type
        for method in methods
        for field in method.input_type.fields
        if field.enum_type is not None
    }
    # Zero is what nobody has chosen.
    return {
        name: ", ".join(value.name for value in enum.values if value.number)
        for name, enum in sorted(found.items())
    }


# --- Nulls ---


def nulls(methods: Iterable[MethodDescriptor]) -> Table:
    """Return for each answer with nullable fields which they are, and where they are put in."""
    answers = {method.output_type.full_name: method.output_type for method in methods}
    result: dict[str, Table] = {}
    for name, answer in sorted(answers.items()):
        messages = list(reachable(answer, []))
        nullable = [message for message in messages if nullable_fields(message)]
        if nullable:
            result[name] = insertion(nullable, messages)
    return result


def reachable(message: Descriptor, seen: list[Descriptor]) -> list[Descriptor]:
    """Return the messages of our own that an answer holds, itself included."""
    if message not in seen and message.file.package.startswith(PACKAGE):
        seen.append(message)
        for field in message.fields:
            if field.message_type is not None:
                reachable(field.message_type, seen)
    return seen


def nullable_fields(message: Descriptor) -> list[FieldDescriptor]:
    """Return the fields that are printed as null when they are not set."""
    if not message.file.package.startswith(PACKAGE):
        return []
    option = descriptor_pool.Default().FindExtensionByName("peermentor.v1.nullable")
    return [field for field in message.fields if field.GetOptions().Extensions[option]]


def insertion(nullable: list[Descriptor], messages: list[Descriptor]) -> Table:
    """Say in front of which key the missing fields go.

    That key has a lower number than they have, is always printed but not first, and like them
    stands in no other message of the answer: so what follows it, up to the next such key, is all
    that an object may have of them.
    """
    if len(nullable) > 1:
        names = " and ".join(each.full_name for each in nullable)
        raise Unsupported(f"{names}: one message of an answer may have nullable fields")
    (message,) = nullable
    fields = sorted(nullable_fields(message), key=lambda field: field.number)
    printed = sorted(
        (field for field in message.fields if not field.has_presence),
        key=lambda field: field.number,
    )
    elsewhere = {field.name for each in messages if each is not message for field in each.fields}
    before = [
        field.name
        for field in printed[1:]
        if field.number < fields[0].number and field.name not in elsewhere
    ]
    if not before:
        raise Unsupported(f"{message.full_name}: nullable fields need two others before them")
    for field in fields:
        if field.name in elsewhere or not field.has_presence:
            raise Unsupported(f"{field.full_name}: cannot be nullable here")
    return {"before": before[-1], "fields": [field.name for field in fields]}


# --- Etags ---


def tagged(methods: Iterable[MethodDescriptor]) -> Table:
    """Return the answers that have an etag, be it as a field, which is then a header too."""
    answers = {method.output_type.full_name: method.output_type for method in methods}
    return {name: "etag" for name, answer in sorted(answers.items()) if has_etag(answer)}


def has_etag(answer: Descriptor) -> bool:
    """Tell whether an answer to GET has the header ETag."""
    return answer.full_name == HTTP_BODY or "etag" in answer.fields_by_name


# --- All calls ---


def repeatable(methods: Iterable[MethodDescriptor]) -> Table:
    """Return when RPCs may be repeated: always, with an id to know them by, or never."""
    result: dict[str, Table] = {}
    for method in methods:
        path = f"/{method.containing_service.full_name}/{method.name}"
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN:
            result[path] = "always"
        elif "request_id" in method.input_type.fields_by_name:
            result[path] = "with key"
        else:
            result[path] = "never"
    return result


def refusals() -> Table:
    """Return how gRPC calls are refused: a name, and the headers of the answer."""
    timeout = "grpc-timeout: must be at most 8 digits and one of H, M, S, m, u, n"
    encoding = "grpc-encoding: must be identity, deflate or gzip"
    message = "the request must be one whole message"
    accepted: dict[str, Table] = {"grpc-accept-encoding": "identity, deflate, gzip"}
    later = RetryInfo(retry_delay=Duration(seconds=1))
    too_many = "too many calls at once; try again later"
    return {
        "bad-timeout": refusal(INVALID_ARGUMENT, timeout, ErrorInfo(reason="MALFORMED_REQUEST")),
        "no-message": refusal(INVALID_ARGUMENT, message, ErrorInfo(reason="MALFORMED_REQUEST")),
        "bad-encoding": refusal(UNIMPLEMENTED, encoding) | accepted,
        "too-slow": refusal(DEADLINE_EXCEEDED, "the request took too long to arrive"),
        "too-large": refusal(RESOURCE_EXHAUSTED, "the message is larger than 1 MiB"),
        "too-many": refusal(RESOURCE_EXHAUSTED, too_many, ErrorInfo(reason="OVERLOADED"), later),
    }


def refusal(code: int, message: str, *details: Message) -> dict[str, Table]:
    """Return the headers of a gRPC answer that is nothing but a status."""
    headers: dict[str, Table] = {"grpc-status": str(code), "grpc-message": message}
    status = Status(code=code, message=message)
    for detail in details:
        if isinstance(detail, ErrorInfo):
            detail.domain = "peermentor"
        status.details.add().Pack(detail)
    if details:
        packed = base64.b64encode(status.SerializeToString(deterministic=True))
        headers["grpc-status-details-bin"] = packed.decode().rstrip("=")
    return headers


# --- Lua ---


def contract(methods: list[MethodDescriptor]) -> Iterator[str]:
    """Yield the parts of the file."""
    yield "-- Generated from protos/ by protos/gateway_contract.py (make generate). Do not edit.\n"
    yield "\nreturn {\n"
    yield part("The methods of each path, the most specific path first.", "routes", routes(methods))
    yield part("What a call answers, and its body's fields by kind.", "calls", calls(methods))
    yield part("The values of each enum in requests.", "enums", enums(methods))
    yield part("What answers print as null, and before which key.", "nulls", nulls(methods))
    yield part("Answers that have an etag.", "tagged", tagged(methods))
    yield part("All calls, and whether they may be made again.", "repeatable", repeatable(methods))
    yield part("How gRPC calls are refused, by x-refusal.", "refusals", refusals())
    yield "}\n"


def part(comment: str, name: str, content: Table) -> str:
    """Return a field of the table that the file returns."""
    return f"  -- {comment}\n  {name} = {lua(content, '  ')},\n"


def lua(value: Table, indent: str) -> str:
    """Return a constructor of Lua, in one line if it fits."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    inner = indent + "  "
    if isinstance(value, list):
        items = [lua(each, inner) for each in value]
    else:
        items = [f"{key(name)} = {lua(each, inner)}" for name, each in value.items()]
    line = "{" + ", ".join(items) + "}"
    if "\n" not in line and len(indent + line) <= 80:
        return line
    return "{\n" + "".join(f"{inner}{item},\n" for item in items) + indent + "}"


def key(name: str) -> str:
    """Return a key of a table."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f'["{name}"]'


def main(descriptor_set: str, file: str) -> None:
    """Write the file anew."""
    methods = methods_of(Path(descriptor_set).read_bytes())
    try:
        text = "".join(contract(methods))
    except Unsupported as error:
        sys.exit(f"the gateway: {error}")
    Path(file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
