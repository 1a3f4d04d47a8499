"""A schema that is behind: there is one more migration than the database has had."""

import shutil
from pathlib import Path

import pytest

from peermentor_server.storage import schema

_HEAD = f'''
"""One more migration."""
from alembic import op

revision = "9999"
down_revision = "{schema.NEWEST}"


def upgrade():
'''


def add(monkeypatch: pytest.MonkeyPatch, directory: Path, *statements: str) -> None:
    """Let the newest migration, until the end of the test, be one of these statements."""
    copy = shutil.copytree(schema._MIGRATIONS, directory / "migrations")
    upgrade = "\n".join(f"    op.execute({statement!r})" for statement in statements)
    (copy / "versions" / "9999_one_more.py").write_text(_HEAD + upgrade)
    monkeypatch.setattr(schema, "_MIGRATIONS", copy)
    monkeypatch.setattr(schema, "NEWEST", "9999")
