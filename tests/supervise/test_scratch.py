"""Directories for files that are needed for as long as a process runs."""

import fcntl
import signal
import tempfile
from pathlib import Path

import pytest

from peermentor_server.supervise import scratch
from support.commands import run
from support.ports import free_ports
from support.serving import serving, settings_for


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, empty."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_a_directory_is_its_owners_alone_and_goes_in_the_end(temporary: Path) -> None:
    with scratch.directory() as own:
        (own / "file").touch()
        assert own.stat().st_mode & 0o777 == 0o700
        assert list(temporary.iterdir()) == [own]
    assert list(temporary.iterdir()) == []


def test_those_in_use_stay(temporary: Path) -> None:
    with scratch.directory() as first, scratch.directory() as second:
        assert set(temporary.iterdir()) == {first, second}


def test_what_was_left_behind_goes_and_nothing_else(temporary: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="peermentor-run-"))
    (left / "envoy.json").touch()
    others = {temporary / "peermentor-run-of-my-own", temporary / "peermentor-2026-03-26"}
    for each in others:
        each.mkdir()
    elsewhere = temporary.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear").touch()
    link = temporary / "peermentor-run-abcdefgh"
    link.symlink_to(elsewhere)
    with scratch.directory() as own:
        assert set(temporary.iterdir()) == {own, link, *others}
    assert (elsewhere / "dear").exists()


def test_one_that_is_removed_before_it_is_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, lost = fcntl.flock, list[Path]()

    def lose_the_first(descriptor: int, operation: int) -> None:
        if not lost:
            # By another process that starts at this moment.
            lost.extend(temporary.iterdir())
            lost[0].rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lose_the_first)
    with scratch.directory() as own:
        assert list(temporary.iterdir()) == [own]
        assert own not in lost


def test_serve_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3))
    # A path of which there is room for a socket.
    with tempfile.TemporaryDirectory() as short:
        temporary = Path(short)
        environment["TMPDIR"] = short
        with serving(environment) as running:
            running.process.send_signal(signal.SIGKILL)
        (left,) = temporary.iterdir()
        others = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3))
        with serving(environment), serving(environment | others) as second:
            assert len(list(temporary.iterdir())) == 2
            assert not left.exists()
            second.process.send_signal(signal.SIGINT)
            assert second.wait()[0] == 0
            assert len(list(temporary.iterdir())) == 1


def test_a_directory_that_is_too_deep_for_a_socket_is_named_at_the_start(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3))
    result = run("serve", **environment, TMPDIR=str(deep))
    assert result.returncode == 1
    assert "its path is too long for a socket; TMPDIR may name another" in result.stderr
    assert list(deep.iterdir()) == []


def test_without_a_place_for_them_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find() -> str:
        raise FileNotFoundError

    with monkeypatch.context() as changed:
        changed.setattr(tempfile, "gettempdir", find)
        with pytest.raises(scratch.Unwritable, match="name one in TMPDIR"), scratch.directory():
            pass
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(scratch.Unwritable, match="/none: No such file"), scratch.directory():
        pass
