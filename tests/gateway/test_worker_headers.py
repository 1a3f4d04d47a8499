"""What the gateway tells a worker of each call: the call, the connection, and the time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from peermentor.v1.assignments_pb2 import GetAssignmentRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.settings import Address, Settings
from support.edges import manager_of
from support.gateways import native_address, running_gateway
from support.listening_worker import Headers, ListeningWorker, listening_worker
from support.plain_http import NO_TLS
from support.ports import free_ports

PATH = "/api/v1/assignments/asgn_001"
METHOD = "/peermentor.v1.AssignmentService/GetAssignment"
CALL, PEER, TIME = "x-peermentor-call", "x-peermentor-peer", "x-envoy-expected-rq-timeout-ms"
CERTIFICATE = "x-peermentor-certificate"
# The first attempt fails after a second; the time-out of all attempts is a bit longer than that
# of one.
FIRST_ATTEMPT_S = 1.0
ROUTE_S, ATTEMPT_MS = 5.0, 4500


def shorten_rest(config: dict[str, Any]) -> None:
    for route in manager_of(config)["route_config"]["virtual_hosts"][0]["routes"]:
        if route["name"].startswith("rest"):
            assert route["route"]["timeout"] in {"10s", f"{ROUTE_S}s"}  # Routes share settings.
            route["route"]["timeout"] = f"{ROUTE_S}s"


@dataclass(frozen=True)
class Way:
    """A gateway, one of its ways in, and the worker behind it."""

    name: str
    target: str
    worker: ListeningWorker

    def call(self, *sent: tuple[str, str]) -> tuple[str, dict[str, str]]:
        """Call on a connection of its own; return its address and the headers of the answer."""
        if self.name == "grpc":
            return self._call_grpc(sent)
        with httpx.Client(base_url=f"http://{self.target}", timeout=15, verify=NO_TLS) as client:
            if self.name == "grpc-web":
                headers = [*sent, ("content-type", "application/grpc-web+proto")]
                request = client.build_request("POST", METHOD, headers=headers, content=bytes(5))
            else:
                request = client.build_request("GET", PATH, headers=sent)
            response = client.send(request, stream=True)
            address = response.extensions["network_stream"].get_extra_info("client_addr")
            assert response.status_code == 200
            response.close()
            return f"{address[0]}:{address[1]}", dict(response.headers)

    def _call_grpc(self, sent: tuple[tuple[str, str], ...]) -> tuple[str, dict[str, str]]:
        with grpc.insecure_channel(self.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = AssignmentServiceStub(channel)
            _, call = stub.GetAssignment.with_call(
                GetAssignmentRequest(), metadata=sent, timeout=15
            )
            metadata = (*call.initial_metadata(), *call.trailing_metadata())
            return "", {name: str(value) for name, value in metadata}

    def heard(self) -> list[Headers]:
        """Return the headers of each attempt since the last time."""
        calls = list(self.worker.calls)
        self.worker.calls.clear()
        return calls


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, ListeningWorker]]:
    """The gateway in front of a worker that listens."""
    addresses = [Address("127.0.0.1", port) for port in free_ports(3)]
    settings = Settings(
        grpc_address=addresses[0], rest_address=addresses[1], admin_address=addresses[2]
    )
    with (
        listening_worker(str(settings.grpc_address)) as worker,
        running_gateway(settings, tmp_path_factory.mktemp("gateway"), shorten_rest),
    ):
        yield settings, worker


@pytest.fixture(params=["rest", "grpc-web", "grpc"])
def way(request: pytest.FixtureRequest, running: tuple[Settings, ListeningWorker]) -> Way:
    """Each way into the gateway."""
    settings, worker = running
    worker.calls.clear()
    target = native_address(settings) if request.param == "grpc" else str(settings.rest_address)
    return Way(request.param, target, worker)


def test_each_call_has_an_id_of_its_own(way: Way) -> None:
    for _ in range(3):
        way.call(("x-request-id", "always the same"))
    ids = [headers[CALL] for headers in way.heard()]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == 3


def test_all_attempts_of_a_call_have_its_id(way: Way) -> None:
    way.worker.fail_first = 0
    way.call()
    first, second = way.heard()
    assert first[CALL] == second[CALL]
    assert first[PEER] == second[PEER]


def test_the_connection_is_named(way: Way) -> None:
    addresses = [way.call()[0] for _ in range(2)]
    heard = [headers[PEER] for headers in way.heard()]
    assert heard[0] != heard[1]
    for each in heard:
        assert Address.parse(each[0]).host == "127.0.0.1"
    if way.name != "grpc":  # Which tells nobody its own address.
        assert heard == [[address] for address in addresses]


def test_what_a_caller_sends_in_their_place_has_no_effect(way: Way) -> None:
    forged = [(name, "forged") for name in (CALL, PEER, CERTIFICATE) for _ in range(2)]
    way.call(*forged, (TIME, "1"), ("x-envoy-attempt-count", "7"))
    (headers,) = way.heard()
    assert [len(headers[name]) for name in (CALL, PEER, TIME)] == [1, 1, 1]
    assert "forged" not in headers[CALL] + headers[PEER]
    assert CERTIFICATE not in headers
    assert headers[TIME] == [str(ATTEMPT_MS)]
    assert "x-envoy-attempt-count" not in headers


def test_each_attempt_is_told_how_long_it_has(way: Way) -> None:
    way.worker.fail_first = FIRST_ATTEMPT_S
    way.call()
    first, second = (int(headers[TIME][0]) for headers in way.heard())
    assert first == ATTEMPT_MS
    if way.name == "rest":
        left = (ROUTE_S - FIRST_ATTEMPT_S) * 1000
        assert 1 <= second <= left
    else:
        # Of a gRPC call the caller's own deadline counts, which it sends along.
        assert second == ATTEMPT_MS


def test_answers_tell_nothing_of_all_that(way: Way) -> None:
    _, headers = way.call()
    assert not [name for name in headers if name.startswith(("x-envoy-", "x-peermentor-"))]


def leave_no_slot(config: dict[str, Any]) -> None:
    for cluster in config["static_resources"]["clusters"]:
        (limits,) = cluster["circuit_breakers"]["thresholds"]
        limits["max_requests"] = 0


def test_refusals_tell_nothing_of_it_either(
    running: tuple[Settings, ListeningWorker], tmp_path: Path
) -> None:
    settings, _ = running
    rest, admin = (Address("127.0.0.1", port) for port in free_ports(2))
    own = settings.model_copy(update={"rest_address": rest, "admin_address": admin})
    with running_gateway(own, tmp_path, leave_no_slot) as client:
        answer = client.get(PATH)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert not [name for name in answer.headers if name.startswith("x-envoy-")]
