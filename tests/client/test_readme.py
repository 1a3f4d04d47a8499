"""The README of the SDK: its blocks, run in their order as one program."""

import inspect
import os
import re
import subprocess
import sys

from peermentor import Client
from peermentor_server.testing import running_service
from support.tours import README, tour_blocks

# Set by `make check-wheel`: the Python of an environment that has the client's wheel alone.
WHEEL_PYTHON = os.environ.get("WHEEL_PYTHON")


def test_the_tour_runs() -> None:
    blocks = tour_blocks()
    assert len(blocks) == 14
    if WHEEL_PYTHON:
        blocks = [block for block in blocks if "peermentor_server" not in block]
    with running_service() as service:
        program = "\n".join(blocks).replace("127.0.0.1:50051", service.address)
        done = subprocess.run(
            [WHEEL_PYTHON or sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0] == "asgn_001 active None"
    assert "2026-03-26 None" in printed
    assert "ASSIGNMENT_NOT_FOUND" in printed
    assert "1 1 ['asgn_001']" in printed
    assert "duration_minutes must be from 1 to 10080 minutes" in printed
    assert any(line.startswith("no answer from 127.0.0.1:1: check") for line in printed)


def test_every_option_of_a_client_is_listed() -> None:
    text = README.read_text(encoding="utf-8")
    table = text.partition("| argument | meaning |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall("`(\\w+)`", row[:50])]
    assert set(inspect.signature(Client).parameters) <= set(named)
