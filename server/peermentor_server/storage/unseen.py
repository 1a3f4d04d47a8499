"""Parameters whose values plan no statement."""

from typing import Any

from sqlalchemy import Boolean, Integer, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class Unseen(FunctionElement[Any]):
    """A parameter to compare a column with.

    With the statistics that ANALYZE leaves, SQLite looks at what it compares an index with, and
    so plans the statement anew for each value: that takes longer than to execute it. At an
    expression it does not look.
    """

    inherit_cache = True

    def __init__(self, name: str, type_: "TypeEngine[Any]") -> None:
        self.type = type_
        super().__init__(bindparam(name, type_=type_))


@compiles(Unseen)
def _as_it_is(element: Unseen, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(Unseen, "sqlite")
def _as_an_expression(element: Unseen, compiler: Any, **options: Any) -> str:
    same = "+ 0" if isinstance(element.type, Integer | Boolean) else "|| ''"
    return f"({compiler.process(element.clauses, **options)} {same})"
