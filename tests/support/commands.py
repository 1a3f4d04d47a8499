"""Runs the command line in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

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
    return subprocess.Popen(
        [PROGRAM, *arguments],
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return dict(os.environ) | settings
