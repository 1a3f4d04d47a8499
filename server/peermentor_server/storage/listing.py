"""One page of a list, and how many rows are on all pages.

Both come from one statement: the same snapshot of the database, and one round trip. Statements
are built once for each form of a list, and executed with what the filters compare with, `limit`,
`offset` and `after_key`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import reduce
from operator import add
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    bindparam,
    case,
    func,
    literal_column,
    nulls_first,
    or_,
    select,
    true,
)

from peermentor_server.rules.pages import MAX_LIMIT, Page
from peermentor_server.storage.tables import Key
from peermentor_server.storage.unseen import Unseen

# The columns to order by, the key last. Nulls come first. A minus turns the order round.
Order = Sequence[str]
_BY_KEY: Order = ("id",)
_LAST_FIRST: Order = ("-id",)
R = TypeVar("R", bound=NamedTuple)

AFTER_KEY: ColumnElement[int] = Unseen("after_key", Key)
# Not the parameter by itself: SQLite would look at its value, and plan again each time.
_LIMIT: ColumnElement[int] = bindparam("limit", type_=Integer) + literal_column("0")
# No page is longer. In the statement itself, so that PostgreSQL reckons with few rows whatever the
# limit is; else it plans lists anew each time, which takes longer than they do.
_LONGEST: ColumnElement[int] = literal_column(str(MAX_LIMIT + 1), Integer)
_OFFSET: ColumnElement[int] = bindparam("offset", type_=Integer)


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """The rows of a page, how many there are on all pages, and whether more follow."""

    rows: Sequence[R]
    total: int
    more: bool


class Form(Enum):
    """How a page is asked for."""

    FIRST = auto()
    NUMBERED = auto()
    """By its number: passes over the rows of those before."""
    FOLLOWING = auto()
    """By a token: begins after a position, and has its total from there."""

    @classmethod
    def of(cls, page: Page) -> "Form":
        """Return the form of a page."""
        if page.after is not None:
            return cls.FOLLOWING
        return cls.NUMBERED if page.offset else cls.FIRST


def counted(
    query: Select[Any],
    table: Table,
    order: Order,
    conditions: Sequence[ColumnElement[bool]],
    *ranges: ColumnElement[bool],
    form: Form,
    are_few: bool,
) -> Select[Any]:
    """Return the statement of a page by its number, which has the total before its columns.

    `query` selects from `table`. Its rows meet all conditions and one of the ranges, if there
    are any, which have no row in common: each is counted for itself, by an index. Say whether
    the rows of such lists `are_few`.
    """
    totals = [
        select(func.count()).select_from(table).where(*conditions, *each).scalar_subquery()
        for each in [[one] for one in ranges] or [[]]
    ]
    # Asked for twice, and counted once.
    counted = select(reduce(add, totals).label("total")).cte("counted").prefix_with("MATERIALIZED")
    total = select(counted.c.total).scalar_subquery()
    # Nothing is searched for beyond the last row, nor passed over. Of few rows that costs
    # little, and the first page of a list without ranges ends with the part of its index;
    # PostgreSQL plans better with a limit that it knows.
    ends_by_itself = form is Form.FIRST and not ranges
    limit = _LIMIT if are_few or ends_by_itself else _present(total)
    wanted = [*conditions, or_(*ranges)] if ranges else conditions
    page = _page(query, table, order, wanted, limit, None if form is Form.FIRST else _OFFSET)
    if form is Form.FIRST:
        return page.with_only_columns(total, *page.selected_columns, maintain_column_froms=True)
    # The total is there even where the page is empty.
    rows = page.subquery("page")
    found = select(counted.c.total, rows).select_from(counted.outerjoin(rows, true()))
    return found.order_by(*_by(order, rows.c))


def by_key(
    query: Select[Any],
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    *,
    form: Form,
    are_few: bool,
    last_first: bool = False,
) -> Select[Any]:
    """Return the statement of a page in the order of the keys, whatever its form."""
    order = _LAST_FIRST if last_first else _BY_KEY
    if form is Form.FOLLOWING:
        key = table.c.id
        after = key < AFTER_KEY if last_first else key > AFTER_KEY
        return following(query, table, order, [*conditions, after])
    return counted(query, table, order, conditions, form=form, are_few=are_few)


def following(
    query: Select[Any], table: Table, order: Order, conditions: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """Return the statement of a page that begins after a position; it has columns alone."""
    return _page(query, table, order, conditions, _LIMIT, None)


def _present(total: ColumnElement[int]) -> ColumnElement[int]:
    """Return how many rows the page can have."""
    rest = total - _OFFSET
    return case((rest <= 0, 0), (rest < _LIMIT, rest), else_=_LIMIT)


def _page(
    query: Select[Any],
    table: Table,
    order: Order,
    conditions: Sequence[ColumnElement[bool]],
    limit: ColumnElement[int],
    offset: ColumnElement[int] | None,
) -> Select[Any]:
    # The page is cut before anything is joined to it: rows that are passed over cost little.
    keys = select(table.c.id).where(*conditions).order_by(*_by(order, table.c))
    if offset is None and limit is _LIMIT:
        limit = _LONGEST
    found = keys.limit(limit).offset(offset)
    if limit is not _LIMIT:
        # Else databases reckon with very many rows, and read the whole table to join it.
        found = select(found.subquery("present").c.id).limit(_LIMIT)
    cut = found.subquery("cut")
    # By the keys of the cut: SQLite then begins there, and need not sort them again.
    columns = {**dict(table.c.items()), "id": cut.c.id}
    return query.where(table.c.id == cut.c.id).order_by(*_by(order, columns))


def _by(order: Order, columns: Any) -> list[ColumnElement[Any]]:
    # Keys are never null, and no index of theirs says where nulls would be.
    keys = {"id": columns["id"], "-id": columns["id"].desc()}
    return [keys[name] if name in keys else nulls_first(columns[name]) for name in order]


def fetch(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    page: Page,
    row_type: type[R],
) -> Listing[R]:
    """Execute the statement of a list."""
    return read(connection.execute(statement, values_for(page, values)).all(), page, row_type)


def values_for(page: Page, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to execute the statement of a list with; `values` are those of its conditions."""
    # One row more than asked for tells whether another page follows.
    wanted = {**values, "limit": page.limit + 1, "offset": page.offset}
    if page.after is not None:
        wanted["after_key"] = page.after.key
    return wanted


def read(found: Sequence[Any], page: Page, row_type: type[R]) -> Listing[R]:
    """Return what the statement of a list has found."""
    total = page.total
    if page.after is None:
        # The first page is empty only when the list is.
        total = (found[0][0] or 0) if found else 0
        found = [row[1:] for row in found]
    # Of an empty page a row of nulls may be left.
    found = [row for row in found if row[0] is not None]
    rows = [row_type._make(row) for row in found[: page.limit]]
    return Listing(rows, total, len(found) > page.limit)
