"""One page of a list, and how many rows are on all pages, in one statement.

Both come from the same snapshot of the database, and from one round trip. Statements are built
once for each form of a list, and executed with what the filters compare with, `limit`, `offset`
and `after_key`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    nulls_first,
    or_,
    select,
    true,
)

from peermentor_server.rules.pages import Page
from peermentor_server.storage.tables import Key

# The columns to order by, the key last. Nulls come first.
Order = Sequence[str]
BY_KEY: Order = ("id",)
R = TypeVar("R", bound=NamedTuple)

AFTER_KEY: ColumnElement[int] = bindparam("after_key", type_=Key)
_LIMIT: ColumnElement[int] = bindparam("limit", type_=Integer)
_OFFSET: ColumnElement[int] = bindparam("offset", type_=Integer)


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """The rows of a page, how many there are on all pages, and whether more follow."""

    rows: Sequence[R]
    total: int
    more: bool


def counted(
    query: Select[Any],
    table: Table,
    order: Order,
    conditions: Sequence[ColumnElement[bool]],
    *ranges: ColumnElement[bool],
    are_few: bool,
) -> Select[Any]:
    """Return the statement of a numbered page, which has the total before its columns.

    `query` selects from `table`. Its rows meet all conditions and one of the ranges, if there
    are any, which have no row in common: each is counted for itself, by an index. The total is
    there even where the page is empty. Say whether the rows of such lists `are_few`.
    """
    totals = [
        select(func.count()).select_from(table).where(*conditions, each).scalar_subquery()
        for each in ranges or (true(),)
    ]
    # Asked for twice, and counted once.
    counted = select(reduce(add, totals).label("total")).cte("counted").prefix_with("MATERIALIZED")
    wanted = [*conditions, or_(*ranges)] if ranges else conditions
    # Nothing is searched for beyond the last row, nor passed over. Of few rows that costs
    # little, and PostgreSQL plans better with a limit that it knows.
    limit = _LIMIT if are_few else _present(counted.c.total)
    rows = _page(query, table, order, wanted, limit, _OFFSET).subquery("page")
    found = select(counted.c.total, rows).select_from(counted.outerjoin(rows, true()))
    return found.order_by(*_by(order, rows.c))


def following(
    query: Select[Any], table: Table, order: Order, conditions: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """Return the statement of a page that begins after a position; it has columns alone."""
    return _page(query, table, order, conditions, _LIMIT, None).order_by(*_by(order, table.c))


def _present(total: ColumnElement[int]) -> ColumnElement[int]:
    """Return how many rows the page can have."""
    rest = select(total).scalar_subquery() - _OFFSET
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
    cut = keys.limit(limit).offset(offset).subquery("cut")
    return query.where(table.c.id == cut.c.id)


def _by(order: Order, columns: Any) -> list[ColumnElement[Any]]:
    # Keys are never null, and no index of theirs says where nulls would be.
    return [columns[name] if name == "id" else nulls_first(columns[name]) for name in order]


def fetch(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    page: Page,
    row_type: type[R],
) -> Listing[R]:
    """Execute a statement of `counted`, or of `following` for a page with a position."""
    # One row more than asked for tells whether another page follows.
    wanted = {**values, "limit": page.limit + 1, "offset": page.offset}
    if page.after is not None:
        wanted["after_key"] = page.after.key
    found = connection.execute(statement, wanted).all()
    total, present = (page.total, found) if page.after else _apart(found)
    rows = [row_type._make(row) for row in present[: page.limit]]
    return Listing(rows, total, len(present) > page.limit)


def _apart(found: Sequence[Any]) -> tuple[int, Sequence[Any]]:
    # An outer join: without rows there is one of nulls.
    return found[0][0], [row[1:] for row in found if row[1] is not None]
