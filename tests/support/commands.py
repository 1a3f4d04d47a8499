"""Runs the command line in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

PROGRAM = str(Path(sys.executable).with_name("peermentor-server"))


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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
