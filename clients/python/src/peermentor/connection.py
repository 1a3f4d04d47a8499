"""The connection of a client: where the server is, and how a call is made.

The channel opens with the first call. A process that forks before then is safe. After that,
gRPC works in the child only with GRPC_ENABLE_FORK_SUPPORT=1, and never after an AsyncClient was
used; then a call in the child says so instead of hanging.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

from peermentor.errors import from_rpc
from peermentor.retries import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Schedule, checked_timeout

DEFAULT_ADDRESS = "127.0.0.1:50051"
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # A name may stand for several servers, too.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # Finds a server that comes up within the pauses of retries.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
# Which process was the first to use grpc, and which grpc.aio.
_first_processes: dict[Any, int] = {}


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """An RPC: its path, its messages, and whether it is safe to repeat."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    repeatable: bool


class _Connection:
    _by_key: ClassVar[type[Any]] = dict

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        address: str | Sequence[str] | None = None,
        *,
        tls: bool = False,
        ca_certificate: str | Path | bytes | None = None,
        client_certificate: str | Path | bytes | None = None,
        client_key: str | Path | bytes | None = None,
        server_name: str | None = None,
        token: str | Callable[[], str] | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        """Say where the server is; nothing is sent before the first call.

        `address` is `host:port`; several IP addresses, in a sequence or with commas between,
        take turns. Default: the environment variable PEERMENTOR_ADDRESS, or 127.0.0.1:50051.

        `tls` checks the server against `ca_certificate` (default: well-known authorities) and
        `server_name` (default: the host); a server that asks for it is shown
        `client_certificate`, with its `client_key`. Each is the path of a PEM file, or its bytes.

        `token` is sent as a bearer token, and `metadata` as it is, with each call. A function
        is asked for the token each time.

        `timeout` is how many seconds a call may take with all its repetitions; `retries` is
        how often a call that is safe to repeat is repeated.
        """
        address = address or os.environ.get("PEERMENTOR_ADDRESS") or DEFAULT_ADDRESS
        addresses = address.split(",") if isinstance(address, str) else address
        self.address = ", ".join(each.strip() for each in addresses)
        self.timeout, self.retries = checked_timeout(timeout), retries
        self._target = _target(self.address.split(", "))
        self._certificates = [
            _pem(each) for each in (ca_certificate, client_key, client_certificate)
        ]
        if any(self._certificates) and not tls:
            raise ValueError("certificates are for TLS: give tls=True with them")
        self._tls, self._token = tls, token
        self._metadata = tuple((metadata or {}).items())
        self._options = _OPTIONS
        if server_name is not None:
            self._options += (("grpc.ssl_target_name_override", server_name),)
        self._channels: Any = self._by_key()
        self._closed = False

    def _channel(self, library: Any, key: Any) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        _check_fork(library)
        if key not in self._channels:
            opened = self._open(library)
            # Should another thread have been quicker, its channel counts.
            if self._channels.setdefault(key, opened) is not opened:
                opened.close()
        return self._channels[key]

    def _open(self, library: Any) -> Any:
        if not self._tls:
            return library.insecure_channel(self._target, self._options)
        credentials = grpc.ssl_channel_credentials(*self._certificates)
        return library.secure_channel(self._target, credentials, self._options)

    def _stub(self, channel: Any, method: Method[Any, Any]) -> Any:
        return channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )

    def _headers(self) -> tuple[tuple[str, str], ...]:
        token = self._token() if callable(self._token) else self._token
        return self._metadata + ((("authorization", f"Bearer {token}"),) if token else ())

    def _pause_after(self, raised: grpc.RpcError, schedule: Schedule) -> float:
        error = from_rpc(raised, self.address)
        if (pause := schedule.pause_after(error)) is None:
            raise error from raised
        return pause

    def _schedule(self, method: Method[Any, Any], timeout: float | None) -> Schedule:
        timeout = self.timeout if timeout is None else checked_timeout(timeout)
        return Schedule(timeout, self.retries if method.repeatable else 0)


class Connection(_Connection):
    """Makes calls and waits for their answers; may be used from many threads."""

    def call(
        self, method: Method[RequestT, ResponseT], request: RequestT, timeout: float | None = None
    ) -> ResponseT:
        """Call an RPC, again where that is safe, and return its answer."""
        schedule = self._schedule(method, timeout)
        stub = self._stub(self._channel(grpc, os.getpid()), method)
        while True:
            left = schedule.remaining()
            try:
                return cast(ResponseT, stub(request, timeout=left, metadata=self._headers()))
            except grpc.RpcError as raised:
                pause = self._pause_after(raised, schedule)
            time.sleep(pause)

    def close(self) -> None:
        """Give up the calls that still run, and close the connection for good."""
        self._closed = True
        if channel := self._channels.pop(os.getpid(), None):
            channel.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class AsyncConnection(_Connection):
    """Makes calls and awaits their answers; has a channel for each event loop."""

    _by_key = WeakKeyDictionary

    async def call(
        self, method: Method[RequestT, ResponseT], request: RequestT, timeout: float | None = None
    ) -> ResponseT:
        """Call an RPC, again where that is safe, and return its answer."""
        schedule = self._schedule(method, timeout)
        stub = self._stub(self._channel(grpc.aio, asyncio.get_running_loop()), method)
        while True:
            left = schedule.remaining()
            try:
                return cast(ResponseT, await stub(request, timeout=left, metadata=self._headers()))
            except grpc.RpcError as raised:
                pause = self._pause_after(raised, schedule)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Give up the calls that still run, and close the connection for good."""
        self._closed = True
        if channel := self._channels.pop(asyncio.get_running_loop(), None):
            await channel.close()

    async def __aenter__(self) -> Self:
        """Close at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


def _pem(certificate: str | Path | bytes | None) -> bytes | None:
    if certificate is None or isinstance(certificate, bytes):
        return certificate
    return Path(certificate).read_bytes()


def _target(addresses: Sequence[str]) -> str:
    for address in addresses:
        if not address.rpartition(":")[2].isdigit() or "/" in address:
            raise ValueError(f"{address!r} is no address such as 127.0.0.1:50051")
    if len(addresses) == 1:
        return addresses[0]
    hosts = [address.rpartition(":")[0] for address in addresses]
    kinds = {6 if host.startswith("[") else 4 * host.replace(".", "").isdigit() for host in hosts}
    if kinds not in ({4}, {6}):
        raise ValueError(
            "several addresses must be IP addresses of one kind, such as 10.0.0.1:50051; "
            "one name that stands for several servers does as well"
        )
    return f"ipv{kinds.pop()}:{','.join(addresses)}"


def _check_fork(library: Any) -> None:
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
