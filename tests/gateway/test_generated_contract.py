"""What the gateway cannot do for a proto ends its generator, in words that name the place."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from support.lua import ROOT

# The code generator lives in an environment of its own.
PYTHON = ROOT / ".venv-generate/bin/python"
WHERE = "peermentor.v1.CreateTemplateRequest"


def generate(files: FileDescriptorSet, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Write contract.lua into a directory."""
    (directory / "set.binpb").write_bytes(files.SerializeToString())
    names = [str(directory / name) for name in ("set.binpb", "c.lua")]
    command = [str(PYTHON), "protos/gateway_contract.py", *names]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def as_object(field: FieldDescriptorProto) -> None:
    field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, ".peermentor.v1.Pagination"


def as_numbers(field: FieldDescriptorProto) -> None:
    field.type = FieldDescriptorProto.TYPE_INT32


def with_digit(field: FieldDescriptorProto) -> None:
    field.name, field.json_name = "name_1", "name1"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("notes_template", as_object, "notes_template: no field of a request body holds an object"),
        ("mentor_ids", as_numbers, "mentor_ids: lists are of texts only"),
        ("name", with_digit, "name_1: name fields in lower_case, without _ before digits"),
    ],
)
def test_a_body_that_cannot_be_checked_is_refused(
    name: str, change: Callable[[FieldDescriptorProto], None], words: str, tmp_path: Path
) -> None:
    files = FileDescriptorSet.FromString((ROOT / "protos/peermentor.binpb").read_bytes())
    [field] = [each for each in message(files, WHERE).field if each.name == name]
    change(field)
    done = generate(files, tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"the gateway: {WHERE}.{words}\n"
    assert not (tmp_path / "c.lua").exists()


def test_nulls_need_a_key_to_stand_before(tmp_path: Path) -> None:
    files = FileDescriptorSet.FromString((ROOT / "protos/peermentor.binpb").read_bytes())
    for field in message(files, "peermentor.v1.Assignment").field:
        field.number += 100 if field.number < 7 else 0
    done = generate(files, tmp_path)
    assert done.stderr.startswith("the gateway: peermentor.v1.Assignment: nullable fields need")


def message(files: FileDescriptorSet, full_name: str) -> DescriptorProto:
    [found] = [
        each
        for file in files.file
        for each in file.message_type
        if f"{file.package}.{each.name}" == full_name
    ]
    return found
