"""The README and everything in docs/, run as it stands: calls, programs, set-up, backups.

Each block of shell or Python in a document has a test here that runs it; a block that no test
knows fails. What a call or a program answers stands in the block below it.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml

from peermentor_server import settings
from peermentor_server.cli import sample_data
from support import calendars
from support.commands import run
from support.databases import Postgres, migrated, running_postgres
from support.ports import free_ports
from support.serving import serving, settings_for

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
}
# These depend on the day of the run.
MOVING = {"days_since_contact", "etag", "next_page_token"}
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """A block of code, and the one below it."""

    document: str
    kind: str
    text: str
    below: str


def _blocks() -> Iterator[Block]:
    for document, text in DOCUMENTS.items():
        found: list[tuple[str, str]] = BLOCK.findall(text)
        for index, (kind, code) in enumerate(found):
            if kind in {"sh", "python"}:
                yield Block(
                    document, kind, code, "".join(text for _, text in found[index + 1 :][:1])
                )


BLOCKS = list(_blocks())
STARTED = re.compile('peermentor is running|"serving"')
# How to know the blocks of each test.
CALL = re.compile(r"^(curl|buf curl) ")
START = re.compile(r"(?<!check\n)^(make serve|make dist\n.*)\n$", re.DOTALL)
SAMPLES = re.compile(r"^make demo\n$")
BY_HAND = re.compile(r"--no-gateway\n")
POSTGRESQL = re.compile(r"CREATE ROLE|pg_dump")
STANDBY = re.compile(r"@db1:5432,db2:5432/")
SQLITE_BACKUP = re.compile(r"peermentor-server backup |^mkdir old && ")
MOVE = re.compile(r"peermentor-server export ")
KEYS = re.compile(r"peermentor-server keys list")
TLS = re.compile(r"_CERTIFICATE=/etc/")
KEYS_AND_TLS = re.compile(r"_CERTIFICATE=cert\.pem |--cacert ")
INSTALL = re.compile(r"systemctl ")
SYSTEMD_RUN = re.compile(r"^sudo systemd-run ")
IMAGE = re.compile(r"podman build ")
COMPOSE = re.compile(r"podman compose ")
KUBERNETES = re.compile(r"^kubectl ")
SHELL = (
    CALL,
    START,
    SAMPLES,
    BY_HAND,
    POSTGRESQL,
    STANDBY,
    SQLITE_BACKUP,
    MOVE,
    KEYS,
    TLS,
    KEYS_AND_TLS,
    INSTALL,
    SYSTEMD_RUN,
    IMAGE,
    COMPOSE,
    KUBERNETES,
)


def of(how: re.Pattern[str]) -> list[Block]:
    """Return the blocks of shell that are run in one way."""
    return [block for block in BLOCKS if block.kind == "sh" and how.search(block.text)]


def texts(how: re.Pattern[str]) -> list[str]:
    """Return what is in them."""
    return [block.text for block in of(how)]


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.kind == "sh"], ids=lambda block: block.document
)
def test_every_block_of_shell_is_run_by_one_test(block: Block) -> None:
    assert [how.pattern for how in SHELL if how.search(block.text)] in [
        [how.pattern] for how in SHELL
    ], f"{block.document}: no test here runs this:\n{block.text}"


def test_every_link_leads_to_a_file_and_a_place_in_it() -> None:
    links = [
        (document, *link)
        for document, text in DOCUMENTS.items()
        for link in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text)
    ]
    assert len(links) > 100
    for document, file, anchor in links:
        target = ((ROOT / document).parent / file).resolve() if file else ROOT / document
        assert target.exists(), f"{document}: {file}"
        if anchor:
            places = _places(target.read_text(encoding="utf-8"))
            assert places.count(anchor) == 1, f"{document}: {file}#{anchor}"


def _places(text: str) -> list[str]:
    """Return the anchors that forges give to the headings of a document."""
    headings = re.findall("^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]


def test_every_row_of_a_table_has_all_its_cells() -> None:
    """Also in what is generated: a bar inside of a cell would begin another one."""
    tables = [
        (document, table.splitlines())
        for document, text in DOCUMENTS.items()
        for table in re.findall(r"(?:^\|.*\n)+", BLOCK.sub("", text), re.MULTILINE)
    ]
    assert len(tables) > 50
    for document, (head, *rows) in tables:
        bars = len(re.findall(r"(?<!\\)\|", head))
        assert [row for row in rows if len(re.findall(r"(?<!\\)\|", row)) != bars] == [], document


def test_the_page_on_several_machines_shows_its_file_and_settings_that_there_are() -> None:
    blocks = BLOCK.findall(DOCUMENTS["docs/several-machines.md"])
    shown = [text for kind, text in blocks if kind == "yaml"]
    assert len(shown) == 2
    file = (ROOT / "deploy/several-machines/envoy.yaml").read_text()
    assert [text for text in shown if text not in file] == []
    (given,) = [text for kind, text in blocks if kind == "ini"]
    names = re.findall("^(.+?)=", given, re.MULTILINE)
    assert len(names) == 5
    assert settings.unknown(names) == []


def test_every_place_that_the_architecture_names_is_there() -> None:
    text = DOCUMENTS["docs/architecture.md"]
    places = re.findall(r"^\| [\w ]+ \| [^|]+ \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_decision_has_a_status_and_is_listed() -> None:
    decisions = {
        name.rpartition("/")[2]: text
        for name, text in DOCUMENTS.items()
        if re.search(r"decisions/\d", name)
    }
    assert len(decisions) > 15
    for name, text in decisions.items():
        assert re.search(r"^# \d+\. .+\n\n\*\*Status\.\*\* \d{4}-\d\d-\d\d: \w", text), name
        assert f"]({name})" in DOCUMENTS["docs/decisions/README.md"]


def test_both_packages_have_the_licence() -> None:
    assert (ROOT / "clients/python/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.fixture(scope="module", params=["README.md", "docs/api.md"])
def document(request: pytest.FixtureRequest) -> str:
    """One of the documents that make calls."""
    return str(request.param)


@pytest.fixture(scope="module")
def addresses(
    kind: str,
    document: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, str]]:
    """A running service with the sample data, of this document's own."""
    url = f"sqlite:///{tmp_path_factory.mktemp(Path(document).stem)}/peermentor.db"
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_migrated_database()
    with migrated(url) as database:
        sample_data.load(database)
    environment = settings_for(url, free_ports(3))
    with serving(environment):
        yield {
            "127.0.0.1:8080": environment["PEERMENTOR_REST_ADDRESS"],
            "127.0.0.1:50051": environment["PEERMENTOR_GRPC_ADDRESS"],
        }


def test_calls_and_programs_answer_what_is_printed_below_them(
    document: str, addresses: dict[str, str], tmp_path: Path
) -> None:
    blocks = [
        each
        for each in BLOCKS
        if each.document == document and (each.kind == "python" or CALL.search(each.text))
    ]
    assert len(blocks) >= 4
    for block in blocks:
        if block.kind == "python":
            assert program(block.text, addresses, tmp_path) == block.below
            assert_same_meetings(block.below, (tmp_path / "meetings.ics").read_bytes())
        elif block.text.endswith(".ics\n"):
            assert_lines_printed(block.below, shell(block.text, addresses))
        else:
            answer = json.loads(shell(block.text, addresses))
            assert_printed(json.loads(as_json(block.below)), answer)


def test_programs_stand_where_they_are_run() -> None:
    documents = {block.document for block in BLOCKS if block.kind == "python"}
    assert documents == {"README.md"}


def assert_same_meetings(printed: str, file: bytes) -> None:
    """Look for the times that were printed in a calendar file, by each package that reads it."""
    times = re.findall(r"^\S+T\S+$", printed, re.MULTILINE)
    assert times
    for read in calendars.READERS.values():
        found = [time.isoformat() for time in islice(read(file), 20)]
        assert set(times) <= set(found), found


def program(text: str, addresses: dict[str, str], directory: Path) -> str:
    """Run a program of Python; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", here(text, addresses)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout


@pytest.mark.parametrize("block", [*of(START), *of(BY_HAND)], ids=lambda block: block.document)
def test_the_service_starts(block: Block, tmp_path: Path) -> None:
    """Up to the lines that say so; a gateway by hand is looked at, for its ports are its own."""
    changed = {
        "make serve": f"exec make -s -C {ROOT} -o .venv/serve.stamp serve",
        "make dist\n": f"cd {ROOT}; hatchling build -d {tmp_path}/dist\n"
        f"cd clients/python; hatchling build -d {tmp_path}/dist\ncd {tmp_path}\n",
        "pip install": "pip install -q --no-index --no-deps --target site",
        "peermentor-server serve\n": "PYTHONPATH=$PWD/site exec peermentor-server serve\n",
        ".venv/bin/peermentor-server": "exec peermentor-server",
        ".venv/bin/envoy": f"cd {ROOT}; envoy --mode validate",
    }
    commands = block.text
    if BY_HAND.search(commands):
        commands, gateway = commands.splitlines(keepends=True)
        assert "OK" in shell(gateway, changed)
    environment = settings_for(f"sqlite:///{tmp_path}/peermentor.db", free_ports(3))
    with started(here(commands, changed), tmp_path, environment) as printed:
        assert any(STARTED.search(line) for line in printed)


@contextmanager
def started(commands: str, directory: Path, environment: dict[str, str]) -> Iterator[Iterator[str]]:
    """Run lines that start the service, until the end of the block; give what they print."""
    with subprocess.Popen(
        ["bash", "-c", f"set -e; PATH={Path(sys.executable).parent}:$PATH\n{commands}"],
        cwd=directory,
        env=dict(os.environ) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield iter(process.stdout.readline, "")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=20)


def test_with_keys_and_tls_all_callers_see_one_organisation(tmp_path: Path) -> None:
    start, curl, buf = texts(KEYS_AND_TLS)
    environment = settings_for(f"sqlite:///{tmp_path}/peermentor.db", free_ports(3))
    with migrated(environment["PEERMENTOR_DATABASE_URL"]) as database:
        sample_data.load(database)
    changed = {
        "localhost:8443": environment["PEERMENTOR_REST_ADDRESS"].replace("127.0.0.1", "localhost"),
        "localhost:50051": environment["PEERMENTOR_GRPC_ADDRESS"].replace("127.0.0.1", "localhost"),
        "0.0.0.0:8443": environment["PEERMENTOR_REST_ADDRESS"],
        "0.0.0.0:50051": environment["PEERMENTOR_GRPC_ADDRESS"],
        ".venv/bin/": "",
        "make serve": "exec peermentor-server serve",
    }
    with started(here(start, changed), tmp_path, environment) as printed:
        key = next(line.strip() for line in printed if line.startswith("pmk_"))
        assert any(STARTED.search(line) for line in printed)
        changed["pmk_..."] = key
        by_curl = json.loads(shell(curl, changed, tmp_path))
        token = curl.splitlines(keepends=True)[0]
        by_buf = json.loads(shell(f"{token}{buf}", changed, tmp_path))
        changed['-H "Authorization: Bearer $PEERMENTOR_TOKEN"'] = "-w '%{http_code}'"
        assert shell(curl, changed, tmp_path).endswith("}401")
    assert {each["org_id"] for each in by_curl["data"]} == {"org_03"}
    assert {each["orgId"] for each in by_buf["data"]} == {"org_03"}
    assert 0 < by_curl["pagination"]["total"] == by_buf["pagination"]["total"] < 47


def test_the_sample_data_is_loaded(tmp_path: Path) -> None:
    environment = {"PEERMENTOR_DATABASE_URL": f"sqlite:///{tmp_path}/peermentor.db"}
    assert run("migrate", **environment).returncode == 0
    (load,) = texts(SAMPLES)
    changed = {"make": f"PEERMENTOR_DATABASE_URL={environment['PEERMENTOR_DATABASE_URL']} "}
    changed["make"] += f"make -C {ROOT} -o .venv/serve.stamp"
    assert "47" in shell(load, changed)


def test_a_backup_of_sqlite_is_made_and_restored(tmp_path: Path) -> None:
    make, restore = texts(SQLITE_BACKUP)
    fill = "peermentor-server migrate; peermentor-server demo\n"
    lose = "true >peermentor.db\n"
    count = """python -c "from pysqlite3 import dbapi2 as s; \\
print('mentees', s.connect('peermentor.db').execute('SELECT count(*) FROM mentees').fetchone()[0])"
"""
    changed = {
        ".venv/bin/": "",
        "make serve": "peermentor-server check",
    }
    printed = shell(f"{fill}{make}{lose}{restore}{count}", changed, tmp_path)
    assert "ok     database\n" in printed
    assert "mentees 48\n" in printed


def test_data_moves_from_sqlite_to_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    (move,) = texts(MOVE)
    changed = {
        ".venv/bin/": "",
        "postgresql://peermentor:secret@127.0.0.1/peermentor": f"'{postgres.new_database()}'",
    }
    printed = shell(f"peermentor-server migrate; peermentor-server demo\n{move}", changed, tmp_path)
    counts = "48 mentees, 47 assignments, 46 contacts, 8 templates"
    assert f": {counts}\n" in printed
    assert f"imported {counts} into postgresql://" in printed


def test_keys_are_made_and_listed(tmp_path: Path) -> None:
    (make,) = texts(KEYS)
    printed = shell(f"peermentor-server migrate\n{make}", {".venv/bin/": ""}, tmp_path).splitlines()
    assert re.fullmatch("pmk_[0-9a-f]{16}_[0-9a-f]{64}", printed[1])
    assert re.fullmatch(r"[0-9a-f]{16}  valid  write .* org_03 .* nightly job", printed[-1])


def test_the_settings_for_tls_are_taken() -> None:
    (serve,) = texts(TLS)
    changed = {"peermentor-server serve": "env"}
    found = dict(line.split("=", 1) for line in shell(serve, changed).splitlines() if "=" in line)
    assert settings.load(found).rest_url == "https://127.0.0.1:8443"


def test_the_service_is_installed_for_systemd(tmp_path: Path) -> None:
    """All but systemd itself, whose program only says what it is asked for."""
    [install], [keys] = texts(INSTALL), texts(SYSTEMD_RUN)
    units, opt = tmp_path / "etc/systemd/system", tmp_path / "opt/peermentor"
    units.mkdir(parents=True)
    changed = {
        "sudo ": "",
        # With the pip that is here, which need not be copied first.
        "-m venv ": "-m venv --without-pip ",
        "/opt/peermentor-1/bin/pip": "pip --python /opt/peermentor-1/bin/python",
        "dist/*.whl": f"--quiet --no-index --no-deps {tmp_path}/dist/*.whl",
        "deploy/": f"{ROOT}/deploy/",
        "/opt/peermentor": str(opt),
        "/etc/systemd/system": str(units),
        "systemctl ": "echo ",
    }
    build = f"hatchling build -d {tmp_path}/dist\n"
    done = shell(f"cd {ROOT}\n{build}cd clients/python\n{build}{install}", changed)
    *_, asked = done.splitlines()
    assert {*asked.split()} - {"enable", "--now"} <= {unit.name for unit in units.iterdir()}
    unit = (units / "peermentor.service").read_text()
    [program] = re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert (tmp_path / program.removeprefix("/")).exists()
    assert str(Path(program).parent) in keys


def test_the_image_is_built_and_run() -> None:
    """All but the engine: tests/deploy runs what the image runs."""
    build, run = said_to_podman(IMAGE, ROOT)
    file = ROOT / build[build.index("--file") + 1]
    assert run[-1] == build[build.index("--tag") + 1]
    volume = run[run.index("--volume") + 1].partition(":")[2]
    assert f"\nWORKDIR {volume}\n" in file.read_text()


def test_the_secrets_of_compose_are_made(tmp_path: Path) -> None:
    own = tmp_path / "deploy/container"
    own.mkdir(parents=True)
    (asked,) = said_to_podman(COMPOSE, tmp_path)
    assert asked[:2] == ["compose", "up"]
    compose = yaml.safe_load((ROOT / "deploy/container/compose.yaml").read_text())
    named = [own / each["file"] for each in compose["secrets"].values()]
    assert sorted(named) == sorted((own / "secrets").iterdir())
    password = (own / "secrets/database-password").read_text().strip()
    user = compose["services"]["database"]["environment"]["POSTGRES_USER"]
    environment = {settings.DATABASE_URL_FILE: str(own / "secrets/database-url")}
    url = settings.load(environment).database_url
    assert url == f"postgresql://{user}:{password}@database/{user}"
    assert "database" in compose["services"]


def test_kubernetes_is_told_of_the_migration() -> None:
    """tests/deploy runs what it runs, with the secrets of the block before."""
    _, install = texts(KUBERNETES)
    job = yaml.safe_load((ROOT / "deploy/kubernetes/base/migration.yaml").read_text())["metadata"]
    [(name, value)] = job["labels"].items()
    for option in (f"--ignore-not-found {job['name']}", f"-l {name}={value}", f"job/{job['name']}"):
        assert f" {option}\n" in install


def said_to_podman(how: re.Pattern[str], directory: Path) -> list[list[str]]:
    """Run a block in a directory, with a podman that only says what it is asked for."""
    (block,) = texts(how)
    done = shell(f'cd {directory}\npodman() {{ echo asked "$@"; }}\n{block}', {})
    return [line.split()[1:] for line in done.splitlines() if line.startswith("asked ")]


def test_the_url_of_several_servers_is_taken() -> None:
    (export,) = texts(STANDBY)
    url = shell(f'{export}echo "$PEERMENTOR_DATABASE_URL"', {}).strip()
    assert settings.load({"PEERMENTOR_DATABASE_URL": url}).database_url == url


def test_postgresql_is_set_up_backed_up_and_restored_from_nothing(tmp_path: Path) -> None:
    set_up, restrict = [text for text in texts(POSTGRESQL) if "CREATE ROLE" in text]
    (restore,) = [text for text in texts(POSTGRESQL) if "pg_dump" in text]
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
    """Run lines of the documents on the machine of this server, but look instead of serving."""
    changed = {
        "sudo -u postgres psql": f"psql -v ON_ERROR_STOP=1 -U postgres -h {server.socket()}",
        "@127.0.0.1/": f"@{quote(server.socket(), safe='')}/",
        "make migrate": "peermentor-server migrate",
        "make serve": "peermentor-server check",
    }
    tools = Path(server.tool("psql")).parent
    return shell(f"PATH={tools}:$PATH\n{script}", changed, directory)


def shell(command: str, changed: dict[str, str], directory: Path | None = None) -> str:
    """Run a command of a document with the tools of this virtual environment."""
    binaries = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-c", f"set -e; PATH={binaries}:$PATH\n{here(command, changed)}"],
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def here(text: str, changed: dict[str, str]) -> str:
    """Return what is printed as it has to be here."""
    for printed, actual in changed.items():
        text = text.replace(printed, actual)
    return text


def as_json(text: str) -> str:
    """Make JSON of an answer in which the end of objects and of lists may be left out."""
    in_objects = re.sub(r"\.\.\.(?=\s*})", '"...": "..."', text)
    return re.sub(r"\.\.\.(?=\s*])", '"..."', in_objects)


def assert_lines_printed(printed: str, answer: str) -> None:
    """Check that the answer has these lines, and others exactly where there is `...`."""
    assert re.fullmatch(re.escape(printed).replace(re.escape("...\n"), "(.+\n)+"), answer)


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
