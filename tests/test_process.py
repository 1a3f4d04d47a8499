"""Where our processes import from, and what becomes of what they print."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

import peermentor_server
from support.commands import PROGRAM
from support.databases import migrated
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import settings_for
from support.waiting import wait_until

MODULE = [sys.executable, "-m", "peermentor_server"]
# Of the standard library and of what we install; what Python imports before it runs any of our
# code is not among them.
HERE = ("secrets", "queue", "calendar", "ipaddress", "structlog", "pydantic", "sqlalchemy")


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return settings with a database there; without what measures the tests, which imports."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return own | settings_for(f"sqlite:///{directory}/own.db", free_ports(3)) | more


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A directory whose files leave a mark when they are imported."""
    trap = tmp_path / "trap"
    trap.mkdir()
    code = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + '\\n')\n"
    for name in HERE:
        (trap / f"{name}.py").write_text(code)
    for name in ("alembic", "peermentor"):
        (trap / name).mkdir()
        (trap / name / "__init__.py").write_text(code)
    return trap


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ([PROGRAM], "."),
        ([PROGRAM], os.pathsep),
        ([PROGRAM], "../trap"),
        ([PROGRAM], "{trap}"),
        (MODULE, None),
        (MODULE, ""),
    ],
)
def test_nothing_is_imported_from_the_working_directory(
    program: list[str], path: str | None, trap: Path
) -> None:
    given = environment(trap.parent)
    if path is not None:
        given["PYTHONPATH"] = path.format(trap=trap)
    done = subprocess.run(
        [*program, "migrate"], cwd=trap, env=given, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (trap.parent / "imported").exists()


@contextmanager
def serving_from(
    directory: Path,
    given: dict[str, str],
    command: str = f"exec {PROGRAM} serve",
    output: int | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `serve` by a shell in this directory, until it is told to stop."""
    log = directory / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=directory,
            env=given,
            stdout=subprocess.PIPE if output is None else output,
            stderr=errors if output is None else output,
        ) as process,
    ):
        try:
            wait_until(lambda: answers(given, process), 40)
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()


def answers(given: dict[str, str], process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None
    try:
        rest = f"http://{given['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
        return httpx.get(rest, verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("path", [None, "."])
def test_neither_is_anything_by_serve_and_what_it_starts(path: str | None, trap: Path) -> None:
    given = environment(trap.parent) | ({} if path is None else {"PYTHONPATH": path})
    with serving_from(trap, given) as process:
        for child in psutil.Process(process.pid).children():
            assert child.environ()["PYTHONSAFEPATH"] == "1"
            assert "PYTHONPATH" not in child.environ()
    assert not (trap.parent / "imported").exists()


def test_what_else_is_on_the_import_path_stays(trap: Path) -> None:
    (trap / "deps").mkdir()
    code = "from peermentor_server import __main__; import os; print(os.environ['PYTHONPATH'])"
    given = environment(trap.parent, PYTHONPATH=f".:{trap}/deps:")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=trap,
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{trap}/deps\n"


@pytest.mark.parametrize("name", ["%(here)s", "a b", "a#b?c:d", "żółw"])
def test_it_may_be_installed_in_a_directory_of_any_name(name: str, tmp_path: Path) -> None:
    place = tmp_path / name
    place.mkdir()
    package = Path(peermentor_server.__file__).parent
    (place / package.name).symlink_to(package)
    # Where Python knows of it without PYTHONPATH, which has no room for a colon.
    code = f"import sys; sys.path.insert(0, {str(place)!r}); sys.argv = ['x', 'migrate']; "
    run_it = "import runpy; runpy.run_module('peermentor_server', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + run_it],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sqlite:///{tmp_path}/own.db is up to date\n"


# --- What is printed ---


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-2"])
def test_serve_says_what_can_be_pasted_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    given = environment(tmp_path, PYTHONIOENCODING=encoding)
    with serving_from(tmp_path, given) as process:
        assert process.stdout is not None
        welcome = os.read(process.stdout.fileno(), 65536).decode("ascii")
        post, get = re.findall(r"^ *(curl .*)$", welcome, re.MULTILINE)
        for command in (post, get):
            answer = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
            assert "Bjørn Solberg" in answer.stdout.decode()


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
def test_serve_needs_none_of_its_streams(streams: str, tmp_path: Path) -> None:
    given = environment(tmp_path, PEERMENTOR_WORKERS="2")
    with serving_from(tmp_path, given, f"exec {PROGRAM} serve {streams}") as process:
        for each in (process.pid, *(c.pid for c in psutil.Process(process.pid).children())):
            opened = [str(Path(f"/proc/{each}/fd/{number}").readlink()) for number in range(3)]
            assert not [name for name in opened if str(tmp_path / "own.db") in name]


def test_a_reader_who_never_reads_does_not_keep_serve_from_its_work(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)
    with serving_from(tmp_path, environment(tmp_path), output=writing):
        pass
    for each in (reading, writing):
        os.close(each)


@pytest.mark.parametrize("streams", [">&-", ">/dev/full", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["--help", "check"])
def test_what_nobody_can_read_changes_nothing(command: str, streams: str, tmp_path: Path) -> None:
    given = environment(tmp_path, PYTHONIOENCODING="ascii")
    done = subprocess.run(
        ["bash", "-c", f"exec {PROGRAM} {command} {streams}"],
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["nonsense", "backup /no/where/at/all"])
def test_nor_does_a_complaint(command: str, streams: str, tmp_path: Path) -> None:
    run = ["bash", "-c", f"exec {PROGRAM} {command} {streams}"]
    done = subprocess.run(run, env=environment(tmp_path), capture_output=True, check=False)
    assert done.returncode == (1 if "backup" in command else 2)
    assert done.stdout == done.stderr == b""


@pytest.mark.parametrize(
    "arguments",
    [[b"\xff"], [b"serve", b"--workers", b"\xff"], [b"backup", b"\xff.db"], [b"--\xff"],
     [b"import-mentees", b"\xff.csv"]],
)  # fmt: skip
def test_arguments_may_be_any_bytes(arguments: list[bytes], tmp_path: Path) -> None:
    with migrated(f"sqlite:///{tmp_path}/own.db"):
        pass
    done = subprocess.run(
        [os.fsencode(PROGRAM), *arguments],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert b"Traceback" not in done.stderr
    assert done.stderr


def test_so_may_the_name_of_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"\xff")
    directory.mkdir()
    given = environment(directory, PYTHONIOENCODING="ascii")
    del given["PEERMENTOR_DATABASE_URL"]
    for command in ("migrate", "demo"):
        done = subprocess.run(
            [PROGRAM, command], cwd=directory, env=given, capture_output=True, check=True
        )
        assert b"\\udcff/peermentor.db" in done.stdout
    with serving_from(directory, given):
        pass


@pytest.mark.parametrize("command", ["serve", "check"])
def test_settings_that_are_no_text_are_named(command: str, tmp_path: Path) -> None:
    given = {os.fsencode(n): os.fsencode(v) for n, v in environment(tmp_path).items()}
    given |= {b"PEERMENTOR_DATABASE_URL": b"sqlite:///\xff.db", b"PEERMENTOR_\xfe": b"1"}
    done = subprocess.run(
        [PROGRAM, command], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "PEERMENTOR_DATABASE_URL: must be text in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
