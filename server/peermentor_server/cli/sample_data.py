"""Sample data to try the service with: the people of the REST contract's examples, and more.

On an empty database the next assignment is `asgn_048` and the next template `rt-009`, and
the mentee `user_088` is known by name without an assignment yet, as the examples have it.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain, repeat
from typing import Any

from peermentor_server.cli.sample import SAMPLE
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, samples, templates
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine import Connection
from peermentor_server.storage.engine.database import Database

_FIRST_NAMES = ("Astrid", "Erik", "Freja", "Henrik", "Ida", "Jonas", "Maja", "Nils", "Sigrid")
_LAST_NAMES = ("Berg", "Dahl", "Holm", "Lund", "Nygaard")
_OTHERS = 45


class NotEmpty(Exception):
    """The database holds assignments, templates or names of mentees already."""


def load(database: Database) -> tuple[int, int]:
    """Load everything or nothing; return the number of assignments and of templates.

    The assignment that `serve` suggests to make is in nobody's way, however often it was made:
    others take its place.
    """
    with database.write() as connection:
        freed = samples.remove_samples(connection, SAMPLE)
        if any(samples.count(connection)):
            raise NotEmpty
        places: Iterator[dict[str, int]] = chain(({"id": key} for key in freed), repeat({}))
        _add_lars(connection, next(places))
        _add_ingrid(connection, next(places))
        for number in range(_OTHERS):
            _add_other(connection, number, next(places))
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
        keys = [
            templates.add(connection, EVERYWHERE, values, created).id
            for values, created in _templates()
        ]
        first_changed = datetime(2026, 3, 1, 10, tzinfo=UTC)
        templates.change(connection, EVERYWHERE, keys[0], {"is_active": True}, first_changed)
        loaded = samples.count(connection)
        return loaded.assignments, loaded.templates


def _pair(mentee: str, mentor: str, start: date) -> dict[str, Any]:
    return {
        "mentee_id": mentee,
        "peer_mentor_id": mentor,
        "coordinator_id": "user_007",
        "org_id": "org_03",
        "start_date": start,
    }


def _add_lars(connection: Connection, place: dict[str, int]) -> None:
    created = datetime(2026, 1, 15, 9, tzinfo=UTC)
    pair = _pair("user_086", "user_042", created.date()) | place
    lars = assignments.add(connection, EVERYWHERE, pair, "Lars Eriksson", created)
    contact = datetime(2026, 3, 10, 14, 30, tzinfo=UTC)
    assignments.record_contact(connection, EVERYWHERE, lars.id, Contact(contact, "call"), contact)
    reminder = datetime(2026, 3, 18, 8, tzinfo=UTC)
    sent = {"reminder_sent_at": reminder}
    assignments.change(connection, EVERYWHERE, lars.id, sent, reminder + timedelta(seconds=1))


def _add_ingrid(connection: Connection, place: dict[str, int]) -> None:
    created = datetime(2026, 2, 20, 11, tzinfo=UTC)
    pair = _pair("user_087", "user_019", created.date()) | place
    assignments.add(connection, EVERYWHERE, pair, "Ingrid Halvorsen", created)


def _add_other(connection: Connection, number: int, place: dict[str, int]) -> None:
    created = datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(hours=number)
    pair = _pair(f"user_{100 + number}", f"user_{200 + number % 9}", created.date()) | place
    pair["org_id"] = f"org_{number % 4 + 1:02d}"
    name = f"{_FIRST_NAMES[number % 9]} {_LAST_NAMES[number % 5]}"
    key = assignments.add(connection, EVERYWHERE, pair, name, created).id
    # One of them has been silent for long; the others had contact in late March.
    contact = datetime(2026, 3, 5 if number == 0 else 15 + number % 10, 12, tzinfo=UTC)
    assignments.record_contact(connection, EVERYWHERE, key, Contact(contact, "message"), contact)


def _templates() -> list[tuple[dict[str, Any], datetime]]:
    kinds = (
        ("Weekly Peer Session Template", "peer_session", "RRULE:FREQ=WEEKLY;BYDAY=MO", 60),
        ("Morning Check-in", "check_in", "RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=0", 15),
        ("Monthly Review", "review", "RRULE:FREQ=MONTHLY;BYDAY=1TU", 45),
        ("Open House", "social", "RRULE:FREQ=MONTHLY;BYDAY=-1SA", 180),
        ("Walk in the Park", "outdoors", "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SU;BYHOUR=14", 90),
        ("Job Interview Training", "workshop", "RRULE:FREQ=WEEKLY;BYDAY=TH;COUNT=6", 120),
        ("Mentor Supervision", "supervision", "RRULE:FREQ=MONTHLY;BYMONTHDAY=15", 60),
        ("Midsummer Party", "social", "RRULE:FREQ=YEARLY;BYMONTH=6;BYDAY=3FR", 300),
    )
    return [
        (
            {
                "coordinator_id": "coord-205" if number in {3, 6, 8} else "coord-119",
                "organization_id": "org-45" if number == 2 else "org-44",
                "name": name,
                "activity_type": activity,
                "recurrence_rule": rule,
                "duration_minutes": minutes,
                "mentor_ids": ["mentor-482", "mentor-510"],
                "notes_template": "Regular Monday group session" if number == 1 else "",
                "is_active": True,
                "starts_on": date(2026, 1, 14 + number),
                "time_zone": "Europe/Oslo" if number == 5 else "UTC",
                "excluded_dates": [],
            },
            datetime(2026, 1, 14 + number, 8, tzinfo=UTC),
        )
        for number, (name, activity, rule, minutes) in enumerate(kinds, start=1)
    ]
