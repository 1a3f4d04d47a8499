"""What waits in the synchronous client: its connection and its lists.

Written by clients/generator; never edited.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self, cast

import grpc
import grpc

from peermentor._connection import (
    BaseConnection, Method, RequestT, ResponseT, Terms, check_fork, keyed
)
from peermentor._options import bearer, expect
from peermentor._paging import BaseListing, ModelT, Page
from peermentor._retries import Schedule


class Connection(BaseConnection):
    """Makes calls and waits for their answers; may be used from many threads."""

    def _to(
        self,
        method: Method[RequestT, ResponseT],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        retries: int | None,
    ) -> Callable[[RequestT], ResponseT]:
        """Return how to call an RPC with these options, which are checked here."""
        return partial(self._call, method, self._terms(method.repeatable, timeout, metadata, retries))

    def _call(
        self, method: Method[RequestT, ResponseT], terms: Terms, request: RequestT
    ) -> ResponseT:
        """Call an RPC, again where that is safe, and return its answer."""
        headers = keyed(method, request, terms.metadata)
        schedule = Schedule(terms.timeout, terms.retries, method.key_lasts)
        stub: Any = self._channel().unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        while True:
            sent, left = headers + bearer(self._token), schedule.remaining()
            try:
                return cast(ResponseT, stub(request, timeout=left, metadata=sent))
            except grpc.RpcError as raised:
                pause = self._pause_after(raised, method, schedule)
            except Exception:
                self._check_open()
                raise
            self._closing.wait(pause)
            self._check_open()

    def _channel(self) -> grpc.Channel:
        if self._closing.is_set():
            raise RuntimeError("this client is closed")
        check_fork(grpc)
        channel = self._channels.get(os.getpid())
        if channel is None:
            channel = self._open()
            # Should another thread have been quicker, its channel counts.
            kept = self._channels.setdefault(os.getpid(), channel)
            if kept is not channel:
                channel.close()
            channel = kept
        return cast(grpc.Channel, channel)

    def _open(self) -> grpc.Channel:
        if self._certificates is None:
            return grpc.insecure_channel(self._target, self._options)
        credentials = grpc.ssl_channel_credentials(*self._certificates)
        return grpc.secure_channel(self._target, credentials, self._options)

    def close(self) -> None:
        """Give up the calls that still run, and close the connection for good."""
        self._closing.set()
        if channel := self._channels.pop(os.getpid(), None):
            channel.close()

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
            for item in page:
                yield item

    def pages(self) -> Iterator[Page[ModelT]]:
        """Yield every page."""
        page = self._fetch(self._request)
        yield page
        while page.next_page_token:
            page = self._fetch(self._at(page_token=page.next_page_token))
            yield page

    def page(self, number: int) -> Page[ModelT]:
        """Fetch one page by its number, from 1."""
        expect("number", number, int, "an int")
        return self._fetch(self._at(page=number))

    def count(self) -> int:
        """Ask the server how many items there are now; a page that was fetched has its `total`."""
        return (self.page(1)).total

    def _fetch(self, request: Any) -> Page[ModelT]:
        return self._page(request, self._call(request))
