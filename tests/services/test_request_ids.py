"""Creates that are repeated with the same request_id, as their callers see it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select

from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, RefusedCall, contents
from support.racing import at_once, errors
from support.resources import ASSIGNMENT, KINDS, TEMPLATE, Resource

ID = "0c7c5ab2-3a0c-4ba6-9a39-6a8b6a1a8f0e"
ROUNDS = 10


def create(resource: Resource, **fields: Any) -> Any:
    """Create one with ID, unless another id is told."""
    return resource.rpcs.call(resource.rpc("Create"), **request(resource, fields))


def refuse(resource: Resource, **fields: Any) -> RefusedCall:
    """Return how such a create is refused."""
    return resource.rpcs.refuse(resource.rpc("Create"), **request(resource, fields))


def request(resource: Resource, fields: dict[str, Any]) -> dict[str, Any]:
    return resource.kind.new | {"request_id": ID} | fields


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# --- The same request again ---


def test_a_repeat_is_answered_with_what_the_first_made(
    resource: Resource, clock: SettableClock, database: Database
) -> None:
    first = create(resource, **resource.kind.optional)
    clock.advance(hours=1)

    assert create(resource, **resource.kind.optional) == first
    assert count(database, resource.kind.table) == 1


def test_a_repeat_is_answered_with_what_the_first_made_as_it_is_by_then(
    resource: Resource,
) -> None:
    first = create(resource, **resource.kind.optional)
    changed = resource.update(1, **dict(resource.kind.changes))

    assert create(resource, **resource.kind.optional) == changed != first


def test_without_a_request_id_each_create_makes_one_more(
    resource: Resource, database: Database
) -> None:
    assert [resource.number(made) for made in resource.fill(2)] == [1, 2]
    assert contents(database)["idempotency_keys"] == []


def test_requests_of_different_ids_are_different_requests(resource: Resource) -> None:
    ids = [ID, ID.upper(), ID[:-1], "1"]

    made = [resource.number(create(resource, request_id=each)) for each in ids]

    assert made == [1, 2, 3, 4]


def test_an_id_of_one_rpc_says_nothing_to_the_other(channel: grpc.Channel) -> None:
    for resource in [Resource(kind, channel) for kind in KINDS] * 2:
        assert resource.number(create(resource)) == 1


@pytest.mark.parametrize("resource", [ASSIGNMENT], indirect=True)
def test_a_default_that_has_changed_since_makes_no_other_request(
    resource: Resource, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(hour=23, minute=59, second=59))
    first = create(resource, start_date=None)
    clock.advance(seconds=2)

    assert create(resource, start_date=None) == first
    assert first.start_date == "2026-03-26"


@pytest.mark.parametrize("resource", [TEMPLATE], indirect=True)
def test_a_rule_that_has_run_out_since_is_no_reason_to_refuse_a_repeat(
    resource: Resource, clock: SettableClock
) -> None:
    last = "FREQ=DAILY;UNTIL=20260326T100005Z"
    first = create(resource, recurrence_rule=last)
    clock.advance(seconds=10)

    assert create(resource, recurrence_rule=last) == first
    other = refuse(resource, recurrence_rule=last, request_id="other")
    assert other.violations.keys() == {"recurrence_rule"}


# --- Other content ---


@pytest.mark.parametrize(
    ("resource", "field", "value"),
    [
        (ASSIGNMENT, "mentee_id", "user_089"),
        (ASSIGNMENT, "peer_mentor_id", "user_043"),
        (ASSIGNMENT, "coordinator_id", "user_008"),
        (ASSIGNMENT, "org_id", "org_04"),
        (ASSIGNMENT, "start_date", "2026-03-27"),
        (ASSIGNMENT, "start_date", None),
        (ASSIGNMENT, "mentee_name", "Bjørn Solberg"),
        (TEMPLATE, "coordinator_id", "coord-205"),
        (TEMPLATE, "organization_id", "org-45"),
        (TEMPLATE, "name", "Monthly Review"),
        (TEMPLATE, "activity_type", "review"),
        (TEMPLATE, "recurrence_rule", "FREQ=DAILY"),
        (TEMPLATE, "duration_minutes", 91),
        (TEMPLATE, "mentor_ids", NEW_TEMPLATE["mentor_ids"][::-1]),
        (TEMPLATE, "notes_template", ""),
        (TEMPLATE, "is_active", False),
    ],
    indirect=["resource"],
)
def test_other_content_is_refused(
    resource: Resource, database: Database, field: str, value: Any
) -> None:
    create(resource)
    before = contents(database)

    call = refuse(resource, **{field: value})

    assert (call.code, call.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert contents(database) == before


# --- What is remembered ---


def test_an_id_is_forgotten_after_a_day_and_not_before(
    resource: Resource, clock: SettableClock
) -> None:
    made = []
    for seconds in (0, 86_399, 1, 86_399, 1):
        clock.advance(seconds=seconds)
        made.append(resource.number(create(resource)))

    assert made == [1, 1, 2, 2, 3]


def test_after_a_day_an_id_may_stand_for_other_content(
    resource: Resource, clock: SettableClock
) -> None:
    create(resource)
    clock.advance(days=1)

    other = create(resource, coordinator_id="another")

    assert (resource.number(other), other.coordinator_id) == (2, "another")
    assert create(resource, coordinator_id="another") == other


def test_creates_delete_what_is_forgotten(
    resource: Resource, clock: SettableClock, database: Database
) -> None:
    for number in range(3):
        create(resource, request_id=f"old-{number}")
    clock.advance(days=1)
    create(resource, request_id="new")

    assert [row.request_id for row in contents(database)["idempotency_keys"]] == ["new"]


@pytest.mark.parametrize("resource", [ASSIGNMENT], indirect=True)
def test_what_is_remembered_holds_no_content(resource: Resource, database: Database) -> None:
    create(resource, mentee_name="Bjørn Solberg")
    resource.delete(1)

    left = {name: rows for name, rows in contents(database).items() if rows}
    assert left.keys() == {"idempotency_keys"}
    for value in ("Bjørn", "Solberg", *NEW_ASSIGNMENT.values()):
        assert value not in str(left)


def test_what_was_made_and_deleted_is_not_made_again(
    resource: Resource, database: Database
) -> None:
    create(resource)
    resource.delete(1)

    call = refuse(resource)

    noun = resource.kind.noun
    assert (call.code, call.reason) == (grpc.StatusCode.NOT_FOUND, f"{noun.upper()}_NOT_FOUND")
    gone = f"the {noun.lower()} that this request_id created is there no more"
    assert call.message == gone
    assert count(database, resource.kind.table) == 0


def test_a_create_that_is_refused_uses_no_id(resource: Resource, database: Database) -> None:
    refuse(resource, **resource.kind.bad)
    assert contents(database)["idempotency_keys"] == []

    assert resource.number(create(resource)) == 1


# --- How an id is given ---

GOOD_IDS = ["1", "x" * 64, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~/\\{}"]
BAD_IDS = ["", "x" * 65, " ", "a b", "a\tb", "a\n", "\0", "\x7f", "ø", "\u200b", "\uff11"]


@pytest.mark.parametrize("request_id", GOOD_IDS)
def test_an_id_is_1_to_64_printable_ascii_characters(resource: Resource, request_id: str) -> None:
    made = [resource.number(create(resource, request_id=request_id)) for _ in range(2)]

    assert made == [1, 1]


@pytest.mark.parametrize("request_id", BAD_IDS, ids=ascii)
def test_any_other_id_is_refused_with_all_else_that_is(
    resource: Resource, database: Database, request_id: str
) -> None:
    call = refuse(resource, request_id=request_id, coordinator_id="")

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"coordinator_id", "request_id"}
    assert not any(contents(database).values())


def keys(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple(("idempotency-key", value) for value in values)


@pytest.mark.parametrize(("field", "times"), [(ID, 1), (None, 1), (None, 2)])
def test_the_metadata_does_the_same_as_the_field(
    resource: Resource, field: str | None, times: int
) -> None:
    made = create(resource)

    assert create(resource, request_id=field, metadata=keys(*[ID] * times)) == made


@pytest.mark.parametrize("values", [["other"], [""], [ID, "other"], [ID.upper()]])
def test_a_field_and_metadata_that_differ_are_refused(
    resource: Resource, database: Database, values: list[str]
) -> None:
    call = refuse(resource, metadata=keys(*values))

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"request_id"}
    assert not any(contents(database).values())


@pytest.mark.parametrize("values", [[""], ["a b"], ["x" * 65], ["one", "two"]])
def test_bad_metadata_is_refused_by_its_name(resource: Resource, values: list[str]) -> None:
    call = refuse(resource, request_id=None, metadata=keys(*values))

    assert call.violations.keys() == {"idempotency-key"}


# --- At the same moment ---


@pytest.fixture
def other_channel(database: Database, clock: SettableClock) -> Iterator[grpc.Channel]:
    """A channel to another server, on the same database as the first."""
    own = Database(database.engine.url.render_as_string(hide_password=False))
    with own_server(own, clock) as other:
        yield other
    own.close()


def test_twins_at_the_same_moment_make_one(
    resource: Resource, other_channel: grpc.Channel, database: Database
) -> None:
    resources = [resource, Resource(resource.kind, other_channel)] * 3
    for number in range(ROUNDS):
        fields = {"request_id": f"request-{number}", **resource.kind.optional}
        outcomes = at_once(*(partial(create, each, **fields) for each in resources))
        assert errors(outcomes) == []
        assert len({resource.number(each) for each in outcomes}) == 1
    assert (
        count(database, resource.kind.table) == count(database, tables.idempotency_keys) == ROUNDS
    )


def test_of_different_requests_with_one_id_at_the_same_moment_one_is_stored(
    resource: Resource, other_channel: grpc.Channel, database: Database
) -> None:
    for number in range(ROUNDS):
        request_id = f"request-{number}"
        outcomes = at_once(
            partial(create, resource, request_id=request_id),
            partial(
                create,
                Resource(resource.kind, other_channel),
                request_id=request_id,
                coordinator_id="another",
            ),
        )
        [error] = errors(outcomes)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert count(database, resource.kind.table) == ROUNDS
