"""A release: its version, its changelog, and the comparison of its protos with the last one."""

import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from packaging.requirements import Requirement
from packaging.version import Version

TREE = Path(__file__).parents[1]
BUF = Path(sys.executable).with_name("buf")
VERSION = Path("clients/python/src/peermentor/_version.py")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the protos of today, committed."""
    shutil.copytree(TREE / "protos", tmp_path / "protos")
    run("git", "init", "--quiet", cwd=tmp_path)
    run("git", "add", ".", cwd=tmp_path)
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    run("git", *who, "commit", "--quiet", "-m", "Today", cwd=tmp_path)
    return tmp_path


def compare(repository: Path) -> subprocess.CompletedProcess[str]:
    return run("sh", "protos/breaking.sh", BUF, "protos/peermentor.binpb", cwd=repository)


def remove_a_field(descriptor_set: Path) -> None:
    files = FileDescriptorSet.FromString(descriptor_set.read_bytes())
    messages = {message.name: message for file in files.file for message in file.message_type}
    del messages["Assignment"].field[2]
    descriptor_set.write_bytes(files.SerializeToString())


def test_protos_are_compared_with_those_of_the_last_tag(repository: Path) -> None:
    run("git", "tag", "v1.2.3", cwd=repository)
    same = compare(repository)
    assert (same.returncode, same.stdout) == (0, "buf breaking: comparing with v1.2.3\n")
    remove_a_field(repository / "protos/peermentor.binpb")
    changed = compare(repository)
    assert changed.returncode != 0
    assert 'field "3" with name "peer_mentor_id"' in changed.stdout


def test_nothing_passes_for_compared_before_the_first_tag(repository: Path) -> None:
    remove_a_field(repository / "protos/peermentor.binpb")
    found = compare(repository)
    assert (found.returncode, found.stdout) == (0, "")
    assert found.stderr == "buf breaking: NOT COMPARED: no release is tagged yet\n"


@pytest.fixture
def changelog(repository: Path) -> Path:
    """What a release reads and writes, at version 0.1.0, with its changelog ready for 1.2.3."""
    (repository / VERSION).parent.mkdir(parents=True)
    shutil.copy(TREE / VERSION, repository / VERSION)
    file = repository / "CHANGELOG.md"
    file.write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-03-26\n\n- It works.\n")
    return file


def release(changelog: Path, version: str = "1.2.3") -> subprocess.CompletedProcess[str]:
    return run(sys.executable, TREE / ".ci/release.py", version, cwd=changelog.parent)


def test_a_release_sets_the_version(changelog: Path) -> None:
    done = release(changelog)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = (changelog.parent / VERSION).read_text().splitlines()
    assert lines == [*(TREE / VERSION).read_text().splitlines()[:-1], '__version__ = "1.2.3"']


@pytest.mark.parametrize(
    ("version", "old", "new", "said"),
    [
        ("", "", "", "say which version, as in: make release VERSION=1.2.3"),
        ("v1.2.3", "", "", "say which version, as in: make release VERSION=1.2.3"),
        ("1.2.3", "1.2.3", "1.2.4", "CHANGELOG.md has no entries under: ## [1.2.3] - YYYY-MM-DD"),
        (
            "1.2.3",
            " - 2026-03-26",
            "",
            "CHANGELOG.md has no entries under: ## [1.2.3] - YYYY-MM-DD",
        ),
        ("1.2.3", "- It works.", "", "CHANGELOG.md has no entries under: ## [1.2.3] - YYYY-MM-DD"),
        (
            "1.2.3",
            "[Unreleased]\n",
            "[Unreleased]\n- More.\n",
            "CHANGELOG.md still has entries under: ## [Unreleased]",
        ),
    ],
)
def test_what_is_not_ready_is_not_released(
    changelog: Path, version: str, old: str, new: str, said: str
) -> None:
    changelog.write_text(changelog.read_text().replace(old, new))
    refused = release(changelog, version)
    assert (refused.returncode, refused.stderr) == (1, f"{said}\n")
    assert (changelog.parent / VERSION).read_text() == (TREE / VERSION).read_text()


def test_no_version_is_released_twice(changelog: Path) -> None:
    run("git", "tag", "v1.2.3", cwd=changelog.parent)
    assert release(changelog).stderr == "v1.2.3 is tagged already\n"


@pytest.mark.parametrize("name", ["psycopg", "grpcio", "grpcio-health-checking"])
def test_what_promises_less_than_we_use_is_held_to_the_minor_that_is_tested(name: str) -> None:
    needs = {each.name: each for each in map(Requirement, requires("peermentor-server") or ())}
    tested = Version(version(name))
    assert needs[name].specifier.contains(tested)
    assert not needs[name].specifier.contains(f"{tested.major}.{tested.minor + 1}")
