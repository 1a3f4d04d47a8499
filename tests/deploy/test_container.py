"""What the image and compose.yaml run, run as a container's first process.

`make check-deploy` verifies the files themselves, by the programs that read them.
"""

import re
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import yaml

from peermentor_server.timing import USUAL
from support.containers import ROOT, Image, built, contained
from support.databases import Postgres
from support.plain_http import NO_TLS
from support.poolers import running_pooler
from support.ports import free_ports
from support.serving import settings_for
from support.torture import LONG
from support.waiting import wait_until

IMAGE = Image.of_project()


def service(name: str) -> dict[str, Any]:
    """Return what compose.yaml says of a service."""
    compose = yaml.safe_load((ROOT / "deploy/container/compose.yaml").read_text())
    found: dict[str, Any] = compose["services"][name]
    return found


def test_the_image_serves_by_itself(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    own = settings_for("", free_ports(3))
    log = tmp_path / "log"
    # What it would run, or all of it: `make torture` builds it.
    with (
        built() if LONG else nullcontext(IMAGE) as image,
        contained(image, image.command, own, log, f"{volume}:{image.directory}:rw") as running,
    ):
        wait_until(lambda: running.runs(image.health_check), USUAL.start_s, every=0.5)
        running.send(signal.SIGTERM)
        assert running.wait() == 0
    assert {file.name for file in volume.iterdir()} == {"peermentor.db", "peermentor.db.lock"}
    assert "draining" in log.read_text()


def test_compose_migrates_and_serves(postgres: Postgres, tmp_path: Path) -> None:
    migrate, serve = service("migrate"), service("serve")
    secret = tmp_path / "database-url"
    place = f"{secret}:/run/secrets/{secret.name}"
    for wanted in (migrate, serve):
        assert wanted["read_only"]
        assert wanted["tmpfs"]
        assert wanted["secrets"] == [secret.name]
    # Other ports than those of the file, which others may use here.
    grpc, rest, admin, metrics = free_ports(4)
    inside = {
        each.rpartition(":")[2]
        for name, each in serve["environment"].items()
        if name.endswith("_ADDRESS")
    }
    assert {port.rpartition(":")[2] for port in serve["ports"]} == inside
    environment = serve["environment"] | {
        "PEERMENTOR_GRPC_ADDRESS": f"0.0.0.0:{grpc}",
        "PEERMENTOR_REST_ADDRESS": f"0.0.0.0:{rest}",
        "PEERMENTOR_ADMIN_ADDRESS": f"127.0.0.1:{admin}",
        "PEERMENTOR_METRICS_ADDRESS": f"0.0.0.0:{metrics}",
        "PEERMENTOR_WORKERS": "1",
    }
    log = tmp_path / "log"
    # By a port, as from another container.
    with running_pooler(postgres.new_database()) as url:
        secret.write_text(url)
        with contained(IMAGE, migrate["command"], migrate["environment"], log, place) as running:
            assert running.wait() == 0, log.read_text()
        with contained(IMAGE, serve["command"], environment, log, place) as running:
            wait_until(lambda: running.runs(IMAGE.health_check), USUAL.start_s, every=0.5)
            calls = f"http://127.0.0.1:{rest}/api/v1/assignments"
            assert httpx.get(calls, verify=NO_TLS).json()["data"] == []
            assert httpx.get(f"http://127.0.0.1:{metrics}/metrics", verify=NO_TLS).is_success
            assert (
                httpx.get(calls, headers={"Host": "pages.example.org"}, verify=NO_TLS).status_code
                == 421
            )
            running.send(signal.SIGTERM)
            assert running.wait() == 0


def test_another_command_is_ended_too(tmp_path: Path) -> None:
    """The kernel gives no signal to a first process that has not asked for it."""
    command = ["import", "-"]
    log = tmp_path / "log"
    with contained(
        IMAGE, command, settings_for("sqlite:////tmp/own.db", [1, 2, 3]), log
    ) as running:
        wait_until(lambda: asks_for(signal.SIGTERM, running.init().pid), 20)
        running.send(signal.SIGTERM)
        assert running.wait() == 130
    assert log.read_text() == ""


def asks_for(number: int, pid: int) -> bool:
    """Tell whether a process takes a signal."""
    [mask] = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_engines_wait_for_longer_than_serve_takes() -> None:
    [seconds] = re.findall(r"^(\d+)s$", service("serve")["stop_grace_period"])
    assert int(seconds) > 2 * USUAL.stop_s
    assert IMAGE.patience_s > USUAL.start_s


def test_the_image_is_not_roots() -> None:
    """By number, for only then can it be seen without the image."""
    assert re.fullmatch("[1-9][0-9]+:[1-9][0-9]+", IMAGE.user)
