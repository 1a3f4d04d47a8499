"""The JSON of messages: what the gateway prints, and what it takes.

Answers have all their fields: the transcoder prints those that are empty, the service sets the
others, and the gateway puts in `null` for those with the option `nullable`. In the body of a
request, null counts as left out.
"""

from collections.abc import Collection, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from describe.options import Schema, is_required, limits, list_limits
from gateway_contract import PACKAGE, WRAPPERS, Unsupported, nullable_fields

TYPES: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    # JSON has no such numbers: protobuf writes them as texts.
    FieldDescriptor.TYPE_INT64: {"type": "string", "pattern": "^-?[0-9]+$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
MESSAGES: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
}
FIELD_MASK = "google.protobuf.FieldMask"


class Schemas:
    """The schemas of all messages and enums that have been asked for, by their names."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments

    def comment(self, thing: Any) -> str:
        """Return the comment of a message, a field or an enum."""
        return self._comments.get(thing.full_name, "")

    def answer(self, message: Descriptor) -> Schema:
        """Return a reference to what a message of an answer is in JSON."""
        name = component_name(message)
        if name not in self.components:
            schema = self.components[name] = {}
            schema |= _object(
                self.comment(message),
                {field.name: self._answered(field) for field in message.fields},
                [field.name for field in message.fields],
            )
        return reference(name)

    def body(self, message: Descriptor, bound: Collection[str]) -> Schema:
        """Return a reference to the body of a request, without what its path binds."""
        fields = [field for field in message.fields if field.name not in bound]
        required = [field.name for field in fields if is_required(field)]
        properties = {
            field.name: self._described(
                field, self.value(field), nullable=field.name not in required
            )
            for field in fields
        }
        name = component_name(message)
        schema = _object(self.comment(message), properties, required)
        if any(_is_mask(field) for field in fields):
            # There has to be something to change.
            schema["minProperties"] = 1
        self.components[name] = schema
        return reference(name)

    def value(self, field: FieldDescriptor) -> Schema:
        """Return what the JSON value of a field is, when there is one."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            raise Unsupported(f"{field.full_name}: maps are not described yet")
        schema = self._single(field)
        if field.label != FieldDescriptor.LABEL_REPEATED:
            return schema
        return {"type": "array", "items": _listed(schema)} | list_limits(field)

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is not None:
            return self._message(field, field.message_type)
        if field.type not in TYPES:
            raise Unsupported(f"{field.full_name}: a field of this type is not described yet")
        return TYPES[field.type] | limits(field)

    def _message(self, field: FieldDescriptor, message: Descriptor) -> Schema:
        if message.full_name in MESSAGES:
            return dict(MESSAGES[message.full_name])
        if _is_mask(field):
            return _mask(field)
        if message.full_name in WRAPPERS:
            return TYPES[message.fields_by_name["value"].type] | limits(field)
        if not message.file.package.startswith(PACKAGE):
            raise Unsupported(f"{field.full_name}: {message.full_name} is not described yet")
        return self.answer(message)

    def _enum(self, enum: EnumDescriptor) -> Schema:
        # Zero is what nobody has chosen: it is never printed, and refused.
        values = [value for value in enum.values if value.number]
        meanings = [
            f"- `{value.name}`: {self._comments[f'{enum.full_name}.{value.name}']}"
            for value in values
        ]
        name = component_name(enum)
        self.components[name] = {
            "type": "string",
            "description": "\n".join([self.comment(enum), "", *meanings]),
            "enum": [value.name for value in values],
        }
        return reference(name)

    def _answered(self, field: FieldDescriptor) -> Schema:
        nullable = field in nullable_fields(field.containing_type)
        return self._described(field, self.value(field), nullable=nullable)

    def _described(self, field: FieldDescriptor, schema: Schema, *, nullable: bool) -> Schema:
        return or_null(schema, nullable=nullable) | {"description": self.comment(field)}


def _listed(schema: Schema) -> Schema:
    """Return the schema of an entry of a list.

    Of a `date` in a list, some generators make a type for days that they then fill with a text.
    Behind a condition they leave the format alone, and it is a text to them.
    """
    if schema.get("format") != "date":
        return schema
    return {"type": "string", "if": {"type": "string"}, "then": {"format": "date"}}


def or_null(schema: Schema, *, nullable: bool) -> Schema:
    """Return a schema that takes null too, if it is to."""
    if not nullable:
        return schema
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    return schema | {"type": [schema["type"], "null"]}


def reference(name: str) -> Schema:
    """Return a reference to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def narrowed(name: str, **properties: Schema) -> Schema:
    """Return a schema by its name, some of whose required properties have to be as these say.

    What stands beside a reference holds too. Generators of clients make types of their own where
    they find `properties`; they leave this out, and so have one type for all that is narrowed.
    """
    return reference(name) | {
        "dependentSchemas": {next(iter(properties)): {"properties": properties}}
    }


def component_name(thing: Descriptor | EnumDescriptor) -> str:
    """Return the name of a message or an enum; an inner one begins with that around it."""
    name: str = thing.full_name.removeprefix(f"{thing.file.package}.")
    return name.replace(".", "")


def _object(description: str, properties: dict[str, Schema], required: Iterable[str]) -> Schema:
    schema = {"type": "object", "description": description, "properties": properties}
    names = list(required)
    return schema | ({"required": names} if names else {})


def _is_mask(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == FIELD_MASK


def _mask(field: FieldDescriptor) -> Schema:
    """Return what names the fields above it, but for those of the path."""
    names = "|".join(
        each.name
        for each in field.containing_type.fields
        if each.number < field.number and not is_required(each)
    )
    return {"type": "string", "pattern": f"^(({names})(,({names}))*)?$"}
