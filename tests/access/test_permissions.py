"""What methods need, as their protos say it."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from peermentor.v1 import assignments_pb2, options_pb2, templates_pb2
from peermentor_server.access.permissions import UnmarkedMethod, requirements
from peermentor_server.rules.principals import Permission
from peermentor_server.services import idempotency

OURS = requirements((assignments_pb2.DESCRIPTOR, templates_pb2.DESCRIPTOR))


def _file(access: options_pb2.Access | None) -> FileDescriptor:
    """Return a file with one method, Get, whose request has the field org_id."""
    file = descriptor_pb2.FileDescriptorProto(name="small.proto", package="small", syntax="proto3")
    message = file.message_type.add(name="Request")
    message.field.add(
        name="org_id",
        number=1,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    method = file.service.add(name="Small").method.add(
        name="Get", input_type=".small.Request", output_type=".small.Request"
    )
    if access is not None:
        method.options.Extensions[options_pb2.access].CopyFrom(access)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName("small.proto")


def test_what_changes_nothing_needs_to_read_and_all_else_to_write() -> None:
    for path, requirement in OURS.items():
        reads = path in idempotency.READS
        assert requirement.permission is (Permission.READ if reads else Permission.WRITE), path


def test_every_request_that_names_an_organisation_says_by_which_field() -> None:
    for file in (assignments_pb2.DESCRIPTOR, templates_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                named = {"org_id", "organization_id"} & set(method.input_type.fields_by_name)
                field = OURS[f"/{service.full_name}/{method.name}"].organization_field
                assert {field} - {""} == named


def test_a_method_that_says_nothing_is_not_served() -> None:
    for access in (None, options_pb2.Access(), options_pb2.Access(organization_field="org_id")):
        with pytest.raises(UnmarkedMethod, match=r"small\.Small\.Get has no option"):
            requirements([_file(access)])


def test_a_method_whose_field_is_not_there_is_not_served() -> None:
    access = options_pb2.Access(permission=options_pb2.PERMISSION_READ, organization_field="org")
    with pytest.raises(UnmarkedMethod, match=r"small\.Request has no field org"):
        requirements([_file(access)])
