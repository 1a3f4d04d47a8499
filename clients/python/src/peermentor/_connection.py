"""The connection of a client: where the server is, and how a call is made.

The channel opens with the first call. A process that forks before then is safe. After that,
gRPC works in the child only with GRPC_ENABLE_FORK_SUPPORT=1, and never after an AsyncClient was
used; then a call in the child says so instead of hanging.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, overload
from uuid import uuid4

import grpc
import grpc.aio
from google.protobuf.message import Message

from peermentor import _options
from peermentor._errors import Cancelled, from_rpc
from peermentor._options import Pem, Token
from peermentor._retries import DEFAULT_TIMEOUT, Schedule
from peermentor._version import __version__

DEFAULT_ADDRESS = "127.0.0.1:50051"
_OPTIONS: tuple[tuple[str, str | int], ...] = (
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
PartT = TypeVar("PartT")
# Which process was the first to use grpc, and which grpc.aio.
_first_processes: dict[Any, int] = {}
_log = logging.getLogger("peermentor")


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """An RPC: its path, its messages, and whether it is safe to repeat: for one that writes,
    thanks to a key by which the server knows the attempts of a call as one, for so many seconds.
    """

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    repeatable: bool
    key_lasts: float


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
        return vars(client).setdefault(self._name, self._kind(client))


class Terms(NamedTuple):
    """How a method is called: the options of its client, with those of the call over them."""

    timeout: float
    metadata: _options.Headers
    retries: int | None


class BaseConnection:
    """What both connections have in common: all but the waiting."""

    address: str
    """Where the server is."""
    timeout: float
    """How many seconds a call may take, if it does not say so itself."""
    retries: int | None
    """How often a call is repeated at most; None: until its deadline."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        address: str | Sequence[str] | None = None,
        *,
        tls: bool = False,
        ca_certificate: Pem = None,
        client_certificate: Pem = None,
        client_key: Pem = None,
        server_name: str | None = None,
        token: Token = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int | None = None,
    ) -> None:
        """Say where the server is; nothing is sent before the first call.

        `address` is `host:port`; several IP addresses, in a sequence or with commas between,
        take turns. Default: the environment variable PEERMENTOR_ADDRESS, or 127.0.0.1:50051.

        `tls` checks the server against `ca_certificate` (default: well-known authorities) and
        `server_name` (default: the host); a server that asks for it is shown
        `client_certificate`, with its `client_key`. Each is the path of a PEM file, or its bytes.

        `token` is sent as a bearer token, and `metadata` as it is, with each call. A function
        is asked for the token each time.

        `timeout` is how many seconds a call may take with all its repetitions. `retries` is
        how often at most a call that is safe to repeat is repeated; default: until its deadline.
        """
        if address is None:
            address = os.environ.get("PEERMENTOR_ADDRESS") or DEFAULT_ADDRESS
        self.address, self._target, self._proxied = _options.places(address)
        self.timeout, self.retries = _options.seconds(timeout), _options.count(retries)
        self._token, self._metadata = token, _options.headers(token, metadata)
        self._certificates = _options.certificates(
            ca_certificate, client_key, client_certificate, server_name, tls=tls
        )
        self._options = _OPTIONS
        if server_name is not None:
            self._options += (("grpc.ssl_target_name_override", server_name),)
        if not self._proxied:
            # What the environment names as a proxy cannot reach them, or not as a list.
            self._options += (("grpc.enable_http_proxy", 0),)
        self._channels: dict[Any, Any] = {}
        self._closing = threading.Event()

    def __repr__(self) -> str:
        """Show the address, and no secrets."""
        return f"{type(self).__name__}({self.address!r})"

    def _terms(self, repeatable: Any, timeout: Any, metadata: Any, retries: Any) -> Terms:
        """Check the options of a call; those that are None are the client's."""
        timeout = self.timeout if timeout is None else _options.seconds(timeout)
        metadata = _options.headers(self._token, metadata, self._metadata)
        if retries is None and not repeatable:
            retries = 0
        return Terms(
            timeout, metadata, self.retries if retries is None else _options.count(retries)
        )

    def _pause_after(
        self, raised: grpc.RpcError, method: Method[Any, Any], schedule: Schedule
    ) -> float:
        self._check_open()
        error = from_rpc(raised, self.address, self._proxy())
        if (pause := schedule.pause_after(error)) is None:
            raise error from raised
        attempt = (method.path, schedule.made, error.code.name, pause)
        _log.debug("%s: attempt %d ended with %s, again in %.2f s", *attempt)
        return pause

    def _proxy(self) -> str:
        """Return the variable by which gRPC finds a proxy; empty when there is none."""
        names = ("grpc_proxy", "https_proxy", "http_proxy") if self._proxied else ()
        return next((name for name in names if os.environ.get(name)), "")

    def _check_open(self) -> None:
        """Raise Cancelled when the client was closed during a call."""
        if self._closing.is_set():
            raise Cancelled(grpc.StatusCode.CANCELLED, "this client was closed during the call")


def keyed(
    method: Method[Any, Any], request: Message, metadata: _options.Headers
) -> _options.Headers:
    """Return the metadata of all attempts of one call, with a key of it if it needs one."""
    given = {name for name, _ in metadata} | {field.name for field, _ in request.ListFields()}
    if not method.key_lasts or given & {"idempotency-key", "request_id"}:
        return metadata
    return (*metadata, ("idempotency-key", str(uuid4())))


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
