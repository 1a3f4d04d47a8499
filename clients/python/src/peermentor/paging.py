"""Lists, fetched page by page as they are needed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Sequence[T]):
    """One page of a list: the sequence of its items."""

    items: tuple[T, ...]
    """The items of this page."""
    number: int
    """The number of this page, from 1."""
    limit: int
    """How many items a page has."""
    total: int
    """How many items the whole list had when this page was fetched."""
    next_page_token: str
    """Where the next page begins, for `page_token`; empty on the last page."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """Return an item, or several."""
        return self.items[index]

    def __len__(self) -> int:
        """Count the items of this page."""
        return len(self.items)


class _Listing(Generic[T]):
    def __init__(self, call: Callable[[Any], Any], request: Any, read: Callable[[Any], T]) -> None:
        self._call, self._request, self._read = call, request, read

    def _at(self, **place: Any) -> Any:
        request = type(self._request)()
        request.CopyFrom(self._request)
        request.ClearField("page")
        request.ClearField("page_token")
        request.MergeFrom(type(request)(**place))
        return request

    def _page(self, answer: Any) -> Page[T]:
        place = answer.pagination
        items = tuple(map(self._read, answer.data))
        return Page(items, place.page, place.limit, place.total, answer.next_page_token)


class Listing(_Listing[T]):
    """All items of a list. Each iteration begins anew and fetches pages as it needs them.

    Pages follow each other by token: nothing is skipped or repeated while others write.
    """

    def __iter__(self) -> Iterator[T]:
        """Yield every item."""
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[Page[T]]:
        """Yield every page."""
        page = self._page(self._call(self._request))
        yield page
        while page.next_page_token:
            page = self._page(self._call(self._at(page_token=page.next_page_token)))
            yield page

    def page(self, number: int) -> Page[T]:
        """Fetch one page by its number, from 1."""
        return self._page(self._call(self._at(page=number)))

    @property
    def total(self) -> int:
        """How many items there are now; this asks the server."""
        return self.page(1).total


class AsyncListing(_Listing[T]):
    """All items of a list. Each iteration begins anew and fetches pages as it needs them.

    Pages follow each other by token: nothing is skipped or repeated while others write.
    """

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield every item."""
        async for page in self.pages():
            for item in page:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Yield every page."""
        page = self._page(await self._call(self._request))
        yield page
        while page.next_page_token:
            page = self._page(await self._call(self._at(page_token=page.next_page_token)))
            yield page

    async def page(self, number: int) -> Page[T]:
        """Fetch one page by its number, from 1."""
        return self._page(await self._call(self._at(page=number)))

    @property
    def total(self) -> Awaitable[int]:
        """How many items there are now; this asks the server."""
        return self._total()

    async def _total(self) -> int:
        return (await self.page(1)).total
