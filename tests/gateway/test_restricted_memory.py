"""A kernel that lets no memory become executable, as systemd's MemoryDenyWriteExecute asks."""

import ctypes
from pathlib import Path

import httpx

from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from support.databases import url_of
from support.factories import NEW_ASSIGNMENT
from support.gateways import running_gateway
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import serving, settings_for

PATH = "/api/v1/assignments"
# <linux/prctl.h>; since Linux 6.3.
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
# A compiler of Lua begins after some dozens of calls.
CALLS = 300


def refuse_executable_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel has no PR_SET_MDWE")


def test_the_gateway_serves_where_no_memory_may_become_executable(tmp_path: Path) -> None:
    ports = [Address("127.0.0.1", port) for port in free_ports(3)]
    settings = Settings(grpc_address=ports[0], rest_address=ports[1], admin_address=ports[2])
    with running_gateway(settings, tmp_path, before=refuse_executable_memory) as rest:
        body = {"mentor_ids": [f"mentor-{number}" for number in range(50)], "status": "x"}
        # Checked by the scripts, and refused by the gateway itself, which has no worker.
        answers = [rest.post(PATH, json=[body]).status_code for _ in range(CALLS)]
        answers += [rest.get(f"{PATH}/a/b/c").status_code for _ in range(CALLS)]
    assert answers == [400] * CALLS + [404] * CALLS


def test_all_of_serve_does(own: Database) -> None:
    """Of a page, the scripts print every null."""
    environment = settings_for(url_of(own), free_ports(3))
    with (
        serving(environment, before=refuse_executable_memory) as running,
        httpx.Client(base_url=f"http://{running.rest}", timeout=15, verify=NO_TLS) as rest,
    ):
        for number in range(20):
            made = rest.post(PATH, json=NEW_ASSIGNMENT | {"mentee_id": f"user_{number}"})
            assert made.status_code == 200
        pages = [rest.get(PATH).json()["data"] for _ in range(CALLS)]
    shown = [[row["last_contact_date"] for row in page] for page in pages]
    assert shown == [[None] * 20] * CALLS
