"""What stands in deploy/, as far as the service itself depends on it.

`make check-deploy` verifies the rest, by the programs that read these files.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from peermentor_server.cli import sample_data
from peermentor_server.timing import USUAL
from support.databases import migrated

DEPLOY = Path(__file__).parents[2] / "deploy"
SYSTEMD = DEPLOY / "systemd"


def setting(unit: str, name: str) -> list[str]:
    """Return all that a unit sets under a name."""
    text = (SYSTEMD / unit).read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def seconds(unit: str, name: str) -> float:
    """Return what a unit sets once, in seconds."""
    [value] = setting(unit, name)
    return float(value)


def test_systemd_waits_for_longer_than_serve_takes() -> None:
    unit = "peermentor.service"
    assert seconds(unit, "TimeoutStartSec") > USUAL.start_s + USUAL.stop_s
    # The workers, and then the gateway. Nobody says meanwhile that all is well.
    assert 2 * USUAL.stop_s < seconds(unit, "TimeoutStopSec") < seconds(unit, "WatchdogSec")
    assert setting(unit, "KillMode") == ["mixed"]


def test_a_backup_is_as_shut_in_as_the_service() -> None:
    sandbox = r"(?:Protect|Private|Restrict|Lock|Memory|NoNew|Proc|Remove|System|Capability)\w+"
    lines = [
        set(re.findall(rf"^{sandbox}=.*$", (SYSTEMD / unit).read_text(), re.MULTILINE))
        for unit in ("peermentor.service", "peermentor-backup.service")
    ]
    assert len(lines[0]) > 20
    assert lines[0] - lines[1] == {"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"}


def test_backups_are_made_and_old_ones_go(tmp_path: Path) -> None:
    """By the lines of the unit, with the directories that systemd makes for it."""
    private = tmp_path / "private" / "peermentor-backups"
    private.mkdir(parents=True)
    (tmp_path / "peermentor-backups").symlink_to(private)
    with migrated(f"sqlite:///{tmp_path}/peermentor.db") as database:
        sample_data.load(database)
    old, recent = private / "peermentor-1.db", private / "peermentor-2.db"
    for file, days in ((old, 31), (recent, 29)):
        file.touch()
        os.utime(file, (file.stat().st_mtime - days * 86400 - 3600,) * 2)
    for name in ("ExecStart", "ExecStartPost"):
        [line] = setting("peermentor-backup.service", name)
        [command] = re.findall("^/bin/sh -c '(.*)'$", line)
        run_as_unit(command, tmp_path)
    [new] = set(private.iterdir()) - {recent}
    assert re.fullmatch(r"peermentor-\d{8}T\d{6}Z\.db", new.name)
    assert new.stat().st_size > 10_000


def run_as_unit(command: str, state: Path) -> None:
    """Run a command of the unit for backups, in the directory and the environment that it sets."""
    specifiers = {"%": "%", "S": str(state)}
    command = re.sub("%(.)", lambda found: specifiers[found[1]], command)
    command = command.replace("/opt/peermentor/bin", str(Path(sys.executable).parent))
    [environment] = setting("peermentor-backup.service", "Environment")
    name, _, value = environment.partition("=")
    subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=state,
        env={"PATH": os.environ["PATH"], name: value},
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize("drop_in", sorted(SYSTEMD.glob("*.conf")), ids=lambda path: path.name)
def test_every_drop_in_is_in_the_documents(drop_in: Path) -> None:
    assert f"`{drop_in.name}`" in (DEPLOY.parent / "docs/deployment.md").read_text()
