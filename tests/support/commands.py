"""Runs the command line in processes of its own."""

import multiprocessing
import os
import pty
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from support.torture import either

PROGRAM = str(Path(sys.executable).with_name("peermentor-server"))

# A process that has all imported that commands need, and divides: a tenth of the time of a new one.
_DIVIDING = multiprocessing.get_context("forkserver")
_DIVIDING.set_forkserver_preload(
    [
        "alembic.command",
        "peermentor_server.cli.commands",
        "peermentor_server.cli.doctor",
        "peermentor_server.cli.program",
        "peermentor_server.cli.transfer",
        "peermentor_server.storage.schema",
        "sqlalchemy.dialects.postgresql.psycopg",
    ]
)


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    longest_s = either(60, 600)
    with TemporaryDirectory() as directory:
        streams = [Path(directory, name) for name in ("stdout", "stderr")]
        process = _DIVIDING.Process(
            target=_become, args=(arguments, _environment(environment), streams), daemon=False
        )
        process.start()
        process.join(longest_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, longest_s)
        written = [each.read_text() for each in streams]
    return subprocess.CompletedProcess([PROGRAM, *arguments], process.exitcode, *written)


def _become(arguments: Sequence[str], environment: dict[str, str], streams: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(streams, start=1):
        with file.open("wb") as opened:
            os.dup2(opened.fileno(), number)
    sys.argv = [PROGRAM, *arguments]
    runpy.run_module("peermentor_server", run_name="__main__")


def run_on_terminal(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end whose standard error is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments], env=_environment(environment), stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # The end of a terminal.
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        printed, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, shown)


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a command that goes on, such as serve."""
    return start_with_log(subprocess.PIPE, *arguments, before=None, **environment)


def start_with_log(
    log: IO[str] | int,
    *arguments: str,
    before: Callable[[], None] | None = None,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Start a command that logs into a file: more than a pipe holds while nobody reads it.

    `before` is called in its process, before that becomes the command's.
    """
    return subprocess.Popen(
        [PROGRAM, *arguments],
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 - it only asks the kernel for something
    )


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return dict(os.environ) | settings
