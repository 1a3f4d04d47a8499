"""The lines that say who has changed what, and hold nothing of what was written."""

import json
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import logs
from support.apps import own_server
from support.clock import SettableClock
from support.keys import bearer, new_key
from support.rpcs import GOOD, GoodRequests

TELLTALE = "Telltale Name"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(params=["info", "debug"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """The audit lines so far, written by either way."""
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    logs.configure(request.param, "json")
    if request.param == "debug":
        monkeypatch.setattr(logs.plain, "output", None)

    def found() -> list[dict[str, Any]]:
        every = [json.loads(line) for line in written.getvalue().splitlines()]
        return [line for line in every if line["event"] == "audit"]

    yield found
    structlog.configure(**before)


def test_every_write_says_who_what_and_where(
    own: Database, clock: SettableClock, lines: Lines
) -> None:
    key = new_key(own, ["org_03", "org_04", "org-44"])
    writes: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
        (
            "CreateAssignment",
            {"mentee_name": TELLTALE, "request_id": "one"},
            "asgn_001",
            "org_03",
            [
                "coordinator_id",
                "mentee_id",
                "mentee_name",
                "org_id",
                "peer_mentor_id",
                "start_date",
            ],
        ),
        (
            "UpdateAssignment",
            {"mentee_name": TELLTALE, "org_id": "org_04"},
            "asgn_001",
            "org_04",
            ["mentee_name", "org_id"],
        ),
        (
            "UpdateAssignment",
            {"update_mask": {"paths": ["reminder_sent_at"]}, "mentee_name": TELLTALE},
            "asgn_001",
            "org_04",
            ["reminder_sent_at"],
        ),
        ("UpdateLastContact", {}, "asgn_001", "org_04", ["contact_date"]),
        ("DeleteAssignment", {}, "asgn_001", "org_04", []),
        (
            "CreateTemplate",
            {"name": TELLTALE},
            "rt-001",
            "org-44",
            sorted(set(GOOD["CreateTemplate"])),
        ),
        ("UpdateTemplate", {"name": TELLTALE}, "rt-001", "org-44", ["name"]),
        ("DeleteTemplate", {}, "rt-001", "org-44", []),
    ]
    with own_server(own, clock, access="required") as channel:
        rpcs = GoodRequests(channel)
        for rpc, fields, *_ in writes:
            rpcs.call(rpc, metadata=bearer(key), **fields)
            # What fails, and what only reads, changes nothing.
            rpcs.refuse(rpc, metadata=())
            rpcs.call("ListAssignments", metadata=bearer(key))
        rpcs.refuse("DeleteTemplate", metadata=bearer(key))
    told = lines()
    assert [
        (line["method"].rpartition("/")[2], line["id"], line["organization"], line["fields"])
        for line in told
    ] == [(rpc, given_id, org, fields) for rpc, _, given_id, org, fields in writes]
    assert {line["subject"] for line in told} == {f"key:{key[4:20]}"}
    assert all(line["request_id"] for line in told)
    assert TELLTALE not in json.dumps(told)
    assert key[21:] not in json.dumps(told)
