"""The README, run as it stands: curl lines, the gRPC call, the Python program, PostgreSQL."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.commands import run
from support.databases import Postgres, running_postgres
from support.ports import free_ports
from support.serving import serving, settings_for

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
# These depend on the day of the run.
MOVING = {"days_since_contact", "next_page_token"}
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def addresses(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """A running service with the demo data, as the README makes it on either database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('readme')}/peermentor.db"
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
    environment = settings_for(url, free_ports(3))
    run("migrate", **environment)
    run("demo", **environment)
    with serving(environment):
        yield {
            "127.0.0.1:8080": environment["PEERMENTOR_REST_ADDRESS"],
            "127.0.0.1:50051": environment["PEERMENTOR_GRPC_ADDRESS"],
        }


def test_every_curl_line_answers_what_is_printed_below_it(addresses: dict[str, str]) -> None:
    blocks = BLOCK.findall(README)
    calls = [index for index, (kind, text) in enumerate(blocks) if text.startswith("curl ")]
    assert len(calls) >= 13
    for index in calls:
        kind, expected = blocks[index + 1]
        assert kind == "js", blocks[index]
        answer = json.loads(shell(blocks[index][1], addresses))
        assert_printed(json.loads(as_json(expected)), answer)


def test_the_grpc_call_works_by_reflection(addresses: dict[str, str]) -> None:
    (call,) = [text for _, text in BLOCK.findall(README) if text.startswith("buf curl")]
    answer = json.loads(shell(call, addresses))
    assert answer["menteeName"] == "Lars Eriksson"


def test_the_python_program_runs(addresses: dict[str, str]) -> None:
    (program,) = [text for kind, text in BLOCK.findall(README) if kind == "python"]
    printed = subprocess.run(
        [sys.executable, "-c", here(program, addresses)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert printed == "asgn_002 Ingrid Halvorsen\nasgn_001 Lars Eriksson\n"


def test_postgresql_is_set_up_backed_up_and_restored_from_nothing(tmp_path: Path) -> None:
    set_up, restrict, restore = [
        text for _, text in BLOCK.findall(README) if re.search("CREATE ROLE|pg_dump", text)
    ]
    (owner,) = [line for line in set_up.splitlines() if line.startswith("export ")]
    fill = f"{owner}\npeermentor-server demo\n"
    count = 'psql -At "$PEERMENTOR_DATABASE_URL" -c "SELECT current_user, count(*) FROM mentees"\n'
    with running_postgres() as server:
        printed = as_administrator(
            f"{set_up}{restrict}{count}{fill}{count}{restore}{count}", server, tmp_path
        )
    assert printed.count("ok     database\n") == 3
    counts = re.findall(r"^peermentor.*\|\d+$", printed, re.MULTILINE)
    # As many names as the sample has.
    assert counts == ["peermentor_serve|0", "peermentor|48", "peermentor|48"]


def as_administrator(script: str, server: Postgres, directory: Path) -> str:
    """Run lines of the README on the machine of this server, but look instead of serving."""
    tools = f"{Path(server.tool('psql')).parent}:{Path(sys.executable).parent}"
    changed = {
        "sudo -u postgres psql": f"psql -v ON_ERROR_STOP=1 -U postgres -h {server.socket()}",
        "@127.0.0.1/": f"@{quote(server.socket(), safe='')}/",
        "make migrate": "peermentor-server migrate",
        "make serve": "peermentor-server check",
    }
    return subprocess.run(
        ["bash", "-c", f"set -e; PATH={tools}:$PATH; {here(script, changed)}"],
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def shell(command: str, addresses: dict[str, str]) -> str:
    """Run a command of the README with the tools of this virtual environment."""
    binaries = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-c", f"PATH={binaries}:$PATH; {here(command, addresses)}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout


def here(text: str, addresses: dict[str, str]) -> str:
    for printed, actual in addresses.items():
        text = text.replace(printed, actual)
    return text


def as_json(text: str) -> str:
    """Make JSON of an answer in which the end of objects and of lists may be left out."""
    in_objects = re.sub(r"\.\.\.(?=\s*})", '"...": "..."', text)
    return re.sub(r"\.\.\.(?=\s*])", '"..."', in_objects)


def assert_printed(printed: Any, answer: Any) -> None:
    """Check that the answer is what is printed, and has more exactly where it says `...`."""
    if isinstance(printed, dict):
        names = printed.keys() - {"..."}
        assert names < answer.keys() if "..." in printed else names == answer.keys()
        for name in names - MOVING:
            assert_printed(printed[name], answer[name])
    elif isinstance(printed, list):
        is_shortened = printed[-1:] == ["..."]
        items = printed[:-1] if is_shortened else printed
        assert len(items) < len(answer) if is_shortened else len(items) == len(answer)
        for printed_item, item in zip(items, answer, strict=False):
            assert_printed(printed_item, item)
    else:
        assert printed == answer
