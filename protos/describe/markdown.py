"""The reference of the gRPC API, in Markdown as forges show it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, MethodOptions

from describe.comments import first_sentence, unwrapped
from describe.options import (
    Schema,
    find_enum,
    is_required,
    limits,
    list_limits,
    organization_field,
    permission,
    text_format,
    text_limits,
)
from describe.reasons import STATUS_OF, Reasons
from gateway_contract import bindings, nullable_fields, reachable

ABOUT = """
<!-- Generated from protos/ by protos/describe/markdown.py (make generate). Do not edit. -->

# gRPC reference

Every call of `peermentor.v1`, with its fields, their limits and its errors. [api.md](api.md) shows
the calls by example and has the rules behind them. [openapi.json](openapi.json) is the reference of
REST.

The full name of a call is such as `peermentor.v1.AssignmentService/GetAssignment`. Of a request,
fields that are not **required** may be left out. Of an answer, all fields are set but those that
are **nullable**, which REST prints as `null` then. A call takes one message and answers one, unless
it says that it streams.
"""
FORMATS, REASONS = "Text formats", "Error reasons"
# What comments mention. One word alone is more often English than a name.
MENTION = re.compile(r"`[^`]*`|\b[A-Z][a-z]+[A-Z]\w+|\b[A-Z]+_[A-Z_]+\b")


class Reference:
    """The reference of some RPCs."""

    def __init__(self, methods: Sequence[MethodDescriptor], comments: dict[str, str]) -> None:
        self._methods = methods
        self._comments = comments
        self._reasons = Reasons(methods, comments)
        self._services = list(dict.fromkeys(method.containing_service for method in methods))
        requests = [method.input_type for method in methods]
        answers = [method.output_type for method in methods]
        held = [each for root in (*requests, *answers) for each in reachable(root, [])]
        # A request is shown with its call.
        self._messages = [each for each in dict.fromkeys(held) if each not in requests]
        fields = [field for message in dict.fromkeys(held) for field in message.fields]
        used = [field.enum_type for field in fields if field.enum_type is not None]
        self._enums = [*dict.fromkeys(used), find_enum("Permission")]
        headings = [each.name for each in (*self._services, *methods)]
        headings += [_name(each) for each in (*self._messages, *self._enums)]
        self._anchors = {
            **{name: _anchor(name) for name in headings},
            **{method.input_type.name: _anchor(method.name) for method in methods},
            **dict.fromkeys(["ErrorReason", *self._reasons.told], _anchor(REASONS)),
        }

    def text(self) -> str:
        """Return all of it."""
        parts = [unwrapped(ABOUT), self._contents()]
        for service in self._services:
            parts += self._service(service)
        parts.append("## Messages")
        for message in self._messages:
            parts += self._described(message)
            parts.append(self._fields(message))
        parts.append("## Enums")
        for enum in self._enums:
            parts += self._described(enum)
            parts.append(self._values(enum))
        parts += [f"## {FORMATS}", self._formats(), f"## {REASONS}", self._error_reasons()]
        return "\n\n".join(parts) + "\n"

    def _contents(self) -> str:
        rows = [
            (self._link(method.name), _routes(method), first_sentence(self._comment(method)))
            for method in self._methods
        ]
        return _table(("call", "REST", "what it does"), rows)

    def _service(self, service: ServiceDescriptor) -> Iterator[str]:
        yield f"## {service.name}"
        yield self._linked(self._comment(service))
        for method in service.methods:
            yield from self._call(method)

    def _call(self, method: MethodDescriptor) -> Iterator[str]:
        yield f"### {method.name}"
        yield self._linked(self._comment(method))
        request, answer = method.input_type, method.output_type
        facts = [
            ("request", f"`{_name(request)}`. {self._linked(self._comment(request))}"),
            ("answer", self._link(_name(answer))),
            ("REST", _routes(method)),
            ("permission", _permission(method)),
            ("repeating it", _repetition(method)),
        ]
        if streams := _streams(method):
            facts.append(("streams", streams))
        yield _table(("", ""), facts)
        yield self._fields(request)

    def _described(self, thing: Descriptor | EnumDescriptor) -> Iterator[str]:
        yield f"### {_name(thing)}"
        yield self._linked(self._comment(thing))

    def _fields(self, message: Descriptor) -> str:
        rows = [
            (
                f"`{field.name}`",
                self._type(field),
                "; ".join(_limits(field)),
                self._linked(self._comment(field)),
            )
            for field in message.fields
        ]
        return _table(("field", "type", "limits", "meaning"), rows) if rows else "No fields."

    def _type(self, field: FieldDescriptor) -> str:
        kind = field.enum_type or field.message_type
        name = self._link(_name(kind)) if kind else f"`{_scalar(field)}`"
        return f"list of {name}" if field.label == FieldDescriptor.LABEL_REPEATED else name

    def _values(self, enum: EnumDescriptor) -> str:
        rows = [
            (f"`{value.name}`", str(value.number), self._linked(self._comment(value, enum)))
            for value in enum.values
        ]
        return _table(("value", "number", "meaning"), rows)

    def _formats(self) -> str:
        enum = find_enum("TextFormat")
        entries = []
        for value in enum.values:
            if value.number:
                told = text_limits(value)
                words = [f"- **{_format_name(value)}**: {self._comment(value, enum)}"]
                words += [f"{each.capitalize()}." for each in _lengths(told)]
                words += [f"`{told['pattern']}`"] if "pattern" in told else []
                entries.append(" ".join(words))
        return "\n".join(entries)

    def _error_reasons(self) -> str:
        general = self._reasons.general
        rows = [
            (
                f"`{reason}`",
                f"`{code}`",
                str(STATUS_OF[code]),
                "every call" if reason in general else "calls that name it",
                self._linked(f"{words[0].upper()}{words[1:]}"),
            )
            for reason, (code, words) in self._reasons.told.items()
        ]
        return _table(("reason", "code", "HTTP", "of", "meaning"), rows)

    def _comment(self, thing: Any, around: EnumDescriptor | None = None) -> str:
        # The full name of a value does not have that of its enum.
        name = f"{around.full_name}.{thing.name}" if around else thing.full_name
        return self._comments[name]

    def _linked(self, text: str) -> str:
        """Make links of the names that a comment mentions."""
        return MENTION.sub(lambda found: self._link(found[0], plain=True), text)

    def _link(self, name: str, *, plain: bool = False) -> str:
        """Return a link to what has this name; what has no place here is code, or `plain`."""
        if name in self._anchors:
            return f"[{name}](#{self._anchors[name]})"
        return name if plain else f"`{name}`"


def _name(thing: Any) -> str:
    """Return the name of a message or an enum, of ours without the package: `Assignment.Status`."""
    name: str = thing.full_name
    return name.removeprefix("peermentor.v1.")


def _anchor(heading: str) -> str:
    """Return how forges name the place of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _routes(method: MethodDescriptor) -> str:
    return ", ".join(f"`{verb.upper()} {path}`" for verb, path, _, _ in bindings([method]))


def _permission(method: MethodDescriptor) -> str:
    needed = f"[{permission(method)}](#permission)"
    field = organization_field(method)
    return f"{needed}, for the organization that `{field}` names" if field else needed


def _repetition(method: MethodDescriptor) -> str:
    level = method.GetOptions().idempotency_level
    if level == MethodOptions.NO_SIDE_EFFECTS:
        return "safe: it changes nothing"
    if level == MethodOptions.IDEMPOTENT:
        return "safe; with the same `idempotency-key`, it is stored once"
    if "request_id" in method.input_type.fields_by_name:
        return "safe with the same `request_id`, or the same `idempotency-key`"
    return "not safe: the service does not know it again"


def _streams(method: MethodDescriptor) -> str:
    both = {"requests": method.client_streaming, "answers": method.server_streaming}
    return " and ".join(name for name, streams in both.items() if streams)


def _scalar(field: FieldDescriptor) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _limits(field: FieldDescriptor) -> Iterator[str]:
    """Yield what a value may be, in words."""
    if is_required(field):
        yield "**required**"
    if field in nullable_fields(field.containing_type):
        yield "**nullable**"
    found = text_format(field)
    if found is not None:
        yield f"[{_format_name(found)}](#{_anchor(FORMATS)})"
    told = limits(field) | list_limits(field)
    yield from _range(told, "minimum", "maximum")
    yield from _lengths(told)
    yield from (f"{each} entries" for each in _range(told, "minItems", "maxItems"))
    if told.get("uniqueItems"):
        yield "none twice"
    if "default" in told:
        yield f"default {told['default']}"


def _lengths(told: Schema) -> Iterator[str]:
    if told.get("minLength") == 1 and "maxLength" not in told:
        yield "not empty"
    else:
        yield from (f"{each} characters" for each in _range(told, "minLength", "maxLength"))


def _range(told: Schema, least: str, most: str) -> Iterator[str]:
    if least in told and most in told:
        yield f"{told[least]:,} to {told[most]:,}"
    elif least in told:
        yield f"at least {told[least]:,}"
    elif most in told:
        yield f"at most {told[most]:,}"


def _format_name(value: Any) -> str:
    name: str = value.name
    return name.removeprefix("TEXT_FORMAT_").replace("_", " ").lower()


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", "<br>")
