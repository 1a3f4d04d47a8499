"""What a release stands on: the comparison with the last one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

TREE = Path(__file__).parents[1]
BUF = Path(sys.executable).with_name("buf")


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
