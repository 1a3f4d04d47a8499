"""A change of the protos reaches clients, gateway and descriptions by generating alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessages

import peermentor
from peermentor_server.settings import Address, Settings
from support import openapi
from support.clients import scripted_server
from support.gateways import running_gateway
from support.lua import contract
from support.ports import free_ports

ROOT = Path(__file__).parents[2]
SOURCES = Path(peermentor.__file__).parents[1]
NEW_RPC = """
  // Moves an assignment to another organization.
  //
  // Errors: NOT_FOUND.
  rpc MoveAssignment(MoveAssignmentRequest) returns (Assignment) {
    option idempotency_level = IDEMPOTENT;
    option (google.api.http) = {
      post: "/api/v1/assignments/{assignment_id}/move"
      body: "*"
    };
  }
}

// Where to move it.
message MoveAssignmentRequest {
  // The assignment.
  optional string assignment_id = 1;
  // The new organization.
  optional string org_id = 2 [(google.api.field_behavior) = REQUIRED];
  // From when on.
  google.protobuf.Timestamp moved_at = 3;
  // The last day in the old one: `YYYY-MM-DD` | null.
  optional string last_day = 4 [(text_format) = TEXT_FORMAT_DAY];
}
"""
NEW_FIELD = """
  // When it was moved. Null: never.
  google.protobuf.Timestamp moved_at = 100 [(nullable) = true];
  // How often it was moved. Null: not counted.
  google.protobuf.Int32Value moves = 101 [(nullable) = true];
}
"""
REQUEST_ID = """
  // Names the request, so that a repetition makes nothing twice.
  optional string request_id = 100;
"""
PROGRAM = """
from datetime import UTC, date, datetime
from peermentor import AsyncClient, Assignment, Client, UNSET

PAIR = {
    "mentee_id": "user_088", "peer_mentor_id": "m", "coordinator_id": "c", "org_id": "org_03"
}

def sync(client: Client) -> int | None:
    moved: Assignment = client.assignments.move(
        "asgn_001", org_id="org_04", moved_at=datetime.now(UTC), last_day=date(2026, 1, 1))
    at: datetime | None = moved.moved_at
    client.assignments.list(org_id=None, status=None)
    client.assignments.create(
        mentee_id="user_088", peer_mentor_id="m", coordinator_id="c", org_id="org_03")
    return moved.moves

async def other(client: AsyncClient) -> int | None:
    return (await client.assignments.move("asgn_001", org_id="org_04")).moves
"""
CALLS = """
import asyncio, sys
import grpc
from program import PAIR, other, sync
from peermentor import AsyncClient, Client
from peermentor.v1 import assignments_pb2 as pb
sys.path.insert(0, sys.argv[1])
from support import openapi
from support.clients import fail, scripted_server

keys = []
def behaviour(request, context):
    key = dict(context.invocation_metadata()).get("idempotency-key")
    keys.append(key or pb.CreateAssignmentRequest.FromString(request).request_id)
    if len(keys) in {1, 2, 4, 6}:
        fail(context, grpc.StatusCode.UNAVAILABLE)
    answer = pb.Assignment(assignment_id="asgn_001")
    answer.moves.value = 7
    return answer

with scripted_server(behaviour) as address:
    with Client(address) as client:
        assert sync(client) == 7
        client.assignments.create(**PAIR, request_id="mine")
    assert asyncio.run(other(AsyncClient(address))) == 7
assert len(keys) == 8 and len(keys[0]) == len(keys[3]) == len(keys[7]) == 36, keys
assert keys[0] == keys[1] == keys[2] != keys[3] == keys[4] and keys[5:7] == ["mine"] * 2, keys
assert "new organization" in client.assignments.move.__doc__
try:
    client.assignments.move("asgn_001")
except TypeError as error:
    assert "org_id" in str(error)
else:
    raise AssertionError("org_id is required")
"""


# What google ships has no types; our own package has.
QUIET = ("--config-file=", "--disable-error-code=import-untyped")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, generated from protos with one more RPC and more fields."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(ROOT / "protos", root / "protos")
    shutil.copytree(SOURCES, root / "src")
    proto = root / "protos/peermentor/v1/assignments.proto"
    text = proto.read_text()
    head, _, rest = text.partition("\n}\n")
    text = head + NEW_RPC + rest
    start = "\nmessage Assignment {"
    head, _, rest = text.partition(start)
    fields, _, rest = rest.partition("\n}\n")
    text = f"{head}{start}{fields}{NEW_FIELD}{rest}"
    start = "message CreateAssignmentRequest {"
    if "request_id" not in text.partition(start)[2].partition("\n}")[0]:
        text = text.replace(start, start + REQUEST_ID)
    proto.write_text(text)
    shutil.copytree(ROOT / "gateway", root / "gateway")
    shutil.copy(ROOT / "envoy.yaml", root)
    (root / "docs").mkdir()
    make = ["make", "generate"]
    make += [f"API={root}/protos", f"CLIENT={root}/src", f"GATEWAY={root}/gateway"]
    make += [f"OPENAPI={root}/docs/openapi.json", f"REFERENCE={root}/docs/grpc.md"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True, timeout=110)
    (root / "program.py").write_text(PROGRAM)
    return root


def test_new_methods_and_fields_are_typed_in_both_clients(changed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *QUIET, "program.py"],
        cwd=changed,
        env=dict(os.environ) | {"MYPYPATH": str(changed / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout


def test_the_gateway_knows_new_methods_and_fields_too(changed: Path) -> None:
    tables = contract(changed)
    assert tables["repeatable"]["/peermentor.v1.AssignmentService/MoveAssignment"] == "always"
    assert tables["nulls"]["peermentor.v1.Assignment"]["fields"][-2:] == ["moved_at", "moves"]


def test_new_methods_and_fields_are_described(changed: Path) -> None:
    content = json.loads((changed / "docs/openapi.json").read_text())
    operation = content["paths"]["/api/v1/assignments/{assignment_id}/move"]["post"]
    assert operation["summary"] == "Moves an assignment to another organization"
    names = [each.get("name", each.get("$ref")) for each in operation["parameters"]]
    assert names[:2] == ["assignment_id", "#/components/parameters/IdempotencyKey"]
    body = content["components"]["schemas"]["MoveAssignmentRequest"]
    assert (list(body["properties"]), body["required"]) == (
        ["org_id", "moved_at", "last_day"],
        ["org_id"],
    )
    assignment = content["components"]["schemas"]["Assignment"]
    assert assignment["properties"]["moves"] == {
        "type": ["integer", "null"],
        "format": "int32",
        "description": "How often it was moved. Null: not counted.",
    }
    assert assignment["required"][-2:] == ["moved_at", "moves"]
    reference = (changed / "docs/grpc.md").read_text()
    for part in (
        "\n### MoveAssignment\n",
        "| `POST /api/v1/assignments/{assignment_id}/move` |",
        "| [day](#text-formats) | The last day in the old one: `YYYY-MM-DD` \\| null",
        "| `moves` | `google.protobuf.Int32Value` | **nullable** | How often it was moved. Null",
    ):
        assert part in reference


def test_new_methods_and_fields_are_there_over_rest(changed: Path, tmp_path: Path) -> None:
    file_set = FileDescriptorSet.FromString((changed / "protos/peermentor.binpb").read_bytes())
    new = GetMessages(file_set.file, DescriptorPool())
    requests: list[Any] = []

    def behaviour(request: bytes, _context: Any) -> Any:
        requests.append(new["peermentor.v1.MoveAssignmentRequest"].FromString(request))
        answer: Any = new["peermentor.v1.Assignment"](assignment_id="asgn_001")
        answer.moves.value = 7
        return answer

    def without_health(config: dict[str, Any]) -> None:
        for cluster in config["static_resources"]["clusters"]:
            del cluster["health_checks"]

    path = "/api/v1/assignments/asgn_001/move"
    with scripted_server(behaviour) as address:
        rest_port, admin_port = free_ports(2)
        settings = Settings(
            grpc_address=Address.parse(address),
            rest_address=Address("127.0.0.1", rest_port),
            admin_address=Address("127.0.0.1", admin_port),
        )
        with (
            running_gateway(settings, tmp_path, without_health, root=changed) as rest,
            openapi.unchecked(),
        ):
            body = {"org_id": "org_04", "movedAt": "2026-03-26t09:45:00z"}
            moved = rest.post(path, json=body, headers={"prefer": "handling=strict"})
            refused = rest.post(path, json=body | {"movedAt": "soon"})
            listed = rest.post(path, json={"org_id": ["org_04"]})
            got = rest.get(path)
    assert moved.status_code == 200, moved.text
    assert moved.json()["moves"] == 7
    assert moved.json()["moved_at"] is moved.json()["last_contact_date"] is None
    [request] = requests
    assert (request.assignment_id, request.org_id) == ("asgn_001", "org_04")
    assert request.moved_at.ToJsonString() == "2026-03-26T09:45:00Z"
    assert refused.json()["message"].startswith("moved_at: must be a time")
    assert listed.json()["message"] == "org_id: must not be a list"
    assert (got.status_code, got.headers["allow"]) == (405, "POST")


def test_new_methods_work_and_are_repeated_under_one_key(changed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLS, str(ROOT / "tests")],
        cwd=changed,
        env=dict(os.environ) | {"PYTHONPATH": f"{changed}/src:{changed}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_derived_for_the_synchronous_client_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_async.py").write_text("async def wait():\n    await asyncio.sleep(1)\n")
    done = subprocess.run(
        [sys.executable, ROOT / "clients/generator/synchronous.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "_async.py:2: synchronous.py has no rule for 'asyncio'\n"
    assert not (tmp_path / "_sync.py").exists()


def test_what_the_templates_have_no_words_for_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    (tmp_path / "src").mkdir()
    proto = tmp_path / "protos/peermentor/v1/assignments.proto"
    proto.write_text(proto.read_text().replace("returns (Assign", "returns (stream Assign", 1))
    done = subprocess.run(
        ["make", "generate", f"API={tmp_path}/protos", f"CLIENT={tmp_path}/src"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode != 0
    assert "the SDK generator knows no GetAssignment: streams" in done.stderr
