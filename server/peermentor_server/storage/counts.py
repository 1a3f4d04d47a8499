"""How many rows there are, for the metrics.

Functions take a connection of `Database.read()` or `Database.snapshot()`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, or_, select, text

from peermentor_server.storage.tables import ACTIVE, OPEN, Instant, assignments, idempotency_keys


@dataclass(slots=True)
class Assignments:
    """How many assignments of an organisation are open, and how many of these are overdue."""

    open: int = 0
    overdue: int = 0


_LAST, _CUTOFF = assignments.c.last_contact_date, bindparam("cutoff", type_=Instant())
# SQLite reads an index alone for each.
_BY_ORGANIZATION: Select[Any] = select(assignments.c.org_id, func.count()).group_by(
    assignments.c.org_id
)
_OPEN = _BY_ORGANIZATION.where(OPEN)
_OVERDUE = _BY_ORGANIZATION.where(ACTIVE, or_(_LAST.is_(None), _LAST < _CUTOFF))
_KEYS: Select[Any] = select(idempotency_keys.c.rpc, func.count()).group_by(idempotency_keys.c.rpc)


def by_organization(connection: Connection, cutoff: datetime) -> Mapping[str, Assignments]:
    """Count the assignments of each organisation that has open ones."""
    found: defaultdict[str, Assignments] = defaultdict(Assignments)
    for organization, count in connection.execute(_OPEN):
        found[organization].open = count
    for organization, count in connection.execute(_OVERDUE, {"cutoff": cutoff}):
        found[organization].overdue = count
    return found


def keys_by_rpc(connection: Connection) -> Mapping[str, int]:
    """Count the idempotency keys that are held, by the RPCs that they were given to."""
    return {str(rpc): int(count) for rpc, count in connection.execute(_KEYS)}


def standbys(connection: Connection) -> int:
    """Count the standbys that are connected to a PostgreSQL server. Any role sees that many."""
    return int(connection.execute(text(_STANDBYS)).scalar_one())


# A backup in progress is connected in the same way.
_STANDBYS = "SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'"
