"""Exports and imports as people run them, and databases with what is hard to move."""

import os
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, select

from peermentor_server.storage import last_keys
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments, contacts, mentees, metadata, templates
from support.clock import CONTRACT_DAY
from support.commands import PROGRAM, run
from support.databases import url_of

STATUSES = ("active", "paused", "completed", "cancelled")
# To the last digit that databases keep.
ODD_MOMENT = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)


def export(database: Database, file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Export a database."""
    return run("export", str(file), *options, PEERMENTOR_DATABASE_URL=url_of(database))


def importing(database: Database, file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Import a file."""
    return run("import", str(file), *options, PEERMENTOR_DATABASE_URL=url_of(database))


def moved(database: Database) -> dict[str, Any]:
    """Return every row of every table that is moved, and the last keys that were given out."""
    with database.read() as connection:
        found: dict[str, Any] = {
            table.name: connection.execute(
                select(*(each for each in table.c if each.name != "recent_writes"))
            ).all()
            for table in metadata.sorted_tables
            if table.name in {"mentees", "assignments", "contacts", "templates"}
        }
        # Each database sorts texts in its own way.
        return {name: sorted(rows, key=repr) for name, rows in found.items()} | {
            "last": last_keys.read(connection)
        }


def fill(database: Database, count: int = 40) -> None:
    """Store assignments of four organisations, with all else, and give out some keys more."""
    people = [
        {"mentee_id": f"user_{n}", "org_id": f"org_{n % 4}", "mentee_name": _NAMES[n % len(_NAMES)]}
        for n in range(count)
    ]
    # One whom two organisations know, and one without assignments.
    people.append({"mentee_id": "user_0", "org_id": "org_1", "mentee_name": "Also Bjørn"})
    assigned = [_assignment(n, people[n % (count - 1)]) for n in range(count)]
    histories = [
        {
            "assignment_id": n * 7 % (count - 3) + 1,
            "contact_date": CONTRACT_DAY - timedelta(hours=n),
            "contact_type": ("", "call", "møte")[n % 3],
            "recorded_at": ODD_MOMENT,
        }
        for n in range(count)
    ]
    with database.write() as connection:
        rows: list[tuple[Table, list[dict[str, Any]]]] = [
            (mentees, people),
            (assignments, assigned),
            (contacts, histories),
            (templates, [_template(n) for n in range(count // 4 + 1)]),
        ]
        for table, values in rows:
            connection.execute(insert(table), values)
        for table in (contacts, assignments, templates):
            last = max(connection.execute(select(table.c.id)).scalars())
            connection.execute(table.delete().where(table.c.id > last - 2))


_NAMES = ("Bjørn Solberg", "", 'Åse "Lillemor" O\'Hara\\', "名前", "Ann\tLine\nTwo 🙂", "\u2028x")


def _assignment(number: int, mentee: dict[str, str]) -> dict[str, Any]:
    told = number % 3 > 0
    return {
        "mentee_id": mentee["mentee_id"],
        "org_id": mentee["org_id"],
        "peer_mentor_id": f"user_{number % 9}!",
        "coordinator_id": "~'\"",
        "status": STATUSES[number % 4],
        "start_date": (date.min, date.max, date(2026, 3, 26))[number % 3],
        "last_contact_date": CONTRACT_DAY - timedelta(hours=number) if told else None,
        "reminder_sent_at": datetime(9999, 12, 31, tzinfo=UTC) if number % 5 == 0 else None,
        "escalation_sent_at": datetime(1, 1, 1, tzinfo=UTC) if number % 7 == 0 else None,
        "created_at": ODD_MOMENT - timedelta(days=number % 50),
        "updated_at": ODD_MOMENT,
        "recent_writes": "",
    }


def _template(number: int) -> dict[str, Any]:
    return {
        "coordinator_id": "user_007",
        "organization_id": f"org_{number % 5}",
        "name": f"Nº {number}",
        "activity_type": "workshop",
        # Over by now, and with an occurrence that is rare.
        "recurrence_rule": (
            "RRULE:FREQ=DAILY;UNTIL=20260401",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        )[number % 2],
        "duration_minutes": number % 10_080 + 1,
        "mentor_ids": [f"mentor_{each}" for each in range(number % 4)],
        "notes_template": "one\ntwo\r\n\\n" * (number % 3),
        "is_active": number % 2 == 0,
        "starts_on": (date(2000, 1, 1), date.max)[number % 2],
        "time_zone": ("UTC", "America/Argentina/Buenos_Aires")[number % 2],
        "excluded_dates": ["0001-01-01", "9999-12-31"][: number % 3],
        "created_at": ODD_MOMENT,
        "updated_at": CONTRACT_DAY,
        "recent_writes": "",
    }


def start_import(database: Database, file: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start an import in a process of its own."""
    environment = os.environ | {"PEERMENTOR_DATABASE_URL": url_of(database)}
    return subprocess.Popen([PROGRAM, "import", str(file)], env=environment, **options)
