"""The comments of the protos, as Markdown, by the full name of what they are about."""

import re
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

# The numbers of fields in descriptor.proto, of which the paths of comments are made.
FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES = 4, 5, 6
MESSAGE_FIELDS, MESSAGE_MESSAGES, MESSAGE_ENUMS, ENUM_VALUES, SERVICE_METHODS = 2, 3, 4, 2, 2

Path = tuple[int, ...]
Named = Iterator[tuple[Path, str]]


def comments_of(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """Return the comments of everything in these files."""
    found = {}
    for file in files:
        texts = {
            tuple(each.path): each.leading_comments
            for each in file.source_code_info.location
            if each.leading_comments
        }
        for path, name in _names(file):
            found[f"{file.package}.{name}"] = unwrapped(texts.get(path, ""))
    return found


def _names(file: FileDescriptorProto) -> Named:
    for index, message in enumerate(file.message_type):
        yield from _in_message(message, (FILE_MESSAGES, index), message.name)
    for index, enum in enumerate(file.enum_type):
        yield from _in_enum(enum, (FILE_ENUMS, index), enum.name)
    for index, service in enumerate(file.service):
        path = (FILE_SERVICES, index)
        yield path, service.name
        for number, method in enumerate(service.method):
            yield (*path, SERVICE_METHODS, number), f"{service.name}.{method.name}"


def _in_message(message: DescriptorProto, path: Path, name: str) -> Named:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, MESSAGE_FIELDS, index), f"{name}.{field.name}"
    for index, enum in enumerate(message.enum_type):
        yield from _in_enum(enum, (*path, MESSAGE_ENUMS, index), f"{name}.{enum.name}")
    for index, inner in enumerate(message.nested_type):
        yield from _in_message(inner, (*path, MESSAGE_MESSAGES, index), f"{name}.{inner.name}")


def _in_enum(enum: EnumDescriptorProto, path: Path, name: str) -> Named:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, ENUM_VALUES, index), f"{name}.{value.name}"


def unwrapped(comment: str) -> str:
    """Return a comment with one line for each paragraph and each entry of a list."""
    lines = [line.removeprefix(" ").rstrip() for line in comment.strip("\n").split("\n")]
    text = "\n".join(lines).strip()
    return re.sub(r"(?<=\S)\n(?=[^\n-]) *", " ", text)


def first_sentence(text: str) -> str:
    """Return what a comment begins with, without its full stop."""
    sentence: str = re.split(r"(?<=\.)\s|;\s|\n", text, maxsplit=1)[0]
    return sentence.rstrip(".")
