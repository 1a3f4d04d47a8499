"""What the users of the SDK get for their own tests."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from peermentor import NotFound, PermissionDenied, Unauthenticated
from peermentor_server.settings import Settings
from peermentor_server.testing import running_service
from support.factories import NEW_ASSIGNMENT

# Of no concern to a test, whatever they say.
SURROUNDINGS = {
    "PEERMENTOR_OVERDUE_AFTER_DAYS": "3",
    "PEERMENTOR_LOG_LEVEL": "loud",
    "PEERMENTOR_DATABASE_URL": "nothing",
    "PEERMENTOR_ADDRESS": "nowhere.example:1",
}
USERS_TEST = """
from datetime import UTC, datetime

import pytest

pytest_plugins = ["peermentor_server.pytest_plugin"]

def test_overdue(peermentor_service):
    peermentor_service.clock.set(datetime(2026, 3, 26, tzinfo=UTC))
    with peermentor_service.client() as client:
        assert client.assignments.list().count() == 0

async def use(service):
    async with service.async_client() as client:
        return await client.templates.list().count()

def test_async(peermentor_service):
    import asyncio
    assert asyncio.run(use(peermentor_service)) == 0

class TestOthers:
    @pytest.fixture
    def peermentor_settings(self):
        return {"overdue_after_days": 3}

    def test_overdue(self, peermentor_service):
        with peermentor_service.client() as client:
            made = client.assignments.create(
                mentee_id="a", peer_mentor_id="b", coordinator_id="c", org_id="d"
            )
            client.assignments.update_last_contact(
                made.assignment_id, contact_date=datetime.now(UTC)
            )
            peermentor_service.clock.advance(days=4)
            assert client.assignments.list_overdue().count() == 1
"""


def test_the_clock_decides_what_is_overdue() -> None:
    with running_service() as service, service.client() as client:
        made = client.assignments.create(**NEW_ASSIGNMENT)
        assert abs(made.created_at - datetime.now(UTC)).total_seconds() < 60
        service.clock.set(datetime(2026, 3, 26, 12, tzinfo=UTC))
        client.assignments.update_last_contact(
            made.assignment_id, contact_date=datetime(2026, 3, 26, tzinfo=UTC)
        )
        assert client.assignments.list_overdue().count() == 0
        service.clock.advance(days=15)
        (late,) = client.assignments.list_overdue()
        assert late.days_since_contact == 15
        with pytest.raises(ValueError, match="no time zone"):
            service.clock.set(datetime(2026, 3, 26))  # noqa: DTZ001


def test_clients_with_keys_see_their_organisations_alone() -> None:
    with running_service(access="required") as service:
        with service.client(orgs=["org_03"]) as client:
            made = client.assignments.create(**NEW_ASSIGNMENT)
        with service.client(["org_04"], "read") as client:
            assert client.assignments.list().count() == 0
            with pytest.raises(NotFound):
                client.assignments.get(made.assignment_id)
            with pytest.raises(PermissionDenied):
                client.assignments.delete(made.assignment_id)
        with service.client(permission="read") as client:
            assert client.assignments.list().count() == 1
        with service.client() as client, pytest.raises(Unauthenticated):
            client.assignments.list().count()


def test_settings_are_given_and_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("".join(f"{n}={v}\n" for n, v in SURROUNDINGS.items()))
    assert Settings().overdue_after_days == 14
    for given, days in (({}, 14), ({"overdue_after_days": 3}, 3)):
        with running_service(**given) as service, service.client() as client:
            made = client.assignments.create(**NEW_ASSIGNMENT)
            service.clock.set(datetime(2026, 3, 26, 12, tzinfo=UTC))
            client.assignments.update_last_contact(
                made.assignment_id, contact_date=datetime(2026, 3, 26, tzinfo=UTC)
            )
            service.clock.advance(days=days)
            assert client.assignments.list_overdue().count() == 0
            service.clock.advance(days=1)
            assert client.assignments.list_overdue().count() == 1


def test_a_setting_that_is_none_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="overdue_after_weeks"),
        running_service(overdue_after_weeks=2),
    ):
        pass


def seconds_to_import() -> float:
    """How long an interpreter takes to import the service, at the best of three tries."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "import peermentor_server.testing"], check=True)
        seconds.append(time.monotonic() - started)
    return min(seconds)


def test_services_are_quick_to_start_and_apart() -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        with running_service() as one:
            seconds.append(time.monotonic() - started)
            with running_service() as other, one.client() as first, other.client() as second:
                first.assignments.create(**NEW_ASSIGNMENT)
                assert (first.assignments.list().count(), second.assignments.list().count()) == (
                    1,
                    0,
                )
    # A third of it, by and large.
    assert min(seconds) < seconds_to_import()


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
        env=os.environ | SURROUNDINGS,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "3 passed" in done.stdout, done.stdout
