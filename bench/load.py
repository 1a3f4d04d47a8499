"""Keeps calls in flight with public load generators: wrk for REST, h2load for gRPC.

Each caller has a connection of its own, with one call at a time.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.workloads import Workload

CALLERS = 16
TOOLS = ("wrk", "h2load")
# What a run may take longer than it is to.
_PATIENCE_S = 60


class LoadFailed(Exception):
    """Some calls were not answered as they should have been, or none was made."""


@dataclass(frozen=True)
class Load:
    """What callers saw."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def missing_tools() -> list[str]:
    """Return which of the tools are not on this machine."""
    return [name for name in TOOLS if shutil.which(name) is None]


_WRK_SCRIPT = """
local requests, turn = {}, 0
function init()
  local headers = {["Content-Type"] = "application/json"}
  for path in io.lines("%(paths)s") do
    requests[#requests + 1] = wrk.format("%(verb)s", path, headers, %(body)s)
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors, failed = summary.errors, 0
  for _, kind in ipairs({"connect", "read", "write", "status", "timeout"}) do
    failed = failed + errors[kind]
  end
  io.write(string.format('\\n{"requests": %%d, "us": %%d, "failed": %%d, "p50": %%d, "p99": %%d}',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"""


def rest(
    port: int, workload: Workload, keys: Sequence[int], body: dict[str, Any] | None, seconds: int
) -> Load:
    """Call over HTTP/1.1."""
    with tempfile.TemporaryDirectory() as directory:
        paths, script = Path(directory, "paths"), Path(directory, "script.lua")
        paths.write_text("\n".join(map(workload.rest_path, keys if workload.of_one else [0])))
        sent = "nil" if body is None else f"[==[{json.dumps(body)}]==]"
        script.write_text(_WRK_SCRIPT % {"paths": paths, "verb": workload.verb, "body": sent})
        command = ["wrk", "-t1", f"-c{CALLERS}", f"-d{seconds}", "--timeout", "20"]
        url = f"http://127.0.0.1:{port}/"
        printed = _output_of([[*command, "-s", str(script), url]], seconds)[0]
    found = json.loads(printed.rpartition("\n")[2])
    if found["failed"] or not found["requests"]:
        raise LoadFailed(f"{found['failed']} of {found['requests']} calls failed")
    per_second = found["requests"] / found["us"] * 1e6
    return Load(found["requests"], per_second, found["p50"] / 1000, found["p99"] / 1000)


def grpc(port: int, workload: Workload, messages: Sequence[bytes], size: int, seconds: int) -> Load:
    """Call over HTTP/2; `size` is how long a right answer is, in bytes.

    A program of h2load's sends one message alone, so there is one for each.
    """
    callers = CALLERS // len(messages)
    command = ["h2load", "-t1", f"-c{callers}", "-m1", f"-D{seconds}"]
    for header in ("content-type: application/grpc", "te: trailers"):
        command += ["-H", header]
    url = f"http://127.0.0.1:{port}{workload.method}"
    with tempfile.TemporaryDirectory() as directory:
        commands, logs = [], []
        for number, message in enumerate(messages):
            data, log = Path(directory, f"data{number}"), Path(directory, f"log{number}")
            data.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
            commands.append([*command, "-d", str(data), f"--log-file={log}", url])
            logs.append(log)
        printed = _output_of(commands, seconds)
        lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    _require_answers(lines, printed, size)
    took = sorted(int(duration) for _, _, duration in lines)
    began = min(int(start) for start, _, _ in lines)
    ended = max(int(start) + int(duration) for start, _, duration in lines)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    return Load(len(lines), len(lines) / (ended - began) * 1e6, p50 / 1000, p99 / 1000)


def _require_answers(lines: list[list[str]], printed: list[str], size: int) -> None:
    failed = [line for line in lines if line[1] != "200"]
    if failed or not lines:
        raise LoadFailed(f"{len(failed)} of {len(lines)} calls failed")
    # Over gRPC an error is a 200 too, with nothing in it.
    received = sum(int(re.findall(r"\((\d+)\) data", each)[0]) for each in printed)
    if received < 0.95 * size * len(lines):
        raise LoadFailed(f"{len(lines)} answers of {size} bytes have {received} bytes together")


def _output_of(commands: list[list[str]], seconds: int) -> list[str]:
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    printed = [each.communicate(timeout=seconds + _PATIENCE_S)[0] for each in running]
    for process, text in zip(running, printed, strict=True):
        if process.returncode:
            raise LoadFailed(f"{process.args!r} failed: {text}")
    return printed
