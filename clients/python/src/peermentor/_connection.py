"""The code that both connections share: where the server is, and how it is called.

The channel opens with the first call. A process that forks before then is safe. After that,
gRPC works in the child only with GRPC_ENABLE_FORK_SUPPORT=1, and never after an AsyncClient was
used; then a call in the child says so instead of hanging.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload
from uuid import uuid4

import grpc
import grpc.aio
from google.protobuf.message import Message

from peermentor import _options
from peermentor._errors import Cancelled, from_rpc
from peermentor._options import AsyncToken, Headers, Place
from peermentor._retries import Schedule
from peermentor._version import __version__

ChannelOptions = tuple[tuple[str, str | int], ...]
_OPTIONS: ChannelOptions = (
    # A name may stand for several servers, too.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # A connection on which nothing passes any more is given up: calls ask it for a sign of life
    # after 15 seconds without one, and wait 5 seconds for it.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # Finds a server that comes up within the pauses of retries.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.primary_user_agent", f"peermentor-python/{__version__}"),
)
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ConnectionT = TypeVar("ConnectionT")
PartT = TypeVar("PartT")
# Which process was the first to use grpc, and which grpc.aio.
_first_processes: dict[Any, int] = {}
_log = logging.getLogger("peermentor")


@dataclass(frozen=True, repr=False)
class Setup:
    """Where the server is, and how it is called: the options of a client, all of them checked."""

    place: Place
    certificates: list[bytes | None] | None
    server_name: str | None
    token: AsyncToken
    metadata: Headers
    timeout: float
    retries: int | None

    @property
    def channel_options(self) -> ChannelOptions:
        """What gRPC is told for each channel."""
        options = _OPTIONS
        if self.server_name is not None:
            options += (("grpc.ssl_target_name_override", self.server_name),)
        if not self.place.proxied:
            # What the environment names as a proxy cannot reach them, or not as a list.
            options += (("grpc.enable_http_proxy", 0),)
        return options

    @property
    def proxy(self) -> str:
        """The variable by which gRPC finds a proxy; empty when there is none."""
        names = ("grpc_proxy", "https_proxy", "http_proxy") if self.place.proxied else ()
        return next((name for name in names if os.environ.get(name)), "")


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """An RPC: its path, its messages, and whether it is safe to repeat.

    A write is safe to repeat with a key, by which the server recognises further attempts of the
    same call. It remembers the key for `key_lasts` seconds.
    """

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    repeatable: bool
    key_lasts: float


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[RequestT, ResponseT]):
    """How a method is called: the options of the client, with those of the call over them."""

    method: Method[RequestT, ResponseT]
    timeout: float
    metadata: Headers
    retries: int | None


class BaseConnection:
    """The code that the synchronous and the asynchronous connection share."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._closing = threading.Event()

    def prepare(
        self,
        method: Method[RequestT, ResponseT],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        retries: int | None,
    ) -> Call[RequestT, ResponseT]:
        """Check the options of a call; those that are None are the client's."""
        setup = self.setup
        if retries is None:
            retries = setup.retries if method.repeatable else 0
        return Call(
            method,
            setup.timeout if timeout is None else _options.seconds(timeout),
            _options.headers(setup.token, metadata, setup.metadata),
            _options.count(retries),
        )

    def _pause_after(
        self, raised: grpc.RpcError, method: Method[Any, Any], schedule: Schedule
    ) -> float:
        self._check_open()
        error = from_rpc(raised, self.setup.place.address, self.setup.proxy)
        if (pause := schedule.pause_after(error)) is None:
            raise error from raised
        attempt = (method.path, schedule.made, error.code.name, pause)
        _log.debug("%s: attempt %d ended with %s, again in %.2f s", *attempt)
        return pause

    def _check_open(self) -> None:
        """Raise Cancelled when the client was closed during a call."""
        if self._closing.is_set():
            raise Cancelled(grpc.StatusCode.CANCELLED, "this client was closed during the call")


def keyed(call: Call[Any, Any], request: Message) -> Headers:
    """Return the metadata of all attempts of one call, with a key of it if it needs one."""
    given = {name for name, _ in call.metadata} | {field.name for field, _ in request.ListFields()}
    if not call.method.key_lasts or given & {"idempotency-key", "request_id"}:
        return call.metadata
    return (*call.metadata, ("idempotency-key", str(uuid4())))


def check_fork(library: Any) -> None:
    """Raise an error where gRPC would hang: in a child of a process that used it."""
    me = os.getpid()
    _first_processes.setdefault(library, me)
    supported = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in {"1", "true", "yes"}
    # grpc.aio does not survive a fork in any way.
    if any(_first_processes.get(each, me) != me for each in [grpc.aio, grpc][: 2 - supported]):
        raise RuntimeError(
            "gRPC was used before this process was forked, and does not work in it: make the "
            "first call after the fork, or start processes with multiprocessing's `spawn`, or "
            "use Client alone and set GRPC_ENABLE_FORK_SUPPORT=1 before Python starts"
        )


class Resource(Generic[ConnectionT]):
    """A part of a client: the calls of one service."""

    def __init__(self, connection: ConnectionT) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        """Show the connection that it uses."""
        return f"<{type(self).__name__} of {self._connection!r}>"


class Part(Generic[PartT]):
    """A part of a client, made when it is first asked for.

    Of the class it is the class of the part, so that mocks with a spec know its methods.
    """

    def __init__(self, kind: type[PartT]) -> None:
        self._kind: Any = kind

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, client: None, owner: type) -> type[PartT]: ...
    @overload
    def __get__(self, client: object, owner: type) -> PartT: ...
    def __get__(self, client: object, owner: type) -> Any:
        """Return the part of this client."""
        if client is None:
            return self._kind
        own = vars(client)
        return own.setdefault(self._name, self._kind(own["_connection"]))
