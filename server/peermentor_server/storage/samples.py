"""Whether a database is empty but for samples, and how to make room for others."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, Table, delete, func, select

from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage.assignments import remove
from peermentor_server.storage.tables import assignments, idempotency_keys, mentees, templates


class Counts(NamedTuple):
    """How many rows there are."""

    assignments: int
    templates: int
    mentees: int


def count(connection: Connection) -> Counts:
    """Count what the database holds."""

    def rows(table: Table) -> int:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()

    return Counts(rows(assignments), rows(templates), rows(mentees))


def remove_samples(connection: Connection, sample: Mapping[str, str]) -> Sequence[int]:
    """Remove every assignment that is this one, with its mentee's name or without.

    Returns the keys they had.
    """
    named = ("mentee_id", "peer_mentor_id", "coordinator_id", "org_id")
    samples = (
        select(assignments.c.id)
        .join(mentees)
        .where(
            *(assignments.c[name] == sample[name] for name in named),
            assignments.c.start_date == date.fromisoformat(sample["start_date"]),
            # README.md makes it without the name, which is then nobody's.
            mentees.c.mentee_name.in_([sample["mentee_name"], ""]),
        )
        .order_by(assignments.c.id)
    )
    keys = connection.execute(samples).scalars().all()
    for key in keys:
        remove(connection, EVERYWHERE, key)
    # A create that is repeated must not be answered with what gets its key.
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.resource_key.in_(keys)))
    return keys
