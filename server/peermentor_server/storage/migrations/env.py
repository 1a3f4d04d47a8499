"""Runs migrations on the connection, and in the transaction, of storage/schema.py."""

from alembic import context

from peermentor_server.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can roll back changes of the schema too.
    transactional_ddl=True,
)
context.run_migrations()
