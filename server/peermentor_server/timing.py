"""How long everything may take that others wait for.

In one place, because each of these times stands on others, and on those of envoy.yaml:
tests/test_timing.py says how. What only makes work quicker, such as how often a lane looks after
its threads, stands where it is used. All in seconds.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of a service. Whoever starts a part of it may give it others."""

    # --- A call ---

    call_s: float = 3.5
    """The whole of a call's work, repetitions included. What still runs then is cancelled."""

    way_back_s: float = 1.0
    """How long before the gateway gives up a call must have ended, to be told by its worker."""

    lane_wait_s: float = 3.0
    """How long a call waits for a thread: longer than a failover keeps threads waiting, and so
    that there is time left to work."""

    stall_s: float = 2.0
    """How long a process must have stood still for others to have its calls by now."""

    doubt_s: float = 0.5
    """How long it takes at most, after a stall, to read which calls were given up."""

    # --- The database ---

    cancel_s: float = 0.5
    """A server that has not even cancelled a late statement by then is left."""

    connect_s: float = 2.0
    """To connect to one server of PostgreSQL, in whole seconds."""

    pool_s: float = 2.0
    """For a free connection, before the call answers UNAVAILABLE."""

    lock_s: float = 5.0
    """For another writer of the same SQLite file, or of the same row in PostgreSQL."""

    migration_lock_s: float = 3600.0
    """For a migration by another program, which may have millions of rows to go through."""

    migration_turn_s: float = 1.0
    """How long a migration waits for tables of PostgreSQL's at a time, and calls behind it; and how
    long it then lets these go on."""

    statement_s: float = 30.0
    """When PostgreSQL itself ends a statement of whom it has lost sight. Imports and samples take
    their time."""

    idle_in_transaction_s: float = 10.0
    """When PostgreSQL itself ends a transaction in which nothing happens any more."""

    # --- Health ---

    ping_every_s: float = 1.0
    """How often the database is asked whether it is well."""

    ping_s: float = 2.0
    """How long its answer may take."""

    sample_every_s: float = 1.0
    """How often it is measured for the metrics what nothing tells of by itself."""

    count_every_s: float = 60.0
    """How often rows are counted for the metrics."""

    count_s: float = 10.0
    """How long that may take."""

    # --- Who may call ---

    keys_every_s: float = 2.0
    """How often the keys are read: no revoked one is valid for longer, plus the time below."""

    keys_s: float = 2.0
    """How long that may take."""

    keys_trusted_s: float = 60.0
    """For how long those that were read last count while they cannot be read."""

    key_set_every_s: float = 300.0
    """How often the keys are read with which tokens are signed."""

    key_set_pause_s: float = 60.0
    """How long it takes until a token that names an unknown key lets them be read once more."""

    key_set_s: float = 5.0
    """How long reading them may take."""

    attempts_s: float = 60.0
    """For how long the calls of an address are counted that had no valid credentials."""

    certificate_every_s: float = 1.0
    """How often it is looked whether the certificate was renewed."""

    # --- The end of a worker ---

    drain_s: float = 1.0
    """How long the gateway, or whoever else asks for a worker's health, has to see that it leaves.
    Several of their checks go by in that time."""

    grace_s: float = 10.0
    """How long calls may go on once a worker has been told to stop."""

    last_words_s: float = 1.0
    """How long answers that are ready may take to be read when the server stops."""

    end_s: float = 2.0
    """How long the end of calls that were cut off may take; one that hangs in a database has
    none."""

    spans_s: float = 1.0
    """How much of that time the last spans of traces may take to be sent."""

    # --- Parts that are watched over ---

    start_s: float = 30.0
    """How long all of `serve`, or a worker that replaces another one, may take to serve."""

    stop_s: float = 15.0
    """How long a part may take to end before it is killed."""

    pulse_every_s: float = 1.0
    """How often a worker says that it is well."""

    silent_s: float = 5.0
    """For how long a worker may be silent before that is logged. Other workers take its calls
    much sooner."""

    hung_s: float = 30.0
    """For how long it may be silent before it is killed and started again."""

    steady_s: float = 10.0
    """How long a part must have run for its death to be an accident, after which it is started
    again at once. One that dies sooner has to wait; as long as it does not even begin to serve,
    each time twice as long."""

    first_restart_s: float = 0.25
    """How long it has to wait at first."""

    last_restart_s: float = 10.0
    """How long it has to wait at most."""

    settle_s: float = 1.0
    """How long the gateway has to see the health of a worker that took another's place, before the
    next one leaves: the time of a check that fails, and of the one after it."""


USUAL = Timing()
