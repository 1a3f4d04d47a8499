"""Each resource, each list and each RPC, for the tests of what they do alike."""

import grpc
import pytest

from support.resources import KINDS, LISTS, Kind, ListForm, Pages, Resource
from support.rpcs import GoodRequests


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name tests by the resource or the list that they are about."""
    if isinstance(val, Kind):
        return val.noun
    return val.rpc if isinstance(val, ListForm) else None


@pytest.fixture(params=KINDS)
def resource(request: pytest.FixtureRequest, channel: grpc.Channel) -> Resource:
    """Assignments, or templates."""
    return Resource(request.param, channel)


@pytest.fixture(params=LISTS)
def pages(request: pytest.FixtureRequest, channel: grpc.Channel) -> Pages:
    """One of the five lists."""
    return Pages(request.param, channel)


@pytest.fixture(params=[form for form in LISTS if form.filter])
def filtered(request: pytest.FixtureRequest, channel: grpc.Channel) -> Pages:
    """One of the four lists that can be filtered."""
    return Pages(request.param, channel)


@pytest.fixture
def service(channel: grpc.Channel) -> GoodRequests:
    """A service that has asgn_001 and rt-001."""
    service = GoodRequests(channel)
    service.call("CreateAssignment")
    service.call("CreateTemplate")
    return service
