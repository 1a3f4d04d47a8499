"""Who may do what where credentials are required: every RPC, over gRPC and over REST."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest

from peermentor.v1 import assignments_pb2, templates_pb2
from peermentor_server.access import keys
from peermentor_server.access.permissions import requirements
from peermentor_server.rpc.app import App
from peermentor_server.rules.principals import EVERYWHERE, Permission
from peermentor_server.settings import Settings
from peermentor_server.storage import access_keys, assignments, templates
from peermentor_server.storage.engine.database import Database
from support.apps import running_app
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import STORED_ASSIGNMENT, STORED_TEMPLATE, contents
from support.gateways import gateway_before, native_address
from support.issuers import NOW, TRUSTED, SigningKey, by_hand, key_set
from support.keys import bearer, new_key, unknown_key
from support.routes import METHODS, GoodRoutes
from support.rpcs import GOOD, GoodRequests

pytestmark = pytest.mark.usefixtures("clock")
OURS = requirements((assignments_pb2.DESCRIPTOR, templates_pb2.DESCRIPTOR))
WRITES = {
    path.rpartition("/")[2] for path, each in OURS.items() if each.permission is Permission.WRITE
}
ISSUERS, STRANGERS = SigningKey("one", "ES256"), SigningKey("one", "ES256")

ABSENT, FORBIDDEN, OF_NO_USE = "NOT_FOUND", "PERMISSION_DENIED", "INVALID_ARGUMENT"
# What each request can name that may be another's, and with what it is refused; a request id of
# another's is taken, and is another one.
NAMED = {
    "ListAssignments": {"org_id": FORBIDDEN, "page_token": OF_NO_USE},
    "GetAssignment": {"assignment_id": ABSENT},
    "CreateAssignment": {"org_id": FORBIDDEN, "request_id": ""},
    "UpdateAssignment": {"assignment_id": ABSENT, "org_id": FORBIDDEN},
    "DeleteAssignment": {"assignment_id": ABSENT},
    "UpdateLastContact": {"assignment_id": ABSENT},
    "ListOverdueAssignments": {"org_id": FORBIDDEN, "page_token": OF_NO_USE},
    "GetAssignmentSummary": {"org_id": FORBIDDEN},
    "ListContacts": {"assignment_id": ABSENT, "page_token": OF_NO_USE},
    "ListTemplates": {"page_token": OF_NO_USE},
    "GetTemplate": {"id": ABSENT},
    "CreateTemplate": {"organization_id": FORBIDDEN, "request_id": ""},
    "UpdateTemplate": {"id": ABSENT, "organization_id": FORBIDDEN},
    "DeleteTemplate": {"id": ABSENT},
    "ListTemplatesByCoordinator": {"page_token": OF_NO_USE},
    "ListTemplatesByOrganization": {"organization_id": FORBIDDEN, "page_token": OF_NO_USE},
    "ListOccurrences": {"id": ABSENT},
    "GetTemplateCalendar": {"id": ABSENT},
}
# Lists of what belongs to one that they name.
OF_ONE = {"ListContacts", "ListOccurrences"}
NAMES = {name for named in NAMED.values() for name in named}
OWN, OTHERS = (
    {"org_id": "org_03", "organization_id": "org-44"},
    {"org_id": "org_04", "organization_id": "org-45"},
)
# What makes an update one, and lets there be something on a list.
MORE: dict[str, dict[str, Any]] = {
    "UpdateAssignment": {"status": 2},
    "UpdateTemplate": {"name": "x"},
    "ListOverdueAssignments": {"cutoff_date": "2026-04-26"},
}


@dataclass(frozen=True)
class Place:
    """What has an asgn_001 and an rt-001 of OWN; and the metadata of who may do what there."""

    rpcs: Any
    database: Database
    own: Any
    read_only: Any
    other: Any
    every: Any
    expired: Any
    revoked: Any

    def rows(self) -> dict[str, Any]:
        """Return what is stored, but for when keys were used."""
        return {name: rows for name, rows in contents(self.database).items() if "keys" not in name}


@pytest.fixture(scope="module")
def app(
    shared_database: Database, shared_clock: SettableClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """A server that requires credentials."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(key_set(ISSUERS))
    with running_app(shared_database, shared_clock, jwt_keys=str(file), **TRUSTED) as app:
        yield app


@pytest.fixture(scope="module")
def gateway(
    app: App, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, httpx.Client]]:
    """The gateway in front of that server, with its settings."""
    with gateway_before(app.port, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module", params=["server", "gateway", "rest"])
def rpcs(
    request: pytest.FixtureRequest, app: App, gateway: tuple[Settings, httpx.Client]
) -> Iterator[GoodRequests | GoodRoutes]:
    """All RPCs with good requests: by gRPC to the server, to the gateway, and by REST."""
    settings, client = gateway
    if request.param == "rest":
        yield GoodRoutes(client)
        return
    at_server = request.param == "server"
    address = f"127.0.0.1:{app.port}" if at_server else native_address(settings)
    with grpc.insecure_channel(address) as channel:
        yield GoodRequests(channel)


@pytest.fixture
def place(rpcs: Any, app: App, database: Database) -> Place:
    """Its database, filled anew."""
    with database.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Bjørn Solberg", CONTRACT_DAY)
        templates.add(connection, EVERYWHERE, STORED_TEMPLATE, CONTRACT_DAY)
    own, others = list(OWN.values()), list(OTHERS.values())
    revoked = new_key(database, own)
    with database.write() as connection:
        assert access_keys.revoke(connection, keys.id_of(revoked) or "", CONTRACT_DAY)
    granted = {
        "own": new_key(database, own),
        "read_only": new_key(database, own, "read"),
        "other": new_key(database, others, "admin"),
        "every": new_key(database, None, "write"),
        "expired": new_key(database, own, lifetime=timedelta(days=-1)),
        "revoked": revoked,
    }
    app.learn_keys()
    return Place(rpcs, database, **{name: bearer(key) for name, key in granted.items()})


def test_the_table_has_all_that_requests_can_name() -> None:
    found = {
        rpc: NAMES.intersection(method.input_type.fields_by_name) for rpc, method in METHODS.items()
    }
    assert {rpc: set(named) for rpc, named in NAMED.items()} == found
    assert found.keys() == GOOD.keys()
    assert len(found) == 18


# --- Credentials ---


def _invalid_texts(place: Place) -> dict[str, str]:
    (_, value) = place.own[0]
    return {
        "nothing": "",
        "no scheme": value.removeprefix("Bearer "),
        "another scheme": value.replace("Bearer", "Basic"),
        "unknown": f"Bearer {unknown_key()}",
        "wrong secret": value[:-1] + ("0" if value[-1] != "0" else "1"),
        "another's id": value[:11] + unknown_key()[4:20] + value[27:],
        "longer": f"{value}0",
        "much longer": f"Bearer {'x' * 4000}",
    }


def _invalid_tokens() -> dict[str, str]:
    by_key: Any = {"kid": ISSUERS.id}
    return {
        "expired token": ISSUERS.token(exp=NOW - 3600),
        "wrong audience": ISSUERS.token(aud="other"),
        "wrong issuer": ISSUERS.token(iss="https://login.example.com/"),
        "algorithm none": by_hand(by_key | {"alg": "none"}),
        "HMAC": by_hand(by_key | {"alg": "HS256"}, ISSUERS.pem),
        "a stranger's key": STRANGERS.token(),
    }


def _credentials(place: Place) -> dict[str, tuple[Any, str]]:
    """Return metadata that lets nobody in, with the reason that is told."""
    invalid: dict[str, Any] = {
        name: (("authorization", text),) for name, text in _invalid_texts(place).items()
    }
    invalid |= {name: bearer(token) for name, token in _invalid_tokens().items()}
    invalid |= {"expired": place.expired, "revoked": place.revoked, "twice": place.own * 2}
    found = {name: (metadata, "CREDENTIALS_INVALID") for name, metadata in invalid.items()}
    found["none"] = ((), "CREDENTIALS_MISSING")
    return found


def test_nobody_is_let_in_without_valid_credentials(place: Place) -> None:
    before = place.rows()
    for name, (metadata, reason) in _credentials(place).items():
        for rpc in GOOD:
            refusal = place.rpcs.refuse(rpc, metadata=metadata)
            told = (refusal.code, refusal.reason)
            assert told == (grpc.StatusCode.UNAUTHENTICATED, reason), (name, rpc)
    assert place.rows() == before


def test_a_key_or_a_token_lets_its_owner_do_what_it_allows(place: Place) -> None:
    token = bearer(ISSUERS.token())
    for rpc in [each for each in GOOD if not each.startswith("Delete")]:
        for metadata in (place.own, place.every, token):
            place.rpcs.call(rpc, metadata=metadata, **MORE.get(rpc, {}))
    place.rpcs.call("DeleteAssignment", metadata=place.own)
    place.rpcs.call("DeleteTemplate", metadata=token)


def test_who_may_read_changes_nothing(place: Place) -> None:
    before = place.rows()
    for rpc in GOOD:
        for metadata in (place.read_only, bearer(ISSUERS.token(permission="read"))):
            if rpc in WRITES:
                refusal = place.rpcs.refuse(rpc, metadata=metadata)
                assert refusal.code is grpc.StatusCode.PERMISSION_DENIED, rpc
                assert refusal.reason == "PERMISSION_MISSING"
            else:
                place.rpcs.call(rpc, metadata=metadata)
    assert place.rows() == before


# --- Others' organisations ---


def test_what_is_anothers_is_not_there_and_their_organisation_is_forbidden(place: Place) -> None:
    before = place.rows()
    for rpc, named in NAMED.items():
        for field in named.keys() - {"page_token", "request_id"}:
            fields = MORE.get(rpc, {}) | _named(OWN, [field])
            refusal = place.rpcs.refuse(rpc, metadata=place.other, **fields)
            assert refusal.code.name == named[field], (rpc, field)
            reason = "ORGANIZATION_FORBIDDEN" if field in OWN else "_NOT_FOUND"
            assert refusal.reason.endswith(reason), (rpc, field)
    assert place.rows() == before


def test_nothing_is_moved_into_anothers_organisation(place: Place) -> None:
    before = place.rows()
    for rpc, field in (("UpdateAssignment", "org_id"), ("UpdateTemplate", "organization_id")):
        refusal = place.rpcs.refuse(rpc, metadata=place.own, **_named(OTHERS, [field]))
        assert refusal.reason == "ORGANIZATION_FORBIDDEN", rpc
    assert place.rows() == before


def test_lists_are_without_what_is_anothers(place: Place) -> None:
    for rpc in [each for each in GOOD if each.startswith("List") and each not in OF_ONE]:
        theirs = _named(OTHERS, GOOD[rpc])
        for metadata, fields, expected in (
            (place.own, {}, 1),
            (place.every, {}, 1),
            (place.other, theirs, 0),
        ):
            page = place.rpcs.call(rpc, metadata=metadata, **MORE.get(rpc, {}) | fields)
            assert (len(page.data), page.pagination.total) == (expected, expected), rpc


def test_a_summary_is_without_what_is_anothers(place: Place) -> None:
    for metadata, expected in ((place.own, 1), (place.every, 1), (place.other, 0)):
        for fields in ({}, {"coordinator_id": "user_007"}):
            found = place.rpcs.call("GetAssignmentSummary", metadata=metadata, **fields)
            assert (found.open, found.recent_contacts) == (expected, 0)


def test_request_ids_and_names_are_each_ones_own(place: Place) -> None:
    by_header = (("idempotency-key", "two"),)
    for rpc in [each for each, named in NAMED.items() if "request_id" in named]:
        theirs = _named(OTHERS, GOOD[rpc])
        for header, fields in (((), {"request_id": "one"}), (by_header, {})):
            mine, others, anybodys, again = [
                place.rpcs.call(rpc, metadata=metadata + header, **fields | organization)
                for metadata, organization in (
                    (place.own, {}),
                    (place.other, theirs),
                    (place.every, {}),
                    (place.own, {}),
                )
            ]
            assert mine == again, rpc
            assert len({str(each) for each in (mine, others, anybodys)}) == 3, rpc
            if rpc == "CreateAssignment":
                assert (mine.mentee_name, others.mentee_name) == ("Bjørn Solberg", "")


def test_a_page_token_is_of_use_to_its_owner_alone(place: Place) -> None:
    for rpc in ("CreateAssignment", "CreateTemplate"):
        place.rpcs.call(rpc, metadata=place.own)
    for contact_type in ("message", "call"):
        place.rpcs.call("UpdateLastContact", metadata=place.own, contact_type=contact_type)
    for rpc in [each for each, named in NAMED.items() if "page_token" in named]:
        asked = MORE.get(rpc, {}) | {"limit": 1}
        asked["page_token"] = place.rpcs.call(rpc, metadata=place.own, **asked).next_page_token
        assert len(place.rpcs.call(rpc, metadata=place.own, **asked).data) == 1, rpc
        for metadata in (place.read_only, place.every, bearer(ISSUERS.token())):
            refusal = place.rpcs.refuse(rpc, metadata=metadata, **asked)
            assert refusal.code.name == NAMED[rpc]["page_token"]
            assert refusal.violations.keys() == {"page_token"}, rpc


def _named(organizations: dict[str, str], fields: Iterable[str]) -> dict[str, str]:
    """Return which of these fields name an organisation, with this one's name."""
    return {field: organizations[field] for field in fields if field in organizations}
