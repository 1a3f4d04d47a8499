"""Indexes of those who are overdue, for each filter: in the order of their last contacts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create them."""
    is_active = sa.text("(status = 'active') IS TRUE")
    nulls_first = " NULLS FIRST" if op.get_context().dialect.name == "postgresql" else ""
    for column in ("org_id", "coordinator_id", "peer_mentor_id", "mentee_id"):
        op.create_index(
            f"ix_assignments_overdue_{column}",
            "assignments",
            [column, sa.text(f"last_contact_date{nulls_first}"), "id", "status"],
            sqlite_where=is_active,
            postgresql_where=is_active,
        )
