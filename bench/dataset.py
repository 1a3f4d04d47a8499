"""The rows that every contestant holds: row number i depends on i and on today alone.

So the totals that lists must report are known. No row comes near the day after which it is
overdue, not even when a run goes past midnight.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

ORGANISATIONS = 1000
# 14 days is when the service takes an assignment for overdue.
_LONGEST_IN_TOUCH, _SHORTEST_SILENT = 12, 18
FEWEST = 200


def assignment_id(key: int) -> str:
    """Return how the API names the assignment of this key."""
    return f"asgn_{key:03d}"


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield the rows from key 1 on, with the columns of both tables, mentees and assignments."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for key in range(1, count + 1):
        created = midnight - timedelta(days=100 + key % 300, hours=key % 24)
        days = _silent_days(key)
        contact = None if days is None else midnight - timedelta(days=days, hours=key % 12)
        yield {
            "id": key,
            "mentee_id": f"mentee_{key}",
            "mentee_name": f"Åse Mentée {key}",
            "peer_mentor_id": f"mentor_{key % 5000}",
            "coordinator_id": f"coordinator_{key % 200}",
            "org_id": f"org_{key % ORGANISATIONS}",
            "status": _status(key),
            "start_date": created.date(),
            "last_contact_date": contact,
            "reminder_sent_at": None if key % 6 else created + timedelta(days=20),
            "escalation_sent_at": None,
            "created_at": created,
            "updated_at": created,
        }


def open_total(count: int) -> int:
    """Return how many of so many rows are open."""
    return sum(_status(key) != "completed" for key in range(1, count + 1))


def overdue_total(count: int) -> int:
    """Return how many of so many rows are overdue."""
    return sum(_is_overdue(key) for key in range(1, count + 1))


def in_touch(count: int, most: int) -> Sequence[int]:
    """Return keys from all over the rows, of which a contact of today changes no total."""
    keys = [key for key in range(1, count + 1) if _status(key) == "active" and not _is_overdue(key)]
    return keys[:: max(1, len(keys) // most)][:most]


def _status(key: int) -> str:
    if key % 5 == 0:
        return "completed"
    return "paused" if key % 11 == 0 else "active"


def _silent_days(key: int) -> int | None:
    if key % 7 == 0:
        return None
    days = 1 + key * 37 % 60
    return days if days <= _LONGEST_IN_TOUCH else days + _SHORTEST_SILENT - _LONGEST_IN_TOUCH


def _is_overdue(key: int) -> bool:
    days = _silent_days(key)
    return _status(key) == "active" and (days is None or days > _LONGEST_IN_TOUCH)
