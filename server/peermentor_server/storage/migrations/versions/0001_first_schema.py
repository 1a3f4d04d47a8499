"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)

FILTERS = ("org_id", "coordinator_id", "peer_mentor_id", "mentee_id")


def upgrade() -> None:
    """Create everything."""
    _create_mentees()
    _create_assignments()
    _create_contacts()
    _create_templates()
    _create_idempotency_keys()
    _create_access_keys()


def _version(name: str = "version") -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("1"), nullable=False)


def _create_mentees() -> None:
    op.create_table(
        "mentees",
        sa.Column("mentee_id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("mentee_name", sa.Text(), nullable=False),
        _version("name_version"),
        sa.PrimaryKeyConstraint("mentee_id", "org_id", name="pk_mentees"),
    )


def _create_assignments() -> None:
    op.create_table(
        "assignments",
        sa.Column("id", Key, nullable=False),
        sa.Column("mentee_id", sa.Text(), nullable=False),
        sa.Column("peer_mentor_id", sa.Text(), nullable=False),
        sa.Column("coordinator_id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("start_date", sa.Date(), nullable=False),
        sa.Column("last_contact_date", Instant, nullable=True),
        sa.Column("reminder_sent_at", Instant, nullable=True),
        sa.Column("escalation_sent_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        _version(),
        sa.Column("recent_writes", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'completed', 'cancelled')",
            name=op.f("ck_assignments_status"),
        ),
        sa.ForeignKeyConstraint(
            ["mentee_id", "org_id"],
            ["mentees.mentee_id", "mentees.org_id"],
            name="fk_assignments_mentee_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_assignments_status", "assignments", ["status", "id"])
    for column in FILTERS:
        op.create_index(f"ix_assignments_{column}", "assignments", [column, "id", "status"])
    is_open = sa.text("(status IN ('active', 'paused')) IS TRUE")
    op.create_index(
        "ix_assignments_open",
        "assignments",
        ["id", "status"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    is_active = sa.text("(status = 'active') IS TRUE")
    nulls_first = " NULLS FIRST" if op.get_context().dialect.name == "postgresql" else ""
    for name, filtered in (("overdue", []), *((f"overdue_{each}", [each]) for each in FILTERS)):
        op.create_index(
            f"ix_assignments_{name}",
            "assignments",
            [*filtered, sa.text(f"last_contact_date{nulls_first}"), "id", "status"],
            sqlite_where=is_active,
            postgresql_where=is_active,
        )


def _create_contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("id", Key, nullable=False),
        sa.Column("assignment_id", Key, nullable=False),
        sa.Column("contact_date", Instant, nullable=False),
        sa.Column("contact_type", sa.Text(), nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.id"],
            name="fk_contacts_assignment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_contacts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_contacts_assignment_id", "contacts", ["assignment_id", "id"])


def _create_templates() -> None:
    op.create_table(
        "templates",
        sa.Column("id", Key, nullable=False),
        sa.Column("coordinator_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("activity_type", sa.Text(), nullable=False),
        sa.Column("recurrence_rule", sa.Text(), nullable=False),
        sa.Column("duration_minutes", sa.Integer(), nullable=False),
        sa.Column("mentor_ids", sa.JSON(), nullable=False),
        sa.Column("notes_template", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("excluded_dates", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        _version(),
        sa.Column("recent_writes", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("duration_minutes > 0", name=op.f("ck_templates_duration_minutes")),
        sa.PrimaryKeyConstraint("id", name="pk_templates"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_templates_coordinator_id", "templates", ["coordinator_id", "id"])
    op.create_index("ix_templates_organization_id", "templates", ["organization_id", "id"])


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("rpc", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("resource_key", Key, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("owner", "rpc", "request_id", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _create_access_keys() -> None:
    op.create_table(
        "access_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.Column("organizations", sa.JSON(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.Column("last_used_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_access_keys"),
    )
