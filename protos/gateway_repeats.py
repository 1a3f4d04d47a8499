#!/usr/bin/env python3
"""Writes into envoy.yaml which RPCs are safe to repeat, as the protos say.

Usage: gateway_repeats.py DESCRIPTOR_SET ENVOY_YAML
"""

import base64
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

BEGIN, END = "-- generated from the protos by make generate\n", "-- end of generated\n"
RESOURCE_EXHAUSTED = 8


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


def shed_details() -> str:
    """Return grpc-status-details-bin of a call that was one too many."""
    status = Status(
        code=RESOURCE_EXHAUSTED,
        message="too many calls at once; try again later",
    )
    status.details.add().Pack(ErrorInfo(reason="OVERLOADED", domain="peermentor"))
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=1)))
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")


def table(name: str, paths: Iterable[str]) -> str:
    """Return a set of Lua."""
    return f"local {name} = {{\n" + "".join(f'  ["{path}"] = true,\n' for path in paths) + "}\n"


def main(descriptor_set: str, config: str) -> None:
    """Rewrite the generated part of the gateway's configuration."""
    files = FileDescriptorSet.FromString(Path(descriptor_set).read_bytes())
    code = table("SAFE", safe_methods(files)) + table("SAFE_WITH_KEY", keyed_methods(files))
    code += f'local SHED_DETAILS = "{shed_details()}"\n'
    text = Path(config).read_text(encoding="utf-8")
    pattern = re.compile(f"^( *){BEGIN}.*?^ *{END}", re.DOTALL | re.MULTILINE)
    (found,) = pattern.finditer(text)
    lines = [BEGIN, *code.splitlines(keepends=True), END]
    generated = "".join(found[1] + line for line in lines)
    Path(config).write_text(text[: found.start()] + generated + text[found.end() :], "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
