"""Walls around organisations, as conditions of statements.

Whatever reads, changes or deletes rows of an organisation takes a Wall: tests walk all functions
that do. Rows of others are not there for it.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, bindparam

from peermentor_server.rules.principals import Wall

_SEVERAL = "organizations_inside"


def inside(wall: Wall, column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    """Return the condition of a statement that is made for one call."""
    return [] if wall.organizations is None else [column.in_(sorted(wall.organizations))]


def narrowed(
    wall: Wall, filters: Mapping[str, Any], column: str
) -> tuple[Mapping[str, Any], Mapping[str, list[str]]]:
    """Return the filters that keep a list inside, and the values for `among_several`, if any.

    One organisation is a filter as callers have it, and has its index. For several, the statement
    needs the condition, unless a filter names one of them.
    """
    if wall.organizations is None:
        return filters, {}
    if column in filters:
        wall.require(filters[column])
        return filters, {}
    if len(wall.organizations) == 1:
        (only,) = wall.organizations
        return {**filters, column: only}, {}
    return filters, {_SEVERAL: sorted(wall.organizations)}


def among_several(column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition of a statement that is made once; see narrowed()."""
    return column.in_(bindparam(_SEVERAL, expanding=True))
