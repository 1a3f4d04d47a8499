"""Every line of the gateway's Lua is run by the tests of its modules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.lua import LINES_RUN, ROOT, Lua

# They work on what only Envoy has: the other tests of this directory run them there.
OF_ENVOY = {"rest.lua", "calls.lua", "headers.lua"}
MODULES = [
    file
    for file in sorted((ROOT / "gateway").glob("*.lua"))
    if file.name not in OF_ENVOY | {"contract.lua"}
]


@pytest.fixture(scope="module")
def lines_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The lines that test_lua.py runs, by file: in one process, however many run this suite."""
    file = tmp_path_factory.mktemp("lua") / "lines.json"
    pytest_of_one = [sys.executable, "-m", "pytest", "-q", "-n", "0"]
    done = subprocess.run(
        [*pytest_of_one, str(Path(__file__).with_name("test_lua.py"))],
        cwd=ROOT,
        env=dict(os.environ) | {LINES_RUN: str(file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
    lines: dict[str, list[int]] = json.loads(file.read_text())
    return lines


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_every_line_is_run(file: Path, lines_run: dict[str, list[int]]) -> None:
    text = file.read_text().splitlines()
    missed = Lua().lines_of(file) - set(lines_run.get(file.name, ()))
    assert [f"{line}: {text[line - 1].strip()}" for line in sorted(missed)] == []
