#!/usr/bin/env python3
"""A plugin of protoc that writes the models and the asynchronous client of the Python SDK.

It reads a CodeGeneratorRequest and answers with _models.py and _async_client.py; synchronous.py
derives the other client. What follows from a proto:

- A service `ThingService` becomes `client.things`, and an RPC `ListOverdueThings` its method
  `list_overdue`. A path variable of the HTTP rule is positional; other fields go by keyword.
- An RPC whose answer has a `next_page_token` gives a list, and one whose answer has `data` alone
  gives a tuple; one that deletes gives nothing, and one that answers with an HttpBody its bytes.
- An enum becomes a StrEnum; one that requests hold may be given as a plain string, too.
- A message that answers hold becomes a dataclass. A field with the option `nullable` may be None,
  and a string whose `text_format` says so is a date, or a date or an instant (options.proto).
- A field with the option `debug_redact` is not shown by repr().
- A request field of the behaviour REQUIRED is an argument that must be given. In a list, None
  is no filter; in an update, None clears a field that is a message.
- A sentence about `update_mask` is left out of the comment of a field: the client writes it.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pool
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)

Field = FieldDescriptorProto
SCALARS = {
    Field.TYPE_STRING: "str",
    Field.TYPE_BOOL: "bool",
    Field.TYPE_BYTES: "bytes",
    Field.TYPE_DOUBLE: "float",
    Field.TYPE_FLOAT: "float",
    **dict.fromkeys((Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT32), "int"),
}
TIMESTAMP = ".google.protobuf.Timestamp"
FIELD_MASK = ".google.protobuf.FieldMask"
HTTP_BODY = ".google.api.HttpBody"
WRAPPERS = {
    ".google.protobuf.StringValue": "str",
    ".google.protobuf.BoolValue": "bool",
    ".google.protobuf.Int32Value": "int",
    ".google.protobuf.Int64Value": "int",
    ".google.protobuf.DoubleValue": "float",
}
# The numbers of fields in descriptor.proto, of which the paths of comments are made.
FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES = 4, 5, 6
MESSAGE_FIELDS, MESSAGE_MESSAGES, MESSAGE_ENUMS, ENUM_VALUES, SERVICE_METHODS = 2, 3, 4, 2, 2
REQUEST_ID = "request_id"
FIELD_OPTIONS = "peermentor/v1/options.proto"
# The functions that write a text, for each TextFormat that is a type of its own in Python.
TEXT_FORMATS = {1: "day", 2: "day_or_instant"}
# The service knows the key of a create again for a day, and that of an update for a minute: a
# little less, for clocks.
CREATE_KEY_S = 86_000
UPDATE_KEY_S = {MethodOptions.IDEMPOTENT: 50}
OPTIONS = """\
timeout: Seconds that $what may take with its repetitions. Default: the client's.
metadata: More headers for $what, over those of the client.
retries: How often $what is repeated at most. Default: $default.
"""


class Unsupported(Exception):
    """Something in the protos that the templates have no words for."""


@dataclass(frozen=True)
class Message:
    """A message: how Python code names it, and the comments of its fields."""

    python: str
    proto: DescriptorProto
    comment: str
    comments: dict[str, str]


@dataclass(frozen=True)
class Enumeration:
    """An enum, with the name of its Python class."""

    python: str
    name: str
    proto: EnumDescriptorProto
    comment: str
    comments: list[str]


class Protos:
    """The files to generate for, with everything in them by its full name."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self.messages: dict[str, Message] = {}
        self.enums: dict[str, Enumeration] = {}
        self.services: list[tuple[FileDescriptorProto, ServiceDescriptorProto, str, list[str]]] = []
        self.modules: list[tuple[str, str]] = []
        for file in files:
            self._add(file)
        if any(method.output_type == HTTP_BODY for method in self._rpcs()):
            body = Message("httpbody_pb2.HttpBody", DescriptorProto(name="HttpBody"), "", {})
            self.messages[HTTP_BODY] = body
            self.modules.append(("google.api", "httpbody_pb2"))

    def _rpcs(self) -> Iterator[MethodDescriptorProto]:
        for _, service, _, _ in self.services:
            yield from service.method

    def _add(self, file: FileDescriptorProto) -> None:
        package, _, name = file.name.removesuffix(".proto").replace("/", ".").rpartition(".")
        module = f"{name}_pb2"
        self.modules.append((package, module))
        comments = {
            tuple(each.path): _unindented(each.leading_comments)
            for each in file.source_code_info.location
        }
        scope = f".{file.package}"
        for index, enum in enumerate(file.enum_type):
            self._add_enum(enum, scope, module, (FILE_ENUMS, index), comments)
        for index, message in enumerate(file.message_type):
            self._add_message(message, scope, module, (FILE_MESSAGES, index), comments)
        for index, service in enumerate(file.service):
            path = (FILE_SERVICES, index)
            methods = [
                comments.get((*path, SERVICE_METHODS, each), "")
                for each in range(len(service.method))
            ]
            self.services.append((file, service, comments.get(path, ""), methods))

    def _add_message(
        self,
        message: DescriptorProto,
        scope: str,
        module: str,
        path: tuple[int, ...],
        comments: dict[tuple[int, ...], str],
    ) -> None:
        full, python = f"{scope}.{message.name}", f"{module}.{message.name}"
        fields = {
            field.name: comments.get((*path, MESSAGE_FIELDS, index), "")
            for index, field in enumerate(message.field)
        }
        self.messages[full] = Message(python, message, comments.get(path, ""), fields)
        for index, enum in enumerate(message.enum_type):
            self._add_enum(enum, full, python, (*path, MESSAGE_ENUMS, index), comments)
        for index, inner in enumerate(message.nested_type):
            self._add_message(inner, full, python, (*path, MESSAGE_MESSAGES, index), comments)

    def _add_enum(
        self,
        enum: EnumDescriptorProto,
        scope: str,
        module: str,
        path: tuple[int, ...],
        comments: dict[tuple[int, ...], str],
    ) -> None:
        values = [comments.get((*path, ENUM_VALUES, index), "") for index in range(len(enum.value))]
        owner = module.partition(".")[2].replace(".", "")
        self.enums[f"{scope}.{enum.name}"] = Enumeration(
            f"{module}.{enum.name}", owner + enum.name, enum, comments.get(path, ""), values
        )

    def is_list(self, message: Message) -> bool:
        """Tell whether a message is a page of a list."""
        return any(field.name == "next_page_token" for field in message.proto.field)

    def holds_items(self, message: Message) -> bool:
        """Tell whether a message is a list, and nothing besides."""
        return [field.name for field in message.proto.field] == ["data"]

    def is_paged(self, request: Message) -> bool:
        """Tell whether a message asks for a list."""
        return any(field.name == "page_token" for field in request.proto.field)

    def items(self, message: Message) -> Message:
        """Return what a page of a list holds."""
        (data,) = [field for field in message.proto.field if field.name == "data"]
        return self.messages[data.type_name]

    def answers(self) -> list[Message]:
        """Return every message that is a model: what calls give, and what that holds."""
        found: dict[str, Message] = {}
        for method in self._rpcs():
            if not method.name.startswith("Delete") and method.output_type != HTTP_BODY:
                answer = self.messages[method.output_type]
                of_items = self.is_list(answer) or self.holds_items(answer)
                self._collect(self.items(answer) if of_items else answer, found)
        return list(found.values())

    def _collect(self, message: Message, found: dict[str, Message]) -> None:
        if message.python not in found:
            found[message.python] = message
            for field in message.proto.field:
                if field.type_name in self.messages:
                    self._collect(self.messages[field.type_name], found)

    # --- Models ---

    def models(self) -> str:
        """Write _models.py."""
        models = self.answers()
        exports = [each.name for each in self.enums.values()]
        exports += [f"{name}Name" for name in self._given_enums()]
        exports += [each.proto.name for each in models]
        return _render(
            "models.py",
            imports=self._imports(),
            exports=_exports(exports),
            types="".join([*map(self._enum, self.enums.values()), *map(self._model, models)]),
        )

    def _enum(self, enum: Enumeration) -> str:
        prefix = re.sub("(?<=[a-z])(?=[A-Z])", "_", enum.proto.name).upper() + "_"
        values = [value.name.removeprefix(prefix) for value in enum.proto.value]
        members = [
            f'    {value.upper()} = "{value}"\n{_doc_below(comment)}'
            for value, comment in zip(values, enum.comments, strict=True)
        ]
        text = _render(
            "enum",
            name=enum.name,
            doc=_doc(enum.comment, 4),
            members="".join(members).rstrip(),
        )
        if enum.name not in self._given_enums():
            return text
        names = ", ".join(f'"{value}"' for value in values[1:])
        return text + _render("enum_names", name=enum.name, names=names)

    def _given_enums(self) -> set[str]:
        """Return the names of the enums that requests hold."""
        requests = [self.messages[method.input_type].proto for method in self._rpcs()]
        given = {field.type_name for request in requests for field in request.field}
        return {enum.name for full, enum in self.enums.items() if full in given}

    def _model(self, message: Message) -> str:
        fields, values = [], []
        for field in message.proto.field:
            comment = message.comments[field.name]
            kind, value = self._reading(field)
            # What is not for logs is not shown by repr().
            hidden = " = field(repr=False)" if field.options.debug_redact else ""
            fields.append(f"    {field.name}: {kind}{hidden}\n{_doc_below(comment)}")
            values.append(f"            {field.name}={value},")
        return _render(
            "model",
            name=message.proto.name,
            doc=_doc(message.comment, 4),
            message=message.python,
            fields="".join(fields).rstrip(),
            values="\n".join(values),
        )

    def _reading(self, field: FieldDescriptorProto) -> tuple[str, str]:
        """Return the type of a model's field, and the expression that reads it."""
        value, present = f"message.{field.name}", f"message.HasField({field.name!r})"
        if field.type == Field.TYPE_MESSAGE:
            return self._reading_message(field)
        if field.type_name in self.enums:
            enum = self.enums[field.type_name]
            return enum.name, f"_reading.member({enum.name}, {enum.python}, {value})"
        if field.type not in SCALARS:
            raise Unsupported(f"{field.name}: a field of this type")
        kind = SCALARS[field.type]
        if field.label == Field.LABEL_REPEATED:
            return _reading_list(field, kind)
        if _text_format(field):
            return "date" + _nullable(field), f'_reading.day("{field.name}", {value})'
        if field.proto3_optional:
            return f"{kind} | None", f"{value} if {present} else None"
        return kind, value

    def _reading_message(self, field: FieldDescriptorProto) -> tuple[str, str]:
        read = f'_reading.present(message, "{field.name}", {{}})'.format
        if field.type_name == TIMESTAMP:
            return "datetime" + _nullable(field), read("_reading.instant")
        if field.type_name in WRAPPERS:
            return f"{WRAPPERS[field.type_name]} | None", read("_reading.unwrapped")
        if field.type_name not in self.messages:
            raise Unsupported(f"{field.name}: a field of this type")
        kind = self.messages[field.type_name].proto.name
        if field.label == Field.LABEL_REPEATED:
            value = f"tuple(map({kind}.from_message, message.{field.name}))"
            return f'tuple["{kind}", ...]', value
        return f'"{kind} | None"', read(f"{kind}.from_message")

    # --- Client ---

    def client(self) -> str:
        """Write _async_client.py."""
        resources = [_resource(service.name) for _, service, _, _ in self.services]
        attributes = [_snake(each) for each in resources]
        return _render(
            "client.py",
            imports=self._imports(),
            exports=_exports([f"Async{each}" for each in ["Client", *resources]]),
            overview="\n".join(f"    - `{each}`" for each in attributes),
            services="".join(
                _render(
                    "service",
                    attribute=_snake(resource),
                    resource=resource,
                    summary=_doc(_first_paragraph(comment), 4),
                )
                for resource, (_, _, comment, _) in zip(resources, self.services, strict=True)
            ).rstrip(),
            resources="".join(
                _render(
                    "resource",
                    resource=_resource(service.name),
                    doc=_doc(comment, 4),
                    methods="".join(self._methods(file, service, comments)).rstrip(),
                )
                for file, service, comment, comments in self.services
            ),
        )

    def _methods(
        self,
        file: FileDescriptorProto,
        service: ServiceDescriptorProto,
        comments: list[str],
    ) -> Iterator[str]:
        for method, comment in zip(service.method, comments, strict=True):
            if method.client_streaming or method.server_streaming:
                raise Unsupported(f"{method.name}: streams")
            path = f"/{file.package}.{service.name}/{method.name}"
            yield self._method(method, _resource(service.name), path, comment)

    def _method(
        self,
        method: MethodDescriptorProto,
        resource: str,
        path: str,
        comment: str,
    ) -> str:
        request, response = self.messages[method.input_type], self.messages[method.output_type]
        names = {field.name for field in request.proto.field}
        positional = _path_variables(method)
        identity = [each for each in request.proto.field if each.name in positional]
        others = [
            each
            for each in request.proto.field
            if each.name not in positional and each.type_name != FIELD_MASK
        ]
        parameters = [f"        {each.name}: {self._argument(each, request)}," for each in identity]
        parameters.append("        *,")
        parameters += [
            f"        {each.name}: {self._parameter(each, request)},"
            for each in sorted(others, key=_is_required, reverse=True)
        ]
        arguments = [
            f"    {each.name}: {_indented(_argument_comment(each, request), 8)}"
            for each in [*identity, *others]
        ]
        level = method.options.idempotency_level
        repeatable = level != MethodOptions.IDEMPOTENCY_UNKNOWN or REQUEST_ID in names
        options = Template(OPTIONS).substitute(
            what="each page" if self.is_list(response) else "the call",
            default="the client's" if repeatable else "not at all",
        )
        arguments += [f"    {each}" for each in options.splitlines()]
        returns, answer, waits = self._answer(method, response)
        return _render(
            "method",
            name=_method_name(method.name, resource),
            async_="async " if waits else "",
            parameters="\n".join(parameters),
            returns=returns,
            doc=_doc("\n".join([comment, "", "Arguments:", *arguments]), 8),
            path=path,
            request=request.python,
            response=response.python,
            repeatable=repeatable,
            key_lasts=CREATE_KEY_S if REQUEST_ID in names else UPDATE_KEY_S.get(level, 0),
            identity=", ".join(f'"{each.name}": {each.name}' for each in identity),
            fields="".join(f'\n                "{each.name}": {each.name},' for each in others)
            + "\n            " * bool(others),
            texts=", ".join(_texts([*identity, *others])),
            answer=answer,
        )

    def _parameter(self, field: FieldDescriptorProto, request: Message) -> str:
        """Return the type of an argument that goes by keyword, and its default."""
        kind = self._argument(field, request)
        if _is_required(field):
            return kind
        if self.is_paged(request):
            return f"{kind} | None = None"
        return f"{kind}{' | None' * _is_clearable(field, request)} | Unset = UNSET"

    def _argument(self, field: FieldDescriptorProto, request: Message) -> str:
        if field.type_name == TIMESTAMP:
            kind = "datetime"
        elif field.type_name in WRAPPERS:
            kind = WRAPPERS[field.type_name]
        elif field.type_name in self.enums:
            name = self.enums[field.type_name].name
            kind = f"_models.{name} | _models.{name}Name"
        elif field.type in SCALARS:
            kind = SCALARS[field.type]
            if _text_format(field):
                kind = "str | date"
            elif field.name == REQUEST_ID:
                kind = "str | UUID"
        else:
            raise Unsupported(f"{request.python}.{field.name}: a request field of this type")
        return f"Sequence[{kind}]" if field.label == Field.LABEL_REPEATED else kind

    def _answer(self, method: MethodDescriptorProto, response: Message) -> tuple[str, str, bool]:
        """Return the type of what a method gives, its last line, and whether it waits."""
        indent = " " * 8
        sent = "await self._connection.send(call, request)"
        if self.is_list(response):
            item = f"_models.{self.items(response).proto.name}"
            listing = f"AsyncListing(self._connection, call, request, {item})"
            return f"AsyncListing[{item}]", f"{indent}return {listing}", False
        if method.name.startswith("Delete"):
            return "None", f"{indent}{sent}", True
        if method.output_type == HTTP_BODY:
            # Types of what google ships are not known everywhere.
            content = f"{indent}content: bytes = ({sent}).data\n{indent}return content"
            return "bytes", content, True
        if self.holds_items(response):
            item = f"_models.{self.items(response).proto.name}"
            items = f"tuple(map({item}.from_message, ({sent}).data))"
            return f"tuple[{item}, ...]", f"{indent}return {items}", True
        model = f"_models.{response.proto.name}"
        return model, f"{indent}return {model}.from_message({sent})", True

    def _imports(self) -> str:
        return "\n".join(f"from {package} import {module}" for package, module in self.modules)


def _render(template: str, **words: object) -> str:
    file = Path(__file__).parent / "templates" / f"{template}.tmpl"
    return Template(file.read_text(encoding="utf-8")).substitute(words)


def _exports(names: Iterable[str]) -> str:
    return "\n".join(f'    "{name}",' for name in sorted(names))


def _resource(service: str) -> str:
    """`AssignmentService` is about Assignments."""
    return re.sub("y$", "ie", service.removesuffix("Service")) + "s"


def _method_name(rpc: str, resource: str) -> str:
    """`ListOverdueAssignments` is `list_overdue`."""
    singular = re.sub("ie$", "y", resource.removesuffix("s"))
    words = re.findall("[A-Z][a-z0-9]*", rpc)
    return _snake("".join(word for word in words if word not in {resource, singular}))


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _path_variables(method: MethodDescriptorProto) -> set[str]:
    rule = method.options.Extensions[annotations_pb2.http]
    return set(re.findall("{([a-z_]+)", getattr(rule, rule.WhichOneof("pattern") or "get")))


def _nullable(field: FieldDescriptorProto) -> str:
    return " | None" if _option(field, "nullable") else ""


def _text_format(field: FieldDescriptorProto) -> str:
    """Return the function that writes a text, if it stands for more than itself."""
    return TEXT_FORMATS.get(_option(field, "text_format"), "")


def _option(field: FieldDescriptorProto, name: str) -> Any:
    option = descriptor_pool.Default().FindExtensionByName(f"peermentor.v1.{name}")
    options: Any = field.options
    return options.Extensions[option]


def _is_required(field: FieldDescriptorProto) -> bool:
    behaviour = field.options.Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviour


def _is_clearable(field: FieldDescriptorProto, request: Message) -> bool:
    return field.type == Field.TYPE_MESSAGE and any(
        each.type_name == FIELD_MASK for each in request.proto.field
    )


def _reading_list(field: FieldDescriptorProto, kind: str) -> tuple[str, str]:
    value = f"message.{field.name}"
    if _text_format(field):
        return "tuple[date, ...]", f'tuple(_reading.day("{field.name}", each) for each in {value})'
    return f"tuple[{kind}, ...]", f"tuple({value})"


def _texts(fields: Iterable[FieldDescriptorProto]) -> Iterator[str]:
    """Yield the entries of a dict: how to write the fields that are dates or ids of requests."""
    for field in fields:
        if field.name == REQUEST_ID:
            yield f'"{field.name}": uuid'
        elif _text_format(field):
            several = "s" * (field.label == Field.LABEL_REPEATED)
            yield f'"{field.name}": {_text_format(field)}{several}'


def _argument_comment(field: FieldDescriptorProto, request: Message) -> str:
    """Return the comment of a request field in the words of the client."""
    sentences = re.split(r"(?<=\.)\s+", request.comments[field.name])
    if not any("update_mask" in each for each in sentences):
        return request.comments[field.name]
    told = [each for each in sentences if "update_mask" not in each]
    if _is_clearable(field, request):
        told.append("None clears it.")
    elif field.label == Field.LABEL_REPEATED:
        told.append("An empty list clears it.")
    return " ".join(told)


def _unindented(comment: str) -> str:
    return "\n".join(line.removeprefix(" ") for line in comment.rstrip().split("\n"))


def _first_paragraph(comment: str) -> str:
    return comment.partition("\n\n")[0]


def _indented(comment: str, width: int) -> str:
    return re.sub("\n(?!\n)", "\n" + " " * width, comment)


def _doc(comment: str, width: int) -> str:
    """Return a comment as the inside of a docstring."""
    comment = comment.replace("\\", "\\\\").replace('"""', "'''")
    end = "\n" + " " * width if "\n" in comment else ""
    return _indented(comment, width) + end


def _doc_below(comment: str) -> str:
    return f'    """{_doc(comment, 4)}"""\n' if comment else ""


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """Write all files."""
    wanted = set(request.file_to_generate) - {FIELD_OPTIONS}
    protos = Protos(file for file in request.proto_file if file.name in wanted)
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    try:
        files = {"_models": protos.models(), "_async_client": protos.client()}
    except Unsupported as error:
        response.error = f"the SDK generator knows no {error}"
        return response
    for name, content in files.items():
        response.file.add(name=f"peermentor/{name}.py", content=content)
    return response


def _request(data: bytes) -> CodeGeneratorRequest:
    """Read what protoc sends, with the options of our own."""
    for file in CodeGeneratorRequest.FromString(data).proto_file:
        if file.name == FIELD_OPTIONS:
            descriptor_pool.Default().Add(file)
    return CodeGeneratorRequest.FromString(data)


if __name__ == "__main__":
    sys.stdout.buffer.write(generate(_request(sys.stdin.buffer.read())).SerializeToString())
