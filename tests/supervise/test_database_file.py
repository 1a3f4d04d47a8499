"""A SQLite file that others move or replace while workers of `serve` end and begin.

No worker ever uses another file than the first ones, nor makes one; with the file back in its
place all goes on, and nothing that was acknowledged is lost.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT
from support.plain_http import NO_TLS
from support.serving import Running, served
from support.waiting import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "own.db"


@pytest.fixture
def running(file: Path, tmp_path: Path) -> Iterator[Running]:
    """A service on that file, with one worker."""
    with served(f"sqlite:///{file}", tmp_path, 1) as running:
        yield running


def _create(running: Running) -> int:
    url = f"http://{running.rest}/api/v1/assignments"
    return httpx.post(url, json=NEW_ASSIGNMENT, timeout=10, verify=NO_TLS).status_code


def _stored(running: Running) -> int | None:
    answer = httpx.get(f"http://{running.rest}/api/v1/assignments", timeout=10, verify=NO_TLS)
    return len(answer.json()["data"]) if answer.status_code == 200 else None


def _kill(running: Running) -> None:
    running.child("--number 1").kill()
    wait_until(lambda: len(running.lines("died")) > 1, 20)


def _replace(running: Running) -> None:
    running.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: running.lines("workers not replaced") != [], 20)


def test_workers_that_begin_later_use_no_other_file(running: Running, file: Path) -> None:
    assert [_create(running), _create(running)] == [200, 200]
    aside = file.rename(file.with_name("aside"))
    before = _contents(file)
    _replace(running)
    assert _contents(file) == before
    (refused,) = running.lines("not replaced")

    shutil.copy(aside, file)
    before = _contents(file)
    _kill(running)
    assert _create(running) == 503
    assert _contents(file) == before
    *_, died = running.lines("died")
    for line in (refused, died):
        assert f"{file} was replaced or removed; put it back" in line["reason"]

    aside.rename(file)
    wait_until(lambda: _stored(running) == 2, 30)
    assert (_create(running), _stored(running)) == (200, 3)


def _contents(file: Path) -> dict[str, bytes]:
    """Return what is there, but for the index of the log, which holds locks of this moment."""
    files = [each for each in file.parent.iterdir() if each.suffix != ".db-shm"]
    return {each.name: each.read_bytes() for each in files}
