"""The fixture of peermentor_server.testing, for pytest_plugins."""

from collections.abc import Iterator

import pytest

from peermentor_server.testing import Service, running_service


@pytest.fixture
def peermentor_service() -> Iterator[Service]:
    """The real peermentor service, empty, with a clock that can be set."""
    with running_service() as service:
        yield service
