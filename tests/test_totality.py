"""Lists that must be complete: each is compared with what it is a list of."""

import re

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from sqlalchemy import CheckConstraint

from peermentor.v1 import assignments_pb2, error_reason_pb2, templates_pb2
from peermentor_server.rpc.errors import STATUS_OF
from peermentor_server.rules.errors import DomainError, Kind, NotFound
from peermentor_server.storage.tables import assignments

METHODS: list[MethodDescriptor] = [
    method
    for file in (assignments_pb2, templates_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
each_method = pytest.mark.parametrize("method", METHODS, ids=[m.name for m in METHODS])


def test_every_domain_error_has_a_reason_in_the_protos_and_a_status() -> None:
    kinds = [*DomainError.__subclasses__(), *NotFound.__subclasses__()]
    kinds.remove(NotFound)  # It is one of those below it.
    reasons = {f"ERROR_REASON_{error.reason}" for error in kinds}
    assert reasons == set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert set(STATUS_OF) == set(Kind)


def test_the_statuses_of_the_database_are_those_of_the_api() -> None:
    (check,) = [each for each in assignments.constraints if isinstance(each, CheckConstraint)]
    names = assignments_pb2.Assignment.Status.keys()
    assert re.findall(r"'(\w+)'", str(check.sqltext)) == [n for n in names if n != "unspecified"]


@each_method
def test_every_rpc_has_an_http_rule(method: MethodDescriptor) -> None:
    assert method.GetOptions().HasExtension(annotations_pb2.http)


@each_method
def test_every_scalar_of_a_request_is_optional(method: MethodDescriptor) -> None:
    """Without presence the gateway would let the query override the path, and a PUT clear."""
    for field in method.input_type.fields:
        assert field.is_repeated or field.has_presence, field.full_name
