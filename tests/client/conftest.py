"""What the tests of the SDK are given: each client in turn, in front of the real server."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from peermentor_server.settings import Settings
from support.clients import opened


@pytest.fixture(params=["sync", "async"])
def client_kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients this test uses."""
    return str(request.param)


@pytest.fixture
def client(client_kind: str, settings: Settings, channel: grpc.Channel) -> Iterator[Any]:
    """A client of the server, whose database is empty, at CONTRACT_DAY.

    The asynchronous one is wrapped, so that one test is written for both.
    """
    del channel
    with opened(client_kind, str(settings.grpc_address)) as client:
        yield client
