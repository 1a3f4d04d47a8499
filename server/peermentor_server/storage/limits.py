"""How long a call may wait for the database."""

# A transaction waits this long for another writer: of the same SQLite file, or of the same
# row in PostgreSQL.
LOCK_TIMEOUT_MS = 5000
CONNECT_TIMEOUT_S = 2
# For a free connection, before the call answers UNAVAILABLE.
POOL_TIMEOUT_S = 2
