"""What each method needs, as the protos say it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

from peermentor.v1 import options_pb2
from peermentor_server.rules.principals import Permission


class UnmarkedMethod(Exception):
    """A method of ours whose proto does not say who may call it."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a method needs of its caller's credentials."""

    permission: Permission
    organization_field: str

    def organization(self, request: Message) -> str:
        """Return the organisation that a request names; empty if it names none."""
        return getattr(request, self.organization_field) if self.organization_field else ""


def requirements(files: Iterable[FileDescriptor]) -> Mapping[str, Requirement]:
    """Return what each method of these files needs, by its path; or raise UnmarkedMethod."""
    return {
        f"/{service.full_name}/{method.name}": _requirement(method)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


def _requirement(method: MethodDescriptor) -> Requirement:
    access = method.GetOptions().Extensions[options_pb2.access]
    field = access.organization_field
    if not access.permission:
        raise UnmarkedMethod(f"{method.full_name} has no option (access) with a permission")
    if field and field not in method.input_type.fields_by_name:
        raise UnmarkedMethod(f"{method.input_type.full_name} has no field {field}")
    return Requirement(Permission(access.permission), field)
