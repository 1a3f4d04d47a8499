"""What the options of the protos tell of a method or a field; limits in words of JSON Schema."""

from typing import Any

from google.api.field_behavior_pb2 import REQUIRED, field_behavior
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import EnumValueDescriptor, FieldDescriptor, MethodDescriptor

Schema = dict[str, Any]

DAYS = {
    "TEXT_FORMAT_DAY": {"format": "date"},
    # Generators of clients take it for a text; of an `anyOf` of formats they make nothing.
    "TEXT_FORMAT_DAY_OR_INSTANT": {
        "if": {"maxLength": 10},
        "then": {"format": "date"},
        "else": {"format": "date-time"},
    },
}
# Such as may stand in a URL as they are.
TOKEN: Schema = {"maxLength": 500, "pattern": "^[A-Za-z0-9_-]*$"}
# What all lists and all creates have, by its name, as `rules/pages` and `rules/texts` have it. A
# field of such a name that has limits of its own has only those.
CONVENTIONS: dict[str, Schema] = {
    "page": {"minimum": 1, "maximum": 100_000, "default": 1},
    "limit": {"minimum": 1, "default": 20},
    "page_token": TOKEN,
    "next_page_token": TOKEN,
    "request_id": {"minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
}


def permission(method: MethodDescriptor) -> str:
    """Return what the credentials of a caller have to allow: `read`."""
    needed = option(method.GetOptions(), "access").permission
    name: str = find_enum("Permission").values_by_number[needed].name
    return name.removeprefix("PERMISSION_").lower()


def organization_field(method: MethodDescriptor) -> str:
    """Return the field of the request that names an organization; empty if there is none."""
    field: str = option(method.GetOptions(), "access").organization_field
    return field


def is_required(field: FieldDescriptor) -> bool:
    """Tell whether a request has to have this field."""
    return REQUIRED in field.GetOptions().Extensions[field_behavior]


def text_format(field: FieldDescriptor) -> EnumValueDescriptor | None:
    """Return what a text stands for, or each text of a list; None for all else."""
    number = option(field.GetOptions(), "text_format")
    is_known = field.type == FieldDescriptor.TYPE_STRING and number
    return find_enum("TextFormat").values_by_number[number] if is_known else None


def limits(field: FieldDescriptor) -> Schema:
    """Return the limits of a text or a number, also of one in a list."""
    found = text_format(field)
    if found is not None:
        return text_limits(found)
    listed = field.label == FieldDescriptor.LABEL_REPEATED
    if listed or not field.GetOptions().HasExtension(_extension("limits")):
        return CONVENTIONS.get(field.name, {})
    return _bounds(option(field.GetOptions(), "limits"), "minimum", "maximum")


def text_limits(text_format: EnumValueDescriptor) -> Schema:
    """Return the limits of the texts of a format."""
    limits = option(text_format.GetOptions(), "text_limits")
    pattern = {"pattern": limits.pattern} if limits.pattern else {}
    return DAYS.get(text_format.name, {}) | _bounds(limits, "minLength", "maxLength") | pattern


def list_limits(field: FieldDescriptor) -> Schema:
    """Return the limits of a list, without those of its entries; none of what is no list."""
    if field.label != FieldDescriptor.LABEL_REPEATED:
        return {}
    limits = option(field.GetOptions(), "limits")
    bounds = _bounds(limits, "minItems", "maxItems")
    return bounds | ({"uniqueItems": True} if limits.distinct else {})


def option(options: Any, name: str) -> Any:
    """Return the value of one of our own options."""
    return options.Extensions[_extension(name)]


def find_enum(name: str) -> Any:
    """Return one of our own enums."""
    return descriptor_pool.Default().FindEnumTypeByName(f"peermentor.v1.{name}")


def _extension(name: str) -> FieldDescriptor:
    return descriptor_pool.Default().FindExtensionByName(f"peermentor.v1.{name}")


def _bounds(limits: Any, least: str, most: str) -> Schema:
    bounds = {}
    if limits.HasField("at_least"):
        bounds[least] = limits.at_least
    if limits.HasField("at_most"):
        bounds[most] = limits.at_most
    return bounds
