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
    written = [str(tmp_path / name) for name in ("openapi.json", "grpc.md")]
    done = subprocess.run(
        [str(PYTHON), "-m", "describe", "tests/contract", *written],
        cwd=ROOT,
        env={"PYTHONPATH": "protos"},
        input=files.SerializeToString(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    name = "peermentor.v1.DeleteTemplateResponse.success"
    assert done.stderr.decode() == f"describe: {name}: a field of this type is not described yet\n"
    assert list(tmp_path.iterdir()) == []
