"""The server as a whole: how it stops."""

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from peermentor_server.rpc.app import App
from peermentor_server.storage.engine.database import Database
from support.apps import running_app

# Far longer than anything here takes: whoever waits for the end of it has hung.
GRACE_S = 30.0


@pytest.fixture
def app(database: Database) -> Iterator[App]:
    """A running server of the test's own; the test stops it."""
    with running_app(database) as server:
        yield server


@pytest.fixture
def own_channel(app: App) -> Iterator[grpc.Channel]:
    """A channel to that server."""
    with grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        yield channel


def seconds_to_stop(app: App) -> float:
    started = time.monotonic()
    app.stop(GRACE_S)
    return time.monotonic() - started


def test_a_health_watch_does_not_delay_the_end(app: App, own_channel: grpc.Channel) -> None:
    watch = HealthStub(own_channel).Watch(HealthCheckRequest())
    next(watch)
    assert seconds_to_stop(app) < GRACE_S / 2
    with pytest.raises(grpc.RpcError):
        for _ in watch:
            pass


def test_an_open_reflection_stream_does_not_delay_the_end(
    app: App, own_channel: grpc.Channel
) -> None:
    end = threading.Event()

    def one_request_and_no_end() -> Iterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        end.wait(GRACE_S)

    stream = ServerReflectionStub(own_channel).ServerReflectionInfo(one_request_and_no_end())
    next(stream)
    assert seconds_to_stop(app) < GRACE_S / 2
    end.set()


def test_bytes_that_are_no_message_do_not_delay_the_end(
    app: App, own_channel: grpc.Channel
) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    reflect: grpc.UnaryUnaryMultiCallable[bytes, bytes] = own_channel.unary_unary(path)
    for _ in range(100):
        answer = reflect(b"\xff", timeout=10)
        assert b"INVALID_ARGUMENT" not in answer  # The number of it, in an error response.
        assert b"Exception" not in answer
    assert seconds_to_stop(app) < GRACE_S / 2


def test_a_health_check_of_bytes_that_are_no_message_is_refused(own_channel: grpc.Channel) -> None:
    check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = own_channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    with pytest.raises(grpc.RpcError) as raised:
        check(b"\xff\xff")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "the request is not a message of the expected type"
