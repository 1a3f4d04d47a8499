"""Lists, fetched page by page as they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import grpc

from peermentor.errors import Internal

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


class BaseListing(Generic[T]):
    """What both listings have in common: all but the waiting."""

    def __init__(self, call: Callable[[Any], Any], request: Any, read: Callable[[Any], T]) -> None:
        """Remember how to fetch a page; nothing is asked yet."""
        self._call, self._request, self._read = call, request, read

    def _at(self, **place: Any) -> Any:
        request = type(self._request)()
        request.CopyFrom(self._request)
        request.ClearField("page")
        request.ClearField("page_token")
        request.MergeFrom(type(request)(**place))
        return request

    def _page(self, request: Any, answer: Any) -> Page[T]:
        place, token = answer.pagination, answer.next_page_token
        if token and token == request.page_token:
            raise Internal(grpc.StatusCode.INTERNAL, "the server gives the same page again")
        items = tuple(map(self._read, answer.data))
        return Page(items, place.page, place.limit, place.total, token)
