"""What waits in the asynchronous client: its connection and its lists.

Written by clients/generator; never edited.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Self, cast

import grpc
import grpc.aio

from peermentor._connection import (
    BaseConnection, Method, RequestT, ResponseT, Terms, check_fork, keyed
)
from peermentor._options import bearer, expect
from peermentor._paging import BaseListing, ModelT, Page
from peermentor._retries import Schedule


class AsyncConnection(BaseConnection):
    """Makes calls and waits for their answers; has a channel for each event loop."""

    def _to(
        self,
        method: Method[RequestT, ResponseT],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        retries: int | None,
    ) -> Callable[[RequestT], Awaitable[ResponseT]]:
        """Return how to call an RPC with these options, which are checked here."""
        return partial(self._call, method, self._terms(method.repeatable, timeout, metadata, retries))

    async def _call(
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
                return cast(ResponseT, await stub(request, timeout=left, metadata=sent))
            except grpc.RpcError as raised:
                pause = self._pause_after(raised, method, schedule)
            except asyncio.CancelledError:
                # Of this call alone by close(), or of the caller's task, which is then to end.
                task = asyncio.current_task()
                if task is None or not task.cancelling():
                    self._check_open()
                raise
            except Exception:
                self._check_open()
                raise
            await asyncio.sleep(pause)
            self._check_open()

    def _channel(self) -> grpc.aio.Channel:
        if self._closing.is_set():
            raise RuntimeError("this client is closed")
        check_fork(grpc.aio)
        channel = self._channels.get(asyncio.get_running_loop())
        if channel is None:
            channel = self._open()
            # A channel holds its loop, and nothing else would let go of those that are over.
            for loop in [each for each in list(self._channels) if each.is_closed()]:
                self._channels.pop(loop, None)
            self._channels[asyncio.get_running_loop()] = channel
        return cast(grpc.aio.Channel, channel)

    def _open(self) -> grpc.aio.Channel:
        if self._certificates is None:
            return grpc.aio.insecure_channel(self._target, self._options)
        credentials = grpc.ssl_channel_credentials(*self._certificates)
        return grpc.aio.secure_channel(self._target, credentials, self._options)

    async def close(self) -> None:
        """Give up the calls that still run, and close the connection for good."""
        self._closing.set()
        if channel := self._channels.pop(asyncio.get_running_loop(), None):
            await channel.close()

    async def __aenter__(self) -> Self:
        """Close at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


class AsyncListing(BaseListing[ModelT]):
    """All items of a list. Each iteration begins anew and fetches pages as it needs them.

    Pages follow each other by token: nothing is skipped or repeated while others write.
    """

    async def __aiter__(self) -> AsyncIterator[ModelT]:
        """Yield every item."""
        async for page in self.pages():
            for item in page:
                yield item

    async def pages(self) -> AsyncIterator[Page[ModelT]]:
        """Yield every page."""
        page = await self._fetch(self._request)
        yield page
        while page.next_page_token:
            page = await self._fetch(self._at(page_token=page.next_page_token))
            yield page

    async def page(self, number: int) -> Page[ModelT]:
        """Fetch one page by its number, from 1."""
        expect("number", number, int, "an int")
        return await self._fetch(self._at(page=number))

    async def count(self) -> int:
        """Ask the server how many items there are now; a page that was fetched has its `total`."""
        return (await self.page(1)).total

    async def _fetch(self, request: Any) -> Page[ModelT]:
        return self._page(request, await self._call(request))
