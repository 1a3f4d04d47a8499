"""The tables, their constraints, and an index for every query that the RPCs make.

`storage/migrations` brings a database to this shape; a test holds both equal, on SQLite and
on PostgreSQL.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    literal_column,
    nulls_first,
    text,
)

# Where alembic keeps how far the schema is.
VERSION_TABLE = "alembic_version"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite has no zones and keeps it as UTC text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store in UTC."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    # Not process_result_value, which would come on top of what the dialect does: a list of 20
    # has a hundred instants.
    def result_processor(self, dialect: Dialect, _type: object) -> Callable[[Any], Any]:
        """Give back in UTC, whatever the time zone of the database session."""
        return _read_text if dialect.name == "sqlite" else _read_instant


def _read_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value + "+00:00")


def _read_instant(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


class Days(TypeDecorator[list[str]]):
    """A list of days, each of them a text YYYY-MM-DD; most often empty, and quicker than JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, _dialect: Dialect) -> str | None:
        """Store the days with a comma between two."""
        return None if value is None else ",".join(value)

    def result_processor(self, _dialect: Dialect, _type: object) -> Callable[[Any], Any]:
        """Give back the list."""
        return _read_days


def _read_days(value: str) -> list[str]:
    return value.split(",") if value else []


# SQLite gives out automatic keys only for a column that is INTEGER to the letter.
Key = BigInteger().with_variant(Integer(), "sqlite")

# Two conditions that lists stand on, with a partial index each. IS TRUE keeps SQLite from
# looking the status up in an index and then sorting all that it finds. They are literal
# text because only so does SQLite know the condition of the index again; and it looks at
# the status of every row all the same, so the index has that too.
OPEN: ColumnElement[bool] = literal_column("(status IN ('active', 'paused')) IS TRUE")
ACTIVE: ColumnElement[bool] = literal_column("(status = 'active') IS TRUE")


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def _instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Instant, nullable=nullable)


def _version(name: str = "version") -> Column[int]:
    # Each write moves it: see rules/etags.
    return Column(name, BigInteger, nullable=False, server_default=text("1"))


def _recent_writes() -> Column[str]:
    # See storage/recent_writes.
    return _text("recent_writes", server_default=text("''"))


# Names are kept once per organisation and mentee: what one organisation knows of a person is not
# the other's. A row is there as long as an assignment is, or from an import until the mentee's last
# assignment in the organisation goes. Unknown names are empty.
mentees = Table(
    "mentees",
    metadata,
    _text("mentee_id", primary_key=True),
    _text("org_id", primary_key=True),
    _text("mentee_name"),
    _version("name_version"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("id", Key, primary_key=True),
    _text("mentee_id"),
    _text("peer_mentor_id"),
    _text("coordinator_id"),
    _text("org_id"),
    _text("status"),
    Column("start_date", Date, nullable=False),
    _instant("last_contact_date", nullable=True),
    _instant("reminder_sent_at", nullable=True),
    _instant("escalation_sent_at", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    _version(),
    _recent_writes(),
    ForeignKeyConstraint(["mentee_id", "org_id"], [mentees.c.mentee_id, mentees.c.org_id]),
    CheckConstraint("status IN ('active', 'paused', 'completed', 'cancelled')", name="status"),
    # Keys of deleted rows are never given out again.
    sqlite_autoincrement=True,
)

# ListAssignments: WHERE <open> ORDER BY id.
Index(
    "ix_assignments_open",
    assignments.c.id,
    assignments.c.status,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)
# The same WHERE <filter> ... ORDER BY id; the most selective filter's index serves. With the
# status in it the rows are counted from the index alone.
Index("ix_assignments_status", assignments.c.status, assignments.c.id)
_FILTERS = ("org_id", "coordinator_id", "peer_mentor_id", "mentee_id")
for _filter in _FILTERS:
    # The last serves DeleteAssignment too: is this the mentee's last assignment?
    Index(
        f"ix_assignments_{_filter}",
        assignments.c[_filter],
        assignments.c.id,
        assignments.c.status,
    )

# ListOverdueAssignments: WHERE <active> AND (last_contact_date IS NULL OR
# last_contact_date < cutoff) ORDER BY last_contact_date NULLS FIRST, id; and the same with
# a filter.
# SQLite puts nulls first by itself and does not take the words in an index.
for _name, _filtered in (
    ("overdue", []),
    *((f"overdue_{_filter}", [assignments.c[_filter]]) for _filter in _FILTERS),
):
    Index(
        f"ix_assignments_{_name}",
        *_filtered,
        assignments.c.last_contact_date,
        assignments.c.id,
        assignments.c.status,
        sqlite_where=ACTIVE,
    ).ddl_if(dialect="sqlite")
    Index(
        f"ix_assignments_{_name}",
        *_filtered,
        nulls_first(assignments.c.last_contact_date),
        assignments.c.id,
        assignments.c.status,
        postgresql_where=ACTIVE,
    ).ddl_if(dialect="postgresql")

# Every contact as it was told; assignments.last_contact_date is that of the latest told, or of a
# later one where the caller wanted that to stay.
contacts = Table(
    "contacts",
    metadata,
    Column("id", Key, primary_key=True),
    Column(
        "assignment_id",
        ForeignKey("assignments.id", ondelete="CASCADE"),
        nullable=False,
    ),
    _instant("contact_date"),
    _text("contact_type"),
    _instant("recorded_at"),
    sqlite_autoincrement=True,
)

# The history of one assignment, and its deletion along with the assignment.
Index("ix_contacts_assignment_id", contacts.c.assignment_id, contacts.c.id)

templates = Table(
    "templates",
    metadata,
    Column("id", Key, primary_key=True),
    _text("coordinator_id"),
    _text("organization_id"),
    _text("name"),
    _text("activity_type"),
    _text("recurrence_rule"),
    Column("duration_minutes", Integer, nullable=False),
    Column("mentor_ids", JSON, nullable=False),
    _text("notes_template"),
    Column("is_active", Boolean, nullable=False),
    Column("starts_on", Date, nullable=False),
    _text("time_zone"),
    Column("excluded_dates", Days, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    _version(),
    _recent_writes(),
    CheckConstraint("duration_minutes > 0", name="duration_minutes"),
    sqlite_autoincrement=True,
)

# ListTemplatesByCoordinator and ListTemplatesByOrganization: WHERE <id> = ... ORDER BY id.
Index("ix_templates_coordinator_id", templates.c.coordinator_id, templates.c.id)
Index("ix_templates_organization_id", templates.c.organization_id, templates.c.id)

# The creates of the last day that may be repeated, by the ids of their callers; `owner` is the
# subject of a principal. Of what a request held there is a digest alone. The key is null only
# inside the transaction that creates the resource.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _text("owner", primary_key=True),
    _text("rpc", primary_key=True),
    _text("request_id", primary_key=True),
    _text("digest"),
    Column("resource_key", Key),
    _instant("created_at"),
)

# The oldest, to forget them.
Index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)

# Keys by which programs call: of the secret there is a hash alone. Without a list of
# organisations a key is for all of them.
access_keys = Table(
    "access_keys",
    metadata,
    _text("id", primary_key=True),
    _text("secret_hash"),
    _text("permission"),
    Column("organizations", JSON(none_as_null=True)),
    _text("note"),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
    Column("last_used_on", Date),
)
