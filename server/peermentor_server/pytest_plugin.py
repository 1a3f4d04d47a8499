"""The fixtures of peermentor_server.testing, for pytest_plugins."""

from collections.abc import Iterator
from typing import Any

import pytest

from peermentor_server.testing import Service, running_service


@pytest.fixture
def peermentor_settings() -> dict[str, Any]:
    """The settings of the service that are not the defaults; for others to redefine."""
    return {}


@pytest.fixture
def peermentor_service(peermentor_settings: dict[str, Any]) -> Iterator[Service]:
    """The real peermentor service, empty, with a clock that can be set."""
    with running_service(**peermentor_settings) as service:
        yield service
