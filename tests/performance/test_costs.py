"""No call costs more than it did: of what is the same each time, and on each machine.

What is allowed stands in costs.txt; `make costs` writes it anew.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from peermentor_server.access.gate import Required
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments, contacts, mentees, templates
from support.clock import CONTRACT_DAY, SettableClock
from support.costs import Cost, Costs, Meter, changes
from support.databases import empty
from support.direct_calls import DirectCalls
from support.issuers import SigningKey, tokens_of
from support.keys import bearer, new_key
from support.rpc_forms import FORMS, Form

FILE = Path(__file__).with_name("costs.txt")
REWRITE = os.environ.get("COSTS") == "rewrite"

ROWS = 100
Work = Callable[[], object]

# Until everything is in caches, and PostgreSQL has the statements prepared.
WARM_UP = 8
# A machine that stands still may add to a measurement.
MEASUREMENTS = 3


@pytest.fixture(scope="module")
def costs() -> Iterator[Costs]:
    """The table; it is written when all tests of the module have found their figures anew."""
    if not REWRITE:
        yield Costs.read(FILE)
        return
    found = Costs({})
    yield found
    if len(found.rows) == 2 * len(FORMS):
        found.write(FILE)


class Bench:
    """The service on a database of its own, and a meter."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._meter = Meter(self.database)
        schema.migrate(self.database)
        self.calls = DirectCalls(self.database, SettableClock())

    def cost(self, form: Form) -> Cost:
        """Return what a form of a call costs."""
        if not form.is_list:
            return self.least(self._works(form))
        of_20, of_40 = (self.least(self._works(form, limit)) for limit in (20, 40))
        return replace(of_20, calls_per_row=(of_40.calls - of_20.calls) / 20)

    def _works(self, form: Form, limit: int = 0) -> Iterator[Work]:
        for number in itertools.count(1):
            yield self.calls.prepared(form.rpc, *form.prepare(self.calls, number, limit))

    def least(self, works: Iterator[Work]) -> Cost:
        """Return the least of each figure, of several calls after the first ones."""
        for work in itertools.islice(works, WARM_UP):
            work()
        costs = [self._meter.count(work) for work in itertools.islice(works, MEASUREMENTS)]
        return Cost(
            min(cost.statements for cost in costs),
            min(cost.round_trips for cost in costs),
            min(cost.calls for cost in costs),
        )


@pytest.fixture(scope="module")
def shared_bench(new_url: Callable[[], str]) -> Iterator[Bench]:
    """A bench for all tests of the module."""
    bench = Bench(new_url())
    yield bench
    bench.database.close()


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """A bench whose database has the same rows for each test."""
    empty(shared_bench.database)
    with shared_bench.database.write() as connection:
        _fill(connection)
    return shared_bench


def _fill(connection: Connection) -> None:
    """Store rows that are all alike, with nothing left empty."""
    earlier = CONTRACT_DAY - timedelta(days=40)
    stamps = {"created_at": earlier, "updated_at": earlier}
    assignment = {
        "mentee_id": "mentee_1",
        "peer_mentor_id": "mentor_1",
        "coordinator_id": "coordinator_1",
        "org_id": "org_1",
        "status": "active",
        "start_date": earlier.date(),
        "last_contact_date": earlier,
        "reminder_sent_at": earlier,
        "escalation_sent_at": earlier,
        **stamps,
    }
    template = {
        "coordinator_id": "coordinator_1",
        "organization_id": "org_1",
        "name": "Weekly Review",
        "activity_type": "review",
        "recurrence_rule": "FREQ=DAILY",
        "duration_minutes": 60,
        "mentor_ids": ["mentor_1", "mentor_2"],
        "notes_template": "Notes",
        "is_active": True,
        "starts_on": earlier.date(),
        "time_zone": "Europe/Oslo",
        "excluded_dates": [],
        **stamps,
    }
    connection.execute(
        insert(mentees), {"org_id": "org_1", "mentee_id": "mentee_1", "mentee_name": "Name"}
    )
    connection.execute(insert(assignments), [assignment] * ROWS)
    contact = {"contact_date": CONTRACT_DAY, "contact_type": "call", "recorded_at": CONTRACT_DAY}
    connection.execute(insert(contacts), [{"assignment_id": 1, **contact}] * ROWS)
    connection.execute(insert(templates), [template] * ROWS)


@pytest.mark.parametrize("name", FORMS)
def test_a_call_costs_no_more_than_before(bench: Bench, costs: Costs, kind: str, name: str) -> None:
    cost = bench.cost(FORMS[name])
    before = costs.rows.setdefault((kind, name), cost) if REWRITE else costs.rows.get((kind, name))
    assert before is not None, "not in the table yet: make costs"
    found = changes(before, cost)
    assert not found, "; ".join(found)


def test_the_table_has_every_form_and_every_rpc(bench: Bench, costs: Costs) -> None:
    assert {form for _, form in costs.rows} == set(FORMS)
    assert {form.rpc for form in FORMS.values()} == bench.calls.names


def test_who_calls_is_found_out_for_little(bench: Bench, tmp_path: Path) -> None:
    signing = SigningKey("edwards", "EdDSA")
    tokens = tokens_of(tmp_path / "keys.json", SettableClock(), signing)
    key, token = new_key(bench.database), signing.token(organizations="*")
    gate = Required(bench.database, SettableClock(), tokens=tokens)
    asyncio.run(gate.update())
    get, calls = FORMS["get"], DirectCalls(bench.database, SettableClock(), gate)

    def cost(calls: DirectCalls, metadata: Any = ()) -> Cost:
        return bench.least(itertools.repeat(calls.prepared(get.rpc, get.request(1), metadata)))

    by_nobody = cost(bench.calls)
    for credential in (key, token):
        found = cost(calls, bearer(credential))
        assert found.statements == by_nobody.statements
        # gRPC's own work is not in this: of all that a call takes, it is less than a tenth.
        assert by_nobody.calls < found.calls <= 1.15 * by_nobody.calls


# --- The controls ---


def test_a_statement_and_a_round_trip_more_are_seen(bench: Bench, kind: str) -> None:
    get = FORMS["get"]
    work = bench.calls.prepared(get.rpc, *get.prepare(bench.calls, 1))

    def twice() -> None:
        work()
        work()

    once, both = (bench.least(itertools.repeat(each)) for each in (work, twice))
    assert both.statements == 2 * once.statements > 0
    assert both.round_trips == 2 * once.round_trips
    assert (once.round_trips > 0) == (kind == "postgresql")
    assert 1.8 * once.calls < both.calls <= 2 * once.calls


def test_growth_by_more_than_a_tenth_is_told() -> None:
    before = Cost(2, 0, 100, 10.0)
    assert changes(before, Cost(2, 0, 110, 11.0)) == []
    assert changes(before, Cost(3, 1, 111, 11.1)) == [
        "statements: 3, more than the 2 before",
        "round_trips: 1, more than the 0 before",
        "calls: 111, more than the 100 before",
        "calls_per_row: 11.1, more than the 10.0 before",
    ]


def test_what_has_become_cheaper_is_to_be_kept_so() -> None:
    before = Cost(1, 1, 100, 10.0)
    assert changes(before, Cost(1, 1, 80, 8.0)) == []
    told = ["calls: 79, far less than the 100 before: keep it by make costs"]
    assert changes(before, Cost(1, 1, 79, 8.0)) == told


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = {("sqlite", "a form"): Cost(1, 0, 100, 10.5), ("sqlite", "b"): Cost(2, 3, 4)}
    file = tmp_path / "costs.txt"
    Costs(rows).write(file)
    assert Costs.read(file).rows == rows
