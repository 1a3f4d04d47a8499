"""What one would write instead: the same answers over REST, by FastAPI and SQLAlchemy Core.

python -m bench.peers.fastapi_service DATABASE_URL PORT...

In its fastest form: uvicorn with uvloop and httptools, orjson, statements built once, and calls
that block the event loop, which for queries as short as these costs less than a thread does. It
promises less than the service: no history, no deadlines, no limits, no repeats, no log.
"""

import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Response
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Engine,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    nulls_first,
    or_,
    select,
    update,
)

from bench.peers.fastapi_tables import ACTIVE, OPEN, assignments, connect, mentees

OVERDUE_AFTER = timedelta(days=14)
PATH = "/api/v1/assignments"

_c = assignments.c
# In RETURNING, SQLAlchemy would leave the name of the table out, and mean the inner column twice.
_mentee: ColumnElement[str] = literal_column("assignments.mentee_id")
_name = select(mentees.c.mentee_name).where(mentees.c.mentee_id == _mentee).scalar_subquery()
_key: BindParameter[int] = bindparam("key")
_never, _before = _c.last_contact_date.is_(None), _c.last_contact_date < bindparam("cutoff")


def _count(*conditions: Any) -> ScalarSelect[int]:
    return select(func.count()).select_from(assignments).where(*conditions).scalar_subquery()


def _page(*conditions: Any, order: Any) -> Select[Any]:
    """Select a page that is cut before names are looked up."""
    cut = (
        select(assignments)
        .where(*conditions)
        .order_by(*order(_c))
        .limit(bindparam("limit"))
        .offset(bindparam("offset"))
        .subquery()
    )
    named = mentees.c.mentee_id == cut.c.mentee_id
    return select(cut, mentees.c.mentee_name).join(mentees, named).order_by(*order(cut.c))


OPEN_TOTAL = _count(OPEN)
# Two ranges of the index, which either database counts faster than one OR.
OVERDUE_TOTAL = _count(ACTIVE, _never) + _count(ACTIVE, _before)
LIST = _page(OPEN, order=lambda c: [c.id]).add_columns(OPEN_TOTAL.label("total"))
OVERDUE = _page(
    ACTIVE,
    or_(_never, _before),
    order=lambda c: [nulls_first(c.last_contact_date), c.id],
).add_columns(OVERDUE_TOTAL.label("total"))
GET = (
    select(assignments, mentees.c.mentee_name)
    .join(mentees, mentees.c.mentee_id == _c.mentee_id)
    .where(_c.id == _key)
)
_is_later = or_(_never, _c.last_contact_date < bindparam("contact_date"))
LAST_CONTACT = (
    update(assignments)
    .where(_c.id == _key)
    .values(
        last_contact_date=bindparam("contact_date"),
        reminder_sent_at=case((_is_later, None), else_=_c.reminder_sent_at),
        escalation_sent_at=case((_is_later, None), else_=_c.escalation_sent_at),
        updated_at=bindparam("now"),
    )
    .returning(assignments, _name.label("mentee_name"))
)

Page = Annotated[int, Query(ge=1, le=100_000)]
Limit = Annotated[int, Query(ge=1, le=100)]


class Contact(BaseModel):
    """The body of last-contact."""

    contact_date: AwareDatetime
    contact_type: str = ""


class Routes:
    """The four routes, over one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list_open(self, page: Page = 1, limit: Limit = 20) -> Response:
        """List the open assignments."""
        return self._list(LIST, OPEN_TOTAL, page, limit)

    async def list_overdue(self, page: Page = 1, limit: Limit = 20) -> Response:
        """List the overdue assignments."""
        midnight = _now().replace(hour=0, minute=0, second=0)
        return self._list(OVERDUE, OVERDUE_TOTAL, page, limit, cutoff=midnight - OVERDUE_AFTER)

    async def get(self, assignment_id: str) -> Response:
        """Get one assignment."""
        return self._one(GET, assignment_id)

    async def last_contact(self, assignment_id: str, contact: Contact) -> Response:
        """Set when mentor and mentee last had contact."""
        date = contact.contact_date.astimezone(UTC).replace(tzinfo=None)
        return self._one(LAST_CONTACT, assignment_id, contact_date=date, now=_now())

    def _list(self, query: Select[Any], total: Any, page: int, limit: int, **more: Any) -> Response:
        with self._engine.connect() as connection:
            window = {"limit": limit, "offset": (page - 1) * limit}
            rows = connection.execute(query, window | more).all()
            count = rows[0].total if rows else connection.execute(select(total), more).scalar_one()
        today = _now().date()
        return _json(
            {
                "data": [_item(row, today) for row in rows],
                "pagination": {"page": page, "limit": limit, "total": count},
            }
        )

    def _one(self, statement: Any, assignment_id: str, **values: Any) -> Response:
        prefix, _, number = assignment_id.partition("_")
        if prefix != "asgn" or not (number.isascii() and number.isdigit()):
            raise HTTPException(404)
        with self._engine.connect() as connection:
            row = connection.execute(statement, {"key": int(number), **values}).one_or_none()
        if row is None:
            raise HTTPException(404)
        return _json(_item(row, _now().date()))


def _item(row: Row[Any], today: Any) -> dict[str, Any]:
    contact = row.last_contact_date
    return {
        "assignment_id": f"asgn_{row.id:03d}",
        "mentee_name": row.mentee_name,
        "peer_mentor_id": row.peer_mentor_id,
        "coordinator_id": row.coordinator_id,
        "org_id": row.org_id,
        "status": row.status,
        "last_contact_date": contact,
        "days_since_contact": None if contact is None else (today - contact.date()).days,
        "reminder_sent_at": row.reminder_sent_at,
        "escalation_sent_at": row.escalation_sent_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "mentee_id": row.mentee_id,
        "start_date": row.start_date,
    }


def _json(content: Any) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)
    return Response(body, media_type="application/json")


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # One of the ports is shared by all workers.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    return listening


def main(url: str, *ports: str) -> None:
    """Serve one worker on these ports."""
    routes = Routes(connect(url))
    app = FastAPI()
    app.add_api_route(PATH, routes.list_open)
    app.add_api_route(f"{PATH}/overdue", routes.list_overdue)
    app.add_api_route(f"{PATH}/{{assignment_id}}", routes.get)
    app.add_api_route(
        f"{PATH}/{{assignment_id}}/last-contact", routes.last_contact, methods=["PUT"]
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        # Longer than Envoy keeps a connection that is not used.
        timeout_keep_alive=7200,
    )
    uvicorn.Server(config).run([_listen(int(port)) for port in ports])


if __name__ == "__main__":
    main(*sys.argv[1:])
