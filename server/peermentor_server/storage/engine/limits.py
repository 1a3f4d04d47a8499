"""How long a call may wait for the database."""

# The whole of a call's work in the database, repetitions included. What still runs then is
# cancelled.
CALL_S = 3.5
# A server that has not even cancelled by then is left.
CANCEL_S = 0.5
# A transaction waits this long for another writer: of the same SQLite file, or of the same
# row in PostgreSQL.
LOCK_TIMEOUT_MS = 5000
# A migration waits for another one, which may have millions of rows to go through.
MIGRATION_LOCK_TIMEOUT_MS = 3_600_000
CONNECT_TIMEOUT_S = 2
# For a free connection, before the call answers UNAVAILABLE.
POOL_TIMEOUT_S = 2

# --- What the PostgreSQL server itself ends, should it have lost sight of us ---

# Longer than any call: imports and samples take their time.
STATEMENT_TIMEOUT_MS = 30_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
