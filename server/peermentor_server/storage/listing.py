"""One page of a list together with its exact total, in one statement.

Both come from the same snapshot of the database, and from one round trip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, func, select, true

from peermentor_server.rules.pages import Page

# Given the columns of a table or a subquery: by what to order.
Order = Callable[[Any], Sequence[ColumnElement[Any]]]


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows of a page, how many there are on all pages, and whether more follow."""

    rows: Sequence[Row[Any]]
    total: int
    more: bool


def by_key(columns: Any) -> Sequence[ColumnElement[Any]]:
    """Order by ascending key."""
    return [columns.id]


def fetch(
    connection: Connection,
    table: Table,
    query: Select[Any],
    *,
    filters: Sequence[ColumnElement[bool]],
    after: ColumnElement[bool],
    order: Order,
    page: Page,
) -> Listing:
    """Run `query`, which selects from `table`, for one page of the rows that meet `filters`.

    `after` keeps the rows after the page's position. One row more than asked for tells
    whether another page follows.
    """
    counting = select(func.count().label("total")).select_from(table).where(*filters)
    # Asked for twice, and counted once.
    counted = counting.cte("counted").prefix_with("MATERIALIZED")
    # The page is cut before anything is joined to it: rows that are passed over cost little.
    window = select(table.c.id).where(*filters, after).order_by(*order(table.c))
    # And those that a page beyond the end would pass over cost nothing.
    is_there = select(counted.c.total).scalar_subquery() > page.offset
    limit = case((is_there, page.limit + 1), else_=0) if page.offset else page.limit + 1
    cut = window.limit(limit).offset(page.offset).subquery("cut")
    rows = query.where(table.c.id == cut.c.id).subquery("page")
    # The outer join gives the total even where the page is empty.
    statement = select(counted.c.total, rows).select_from(counted.outerjoin(rows, true()))
    found = connection.execute(statement.order_by(*order(rows.c))).all()
    present = [row for row in found if row.id is not None]
    return Listing(present[: page.limit], found[0].total, len(present) > page.limit)
