"""What the users of the SDK get for their own tests."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from peermentor_server.testing import running_service
from support.factories import NEW_ASSIGNMENT

USERS_TEST = """
from datetime import UTC, datetime

pytest_plugins = ["peermentor_server.pytest_plugin"]

def test_overdue(peermentor_service):
    peermentor_service.clock.set(datetime(2026, 3, 26, tzinfo=UTC))
    with peermentor_service.client() as client:
        assert client.assignments.list().total == 0

async def use(service):
    async with service.async_client() as client:
        return await client.templates.list().total

def test_async(peermentor_service):
    import asyncio
    assert asyncio.run(use(peermentor_service)) == 0
"""


def test_the_clock_decides_what_is_overdue() -> None:
    with running_service() as service, service.client() as client:
        made = client.assignments.create(**NEW_ASSIGNMENT)
        assert abs(made.created_at - datetime.now(UTC)).total_seconds() < 60
        service.clock.set(datetime(2026, 3, 26, 12, tzinfo=UTC))
        client.assignments.update_last_contact(
            made.assignment_id, contact_date=datetime(2026, 3, 26, tzinfo=UTC)
        )
        assert client.assignments.list_overdue().total == 0
        service.clock.advance(days=15)
        (late,) = client.assignments.list_overdue()
        assert late.days_since_contact == 15
        with pytest.raises(ValueError, match="no time zone"):
            service.clock.set(datetime(2026, 3, 26))  # noqa: DTZ001


def test_services_are_quick_to_start_and_apart() -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        with running_service() as one:
            seconds.append(time.monotonic() - started)
            with running_service() as other, one.client() as first, other.client() as second:
                first.assignments.create(**NEW_ASSIGNMENT)
                assert (first.assignments.list().total, second.assignments.list().total) == (1, 0)
    assert min(seconds) < 0.8


def test_pytest_brings_it_as_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            tmp_path,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "2 passed" in done.stdout, done.stdout
