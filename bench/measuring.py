"""Measures contestants in turn, round after round, so that what disturbs one disturbs all."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from bench import load
from bench.contestants import Contestant
from bench.processes import busy_cpu_seconds, cpu_seconds, own_cpu_seconds
from bench.workloads import WORKLOADS, Plan, Workload, WrongAnswer


@dataclass(frozen=True)
class Sample:
    """What one measurement found. CPU is in microseconds for each request."""

    database: str
    rows: int
    contestant: str
    workload: str
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    server_us: float
    database_us: float
    generator_us: float
    others_cores: float
    """How many cores programs kept busy that have nothing to do with this."""


class MeasurementFailed(Exception):
    """A contestant does not do what it is measured for."""


def measure_all(
    database: str, contestants: Sequence[Contestant], plan: Plan, rounds: int, seconds: int
) -> Iterator[Sample]:
    """Measure each workload of each contestant once a round, after a second to warm up."""
    turns = [(workload, each) for workload in WORKLOADS for each in contestants]
    for workload, contestant in turns:
        _measure(database, contestant, workload, plan, 1)
    for _ in range(rounds):
        for workload, contestant in turns:
            yield _measure(database, contestant, workload, plan, seconds)


def _measure(
    database: str, contestant: Contestant, workload: Workload, plan: Plan, seconds: int
) -> Sample:
    body = workload.body()
    try:
        size = _check(contestant, workload, plan, body)
        began, before = time.monotonic(), _cpu(contestant)
        seen = _load(contestant, workload, plan, body, size, seconds)
        after, took = _cpu(contestant), time.monotonic() - began
        _check(contestant, workload, plan, body)
    except (load.LoadFailed, WrongAnswer, OSError, grpc.RpcError) as failure:
        raise MeasurementFailed(f"{contestant.name}, {workload.name}: {failure}") from failure
    server, store, generator, machine = (
        now - then for now, then in zip(after, before, strict=True)
    )
    return Sample(
        database,
        plan.rows,
        contestant.name,
        workload.name,
        seen.requests,
        seen.per_second,
        seen.p50_ms,
        seen.p99_ms,
        server / seen.requests * 1e6,
        store / seen.requests * 1e6,
        generator / seen.requests * 1e6,
        max(0.0, machine - server - store - generator) / took,
    )


def _cpu(contestant: Contestant) -> tuple[float, float, float, float]:
    return (
        cpu_seconds(contestant.processes),
        cpu_seconds(contestant.database),
        own_cpu_seconds(),
        busy_cpu_seconds(),
    )


def _load(
    contestant: Contestant,
    workload: Workload,
    plan: Plan,
    body: dict[str, Any] | None,
    size: int,
    seconds: int,
) -> load.Load:
    if contestant.protocol == "rest":
        return load.rest(contestant.port, workload, plan.keys, body, seconds)
    each = len(plan.keys) // load.CALLERS
    keys = plan.keys[::each][: load.CALLERS] if workload.of_one else plan.keys[:1]
    messages = [workload.message(key, body) for key in keys]
    return load.grpc(contestant.port, workload, messages, size, seconds)


def _check(
    contestant: Contestant, workload: Workload, plan: Plan, body: dict[str, Any] | None
) -> int:
    """Raise unless the contestant answers rightly; return how long its answer is."""
    key = plan.keys[0]
    answer = contestant.ask(workload, key, body)
    if contestant.holds_rows:
        is_rest = contestant.protocol == "rest"
        plan.check(workload, key, body, json.loads(answer) if is_rest else workload.read(answer))
    return len(answer)
