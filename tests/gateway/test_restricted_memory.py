"""A kernel that lets no memory become executable, as systemd's MemoryDenyWriteExecute asks."""

import ctypes
from pathlib import Path

from peermentor_server.settings import Address, Settings
from support.gateways import running_gateway
from support.ports import free_ports

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
