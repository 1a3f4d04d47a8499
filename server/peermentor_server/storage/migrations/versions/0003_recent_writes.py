"""The ids of the last writes of each row."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NONE = sa.text("''")


def upgrade() -> None:
    """Add the columns."""
    for table in ("assignments", "templates"):
        op.add_column(
            table, sa.Column("recent_writes", sa.Text, nullable=False, server_default=_NONE)
        )
