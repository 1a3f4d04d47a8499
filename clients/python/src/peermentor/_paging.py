"""Lists, fetched page by page as they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import grpc
from google.protobuf.text_format import MessageToString

from peermentor._arguments import fill
from peermentor._connection import Call
from peermentor._errors import Internal
from peermentor._values import Model, Value

ModelT = TypeVar("ModelT", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Sequence[ModelT], Value):
    """One page of a list: the sequence of its items."""

    items: tuple[ModelT, ...]
    """The items of this page."""
    number: int
    """The number of this page, from 1."""
    limit: int
    """How many items a page has at most."""
    total: int
    """How many items the whole list had when this page was fetched."""
    next_page_token: str
    """The `page_token` that asks for the next page; empty on the last page."""

    @overload
    def __getitem__(self, index: int) -> ModelT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ModelT, ...]: ...
    def __getitem__(self, index: int | slice) -> ModelT | tuple[ModelT, ...]:
        """Return an item, or several."""
        return self.items[index]

    def __len__(self) -> int:
        """Count the items of this page."""
        return len(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the API's JSON."""
        return {
            "data": [each.to_dict() for each in self.items],
            "pagination": {"page": self.number, "limit": self.limit, "total": self.total},
            "next_page_token": self.next_page_token,
        }


class BaseListing(Generic[ModelT]):
    """The code that the synchronous and the asynchronous listing share."""

    def __init__(
        self, connection: Any, call: Call[Any, Any], request: Any, kind: type[ModelT]
    ) -> None:
        """Remember how to fetch a page; nothing is asked yet."""
        self._connection, self._call = connection, call
        self._request, self._kind = request, kind

    def __repr__(self) -> str:
        """Tell what is listed, and by which filters."""
        filters = MessageToString(self._request, as_one_line=True)
        return f"<{type(self).__name__} of {self._kind.__name__}: {filters or 'no filters'}>"

    def _at(self, **place: Any) -> Any:
        request = type(self._request)()
        request.CopyFrom(self._request)
        request.ClearField("page")
        request.ClearField("page_token")
        return fill(request, place, {}, {})

    def _page(self, request: Any, answer: Any) -> Page[ModelT]:
        place, token = answer.pagination, answer.next_page_token
        if token and token == request.page_token:
            raise Internal(grpc.StatusCode.INTERNAL, "the server gives the same page again")
        items = tuple(map(self._kind.from_message, answer.data))
        return Page(items, place.page, place.limit, place.total, token)
