"""Far more calls than can be served: what is served stays quick, and the rest is told to wait."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from peermentor import Client, NotFound, ResourceExhausted
from peermentor_server.storage.engine.database import Database
from support.databases import url_of
from support.factories import NEW_ASSIGNMENT
from support.flood import flood
from support.plain_http import NO_TLS
from support.serving import Running, served
from support.torture import either, measured

# How long the database takes for a create, in seconds: with 8 threads, 16 creates a second.
SLOWNESS_S = 0.5
THREADS = 8
SLOW_INSERTS = (
    (
        "CREATE FUNCTION slow() RETURNS trigger AS "
        f"'BEGIN PERFORM pg_sleep({SLOWNESS_S}); RETURN NEW; END' LANGUAGE plpgsql"
    ),
    "CREATE TRIGGER slow BEFORE INSERT ON assignments FOR EACH ROW EXECUTE FUNCTION slow()",
)


@pytest.fixture
def slow_service(postgresql: Database, tmp_path: Path) -> Iterator[Running]:
    """One worker, on a database that is slow to store."""
    with postgresql.write() as connection:
        for statement in SLOW_INSERTS:
            connection.execute(text(statement))
    with served(url_of(postgresql), tmp_path, workers=1) as running:
        yield running


def creates(address: str, callers: int) -> list[bytes]:
    """Return the request of each caller. Creates for one mentee would wait for each other."""
    return [create(address, f"mentee{number}") for number in range(callers)]


def create(address: str, mentee_id: str) -> bytes:
    body = json.dumps(NEW_ASSIGNMENT | {"mentee_id": mentee_id})
    return (
        f"POST /api/v1/assignments HTTP/1.1\r\nHost: {address}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def failed_health_checks(running: Running) -> int:
    admin = running.environment["PEERMENTOR_ADMIN_ADDRESS"]
    name = "cluster.peermentor.health_check.failure"
    stats = httpx.get(f"http://{admin}/stats?filter={name}", verify=NO_TLS).text
    (found,) = re.findall(r"health_check\.failure: (\d+)", stats)
    return int(found)


def test_overload_lets_through_what_can_be_served_and_refuses_the_rest(
    slow_service: Running,
) -> None:
    # Other programs on the machine may spoil a round, but hardly three of them.
    for attempts_left in (2, 1, 0):
        try:
            _compare_with_peak(slow_service)
        except AssertionError:
            if not attempts_left:
                raise
        else:
            return


def _compare_with_peak(slow_service: Running) -> None:
    address = slow_service.rest
    peak = flood(address, creates(address, 2 * THREADS), either(3, 30))
    assert set(peak.counts) == {200}
    failed = failed_health_checks(slow_service)

    over = flood(address, creates(address, int(either(250, 500))), either(4, 60), pause=0.4)

    assert set(over.counts) == {200, 429}
    assert failed_health_checks(slow_service) == failed
    served, offered = over.rate(200) / peak.rate(200), sum(over.counts.values()) / peak.counts[200]
    offered *= peak.seconds / over.seconds
    measured(
        f"peak {peak.rate(200):.0f}/s, p99 {peak.p99():.2f} s; offered {offered:.0f} times as "
        f"much: {over.rate(200):.0f}/s, p99 {over.p99():.2f} s"
    )
    # What had been let through when it ended takes its time.
    time.sleep(2)
    after = flood(address, creates(address, 2 * THREADS), either(3, 4))
    assert offered > 20
    assert served >= 0.9
    assert over.p99() <= 3 * peak.p99()
    assert set(after.counts) == {200}
    assert after.rate(200) >= 0.75 * peak.rate(200)


def test_a_refusal_says_when_to_come_back(slow_service: Running) -> None:
    address = slow_service.rest
    over = flood(address, creates(address, 60), 2, 0.1)
    assert b"retry-after: 1" in over.heads[429].split(b"\r\n")
    assert json.loads(over.bodies[429]) == {
        "code": 8,
        "message": "too many calls at once; try again later",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "OVERLOADED",
                "domain": "peermentor",
                "metadata": {},
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "1s"},
        ],
    }


def refused_by_grpc(running: Running) -> list[ResourceExhausted]:
    """Call while a flood of others does; return how that was refused."""
    calls = threading.Thread(target=flood, args=(running.rest, creates(running.rest, 60), 4, 0.1))
    refused: list[ResourceExhausted] = []
    with Client(running.grpc, retries=0) as client:
        calls.start()
        while calls.is_alive():
            try:
                client.assignments.delete("asgn_404")
            except ResourceExhausted as error:
                refused.append(error)
            except NotFound:
                pass
        calls.join()
    return refused


def test_a_refusal_over_grpc_says_so_too(slow_service: Running) -> None:
    # A few calls may all find a free place.
    refused = refused_by_grpc(slow_service) or refused_by_grpc(slow_service)
    assert {(each.reason, each.retry_after) for each in refused} == {("OVERLOADED", 1.0)}
    with Client(slow_service.grpc) as client:
        assert client.assignments.list(limit=1).page(1).items
