#!/usr/bin/env python3
"""Writes into envoy.yaml which RPCs are safe to repeat, as the protos say, and refusals.

Usage: gateway_repeats.py DESCRIPTOR_SET ENVOY_YAML
"""

import base64
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

BEGIN, END = "-- generated from the protos by make generate\n", "-- end of generated\n"
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 3, 4, 8, 12


def safe_methods(files: FileDescriptorSet) -> Iterator[str]:
    """Yield the paths of RPCs whose repetition changes nothing more."""
    for file in files.file:
        for service in file.service:
            for method in service.method:
                if method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN:
                    yield f"/{file.package}.{service.name}/{method.name}"


def keyed_methods(files: FileDescriptorSet) -> Iterator[str]:
    """Yield the paths of RPCs that may carry an id by which a repetition is known."""
    for file in files.file:
        keyed = {
            f".{file.package}.{message.name}"
            for message in file.message_type
            if any(field.name == "request_id" for field in message.field)
        }
        for service in file.service:
            for method in service.method:
                if method.input_type in keyed:
                    yield f"/{file.package}.{service.name}/{method.name}"


def refusals() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield how gRPC calls are refused: a name, and the headers of the answer."""
    timeout = "grpc-timeout: must be at most 8 digits and one of H, M, S, m, u, n"
    yield "bad-timeout", refusal(INVALID_ARGUMENT, timeout, ErrorInfo(reason="MALFORMED_REQUEST"))
    encoding = "grpc-encoding: must be identity, deflate or gzip"
    accepted = {"grpc-accept-encoding": "identity, deflate, gzip"}
    yield "bad-encoding", refusal(UNIMPLEMENTED, encoding) | accepted
    yield "too-slow", refusal(DEADLINE_EXCEEDED, "the request took too long to arrive")
    yield "too-large", refusal(RESOURCE_EXHAUSTED, "the message is larger than 1 MiB")
    later = RetryInfo(retry_delay=Duration(seconds=1))
    too_many = "too many calls at once; try again later"
    yield "too-many", refusal(RESOURCE_EXHAUSTED, too_many, ErrorInfo(reason="OVERLOADED"), later)


def refusal(code: int, message: str, *details: Message) -> dict[str, str]:
    """Return the headers of a gRPC answer that is nothing but a status."""
    headers = {"grpc-status": str(code), "grpc-message": message}
    status = Status(code=code, message=message)
    for detail in details:
        if isinstance(detail, ErrorInfo):
            detail.domain = "peermentor"
        status.details.add().Pack(detail)
    if details:
        packed = base64.b64encode(status.SerializeToString(deterministic=True))
        headers["grpc-status-details-bin"] = packed.decode().rstrip("=")
    return headers


def table(name: str, paths: Iterable[str]) -> str:
    """Return a set of Lua."""
    return f"local {name} = {{\n" + "".join(f'  ["{path}"] = true,\n' for path in paths) + "}\n"


def main(descriptor_set: str, config: str) -> None:
    """Rewrite the generated part of the gateway's configuration."""
    files = FileDescriptorSet.FromString(Path(descriptor_set).read_bytes())
    code = table("SAFE", safe_methods(files)) + table("SAFE_WITH_KEY", keyed_methods(files))
    code += "local REFUSALS = {\n"
    for name, headers in refusals():
        code += f'  ["{name}"] = {{\n'
        code += "".join(f'    ["{each}"] = "{value}",\n' for each, value in headers.items())
        code += "  },\n"
    code += "}\n"
    text = Path(config).read_text(encoding="utf-8")
    pattern = re.compile(f"^( *){BEGIN}.*?^ *{END}", re.DOTALL | re.MULTILINE)
    (found,) = pattern.finditer(text)
    lines = [BEGIN, *code.splitlines(keepends=True), END]
    generated = "".join(found[1] + line for line in lines)
    Path(config).write_text(text[: found.start()] + generated + text[found.end() :], "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
