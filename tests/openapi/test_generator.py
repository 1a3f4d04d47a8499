"""What cannot be described ends the generator, in words that name the place.

That new RPCs and fields are described, `tests/client/test_generator.py` shows on a copy.
"""

import subprocess
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from support.lua import ROOT

# The code generator lives in an environment of its own.
PYTHON = ROOT / ".venv-generate/bin/python"


def test_a_field_that_cannot_be_described_is_named(tmp_path: Path) -> None:
    files = FileDescriptorSet.FromString((ROOT / "protos/peermentor.binpb").read_bytes())
    [answer] = [
        message
        for file in files.file
        for message in file.message_type
        if message.name == "DeleteTemplateResponse"
    ]
    answer.field[0].type = FieldDescriptorProto.TYPE_FLOAT
    done = subprocess.run(
        [str(PYTHON), "-m", "openapi", "tests/contract", str(tmp_path / "openapi.json")],
        cwd=ROOT,
        env={"PYTHONPATH": "protos"},
        input=files.SerializeToString(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    name = "peermentor.v1.DeleteTemplateResponse.success"
    assert done.stderr.decode() == f"openapi: {name}: a field of this type is not described yet\n"
    assert not (tmp_path / "openapi.json").exists()
