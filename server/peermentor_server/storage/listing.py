"""One page of a list together with its exact total, in one statement.

Both come from the same snapshot of the database, and from one round trip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select, true

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
    counted = select(func.count().label("total")).select_from(table).where(*filters).cte("counted")
    window = query.where(*filters, after).order_by(*order(table.c))
    rows = window.limit(page.limit + 1).offset(page.offset).subquery("page")
    # The outer join gives the total even where the page is empty.
    statement = select(counted.c.total, rows).select_from(counted.outerjoin(rows, true()))
    found = connection.execute(statement.order_by(*order(rows.c))).all()
    present = [row for row in found if row.id is not None]
    return Listing(present[: page.limit], found[0].total, len(present) > page.limit)
