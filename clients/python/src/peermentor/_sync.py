# Derived by clients/generator/synchronous.py from _async.py. Do not edit.
"""The parts of the synchronous client that wait: its connection and its lists.

`make generate` derives one client from the other by replacing words. Code that differs in more than
words is in `_threads`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, cast

import grpc

from peermentor import _options, _threads
from peermentor._connection import BaseConnection, Call, RequestT, ResponseT, Setup, keyed
from peermentor._options import Pem, Token
from peermentor._paging import BaseListing, ModelT, Page
from peermentor._retries import DEFAULT_TIMEOUT, Schedule


class Connection(BaseConnection):
    """Makes calls and waits for their answers."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._channels = _threads.Channels(setup)

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"Client({self.setup.place.address!r})"

    def send(self, call: Call[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Call an RPC, again where that is safe, and return its answer."""
        if self._closing.is_set():
            raise RuntimeError("this client is closed")
        method, headers = call.method, keyed(call, request)
        schedule = Schedule(
            call.timeout, call.retries, method.key_lasts, renews=callable(self.setup.token)
        )
        stub: Any = self._channels.own().unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        while True:
            sent, left = headers + _threads.bearer(self.setup.token), schedule.remaining()
            try:
                return cast(ResponseT, stub(request, timeout=left, metadata=sent))
            except grpc.RpcError as raised:
                pause = self._pause_after(raised, method, schedule)
            except BaseException as raised:
                if _threads.ended_alone(raised):
                    self._check_open()
                raise
            _threads.pause(pause, self._closing)
            self._check_open()

    def close(self) -> None:
        """Cancel the calls that still run, and close the channel for good."""
        self._closing.set()
        if channel := self._channels.take():
            channel.close()


class BaseClient:
    """A client without the methods of the services, which are generated from the protos."""

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
        """Set where the server is. Nothing is sent before the first call.

        `address` is `host:port`. Several IP addresses, as a sequence or separated by commas, are
        used in turn. Default: the environment variable PEERMENTOR_ADDRESS, or 127.0.0.1:50051.

        `tls` encrypts, and checks the server's certificate against `ca_certificate` (default:
        well-known authorities) and `server_name` (default: the host). `client_certificate`, with
        its `client_key`, is for servers that ask for one. Each is the path of a PEM file, or its
        bytes.

        `token` is sent as a bearer token with each call, and `metadata` as headers. If `token` is
        a function, it is called for each attempt, and once more when the server refuses what it
        returned. Default: the environment variable PEERMENTOR_TOKEN, or what the file has that
        PEERMENTOR_TOKEN_FILE names, which may be replaced meanwhile.

        `timeout` is how many seconds a call may take, with all its attempts. `retries` is how often
        a call that is safe to repeat is repeated at most; default: until its deadline.
        """
        token = _options.token(_threads.usable(token), metadata)
        self._connection = Connection(
            Setup(
                place=_options.place(address),
                timeout=_options.seconds(timeout),
                retries=_options.count(retries),
                token=token,
                metadata=_options.headers(token, metadata),
                certificates=_options.certificates(
                    ca_certificate, client_key, client_certificate, server_name, tls=tls
                ),
                server_name=server_name,
            )
        )

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._connection.setup.place.address

    @property
    def timeout(self) -> float:
        """How many seconds a call may take, if it does not say so itself."""
        return self._connection.setup.timeout

    @property
    def retries(self) -> int | None:
        """How often a call is repeated at most; None: until its deadline."""
        return self._connection.setup.retries

    def __repr__(self) -> str:
        """Show the address, and no secrets."""
        return f"{type(self).__name__}({self.address!r})"

    def close(self) -> None:
        """Cancel the calls that still run, and close the connection for good."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class Listing(BaseListing[ModelT]):
    """All items of a list. Each iteration begins anew and fetches pages as it needs them.

    Pages follow each other by token: nothing is skipped or repeated while others write.
    """

    def __iter__(self) -> Iterator[ModelT]:
        """Yield every item."""
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[Page[ModelT]]:
        """Yield every page."""
        page = self._fetch(self._request)
        yield page
        while page.next_page_token:
            page = self._fetch(self._at(page_token=page.next_page_token))
            yield page

    def page(self, number: int) -> Page[ModelT]:
        """Fetch one page by its number, from 1."""
        _options.expect("number", number, int, "an int")
        return self._fetch(self._at(page=number))

    def count(self) -> int:
        """Ask the server how many items there are now; a page that was fetched has its `total`."""
        first = self.page(1)
        return first.total

    def _fetch(self, request: Any) -> Page[ModelT]:
        return self._page(request, self._connection.send(self._call, request))
