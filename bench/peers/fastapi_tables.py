"""The tables of the FastAPI peer: the columns of the service's answers, and its indexes."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    literal_column,
    make_url,
    nulls_first,
)

from bench.filling import fill, settle

metadata = MetaData()

# As in the service: IS TRUE keeps SQLite from an index of the status alone, and from sorting.
OPEN: ColumnElement[bool] = literal_column("(status IN ('active', 'paused')) IS TRUE")
ACTIVE: ColumnElement[bool] = literal_column("(status = 'active') IS TRUE")

mentees = Table(
    "mentees",
    metadata,
    Column("mentee_id", Text, primary_key=True),
    Column("mentee_name", Text, nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("mentee_id", Text, ForeignKey("mentees.mentee_id"), nullable=False),
    Column("peer_mentor_id", Text, nullable=False),
    Column("coordinator_id", Text, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("start_date", Date, nullable=False),
    Column("last_contact_date", DateTime),
    Column("reminder_sent_at", DateTime),
    Column("escalation_sent_at", DateTime),
    Column("created_at", DateTime, nullable=False),
    Column("updated_at", DateTime, nullable=False),
)

Index(
    "open_assignments",
    assignments.c.id,
    assignments.c.status,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)
for _name in ("status", "org_id", "coordinator_id", "peer_mentor_id", "mentee_id"):
    Index(f"assignments_by_{_name}", assignments.c[_name], assignments.c.id)
_last = assignments.c.last_contact_date
_rest: tuple[Any, ...] = (assignments.c.id, assignments.c.status)
# SQLite puts nulls first by itself, and cannot be told so in an index.
Index("overdue", _last, *_rest, sqlite_where=ACTIVE).ddl_if(dialect="sqlite")
Index("overdue", nulls_first(_last), *_rest, postgresql_where=ACTIVE).ddl_if(dialect="postgresql")


def connect(url: str) -> Engine:
    """Open a database the way such services do."""
    driver = "postgresql+psycopg" if url.startswith("postgresql") else "sqlite"
    # No statement here needs a transaction of several, so nothing is ever left to roll back.
    engine = create_engine(
        make_url(url).set(drivername=driver),
        pool_size=1,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
    )
    if driver == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # NORMAL: a power cut may take the last commits. The service itself waits for the disk.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=20000"):
        connection.execute(f"PRAGMA {pragma}")


def fill_peer(url: str, count: int) -> None:
    """Make the tables in an empty database, and store so many rows in them."""
    engine = connect(url)
    metadata.create_all(engine)
    in_transactions = engine.execution_options(
        isolation_level="READ COMMITTED" if engine.dialect.name == "postgresql" else "SERIALIZABLE"
    )
    fill(in_transactions.begin, mentees, assignments, count)
    settle(engine)
    engine.dispose()
