"""Time: the clock, UTC instants and calendar days. Nobody else asks for the time.

A day is a UTC calendar day. Instants are aware datetimes in UTC.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

Clock = Callable[[], datetime]

# How far ahead of the server's clock a caller's clock may be.
CLOCK_SKEW = timedelta(minutes=5)

_INSTANT = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
    "([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)


def system_clock() -> datetime:
    """Return the present instant, to the microsecond."""
    return datetime.now(UTC)


def stamp(clock: Clock) -> datetime:
    """Return the present instant as it is stored: in whole seconds."""
    return clock().replace(microsecond=0)


def midnight(day: date) -> datetime:
    """Return the instant at which a day begins."""
    return datetime.combine(day, time.min, UTC)


def days_between(instant: datetime, today: date) -> int:
    """Count the calendar days from an instant to today; never below 0.

    An instant within CLOCK_SKEW of the future can be tomorrow: that counts as today.
    """
    return max(0, (today - instant.date()).days)


def overdue_cutoff(today: date, after_days: int) -> datetime:
    """Return the instant before which a last contact is overdue."""
    return midnight(today - timedelta(days=after_days))


def parse_date(text: str) -> date | None:
    """Read `YYYY-MM-DD`; None for anything else."""
    # fromisoformat alone would also take 20260326 and 2026-W13-4.
    if len(text) != len("2026-03-26") or not text.isascii() or text[4] != "-" or text[7] != "-":
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_instant(text: str) -> datetime | None:
    """Read an RFC 3339 instant, which has an offset or `Z`; None for anything else.

    A space may stand for the T. A leap second is none either: no datetime can hold it; nor is a
    fraction of more than nine digits. The gateway reads the instants in bodies by the same rule.
    """
    # fromisoformat alone would also take 2026-03-26T10Z and 2026-W13-4T10:00:00+0000.
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_date_or_instant(text: str) -> datetime | None:
    """Read a date, which means its midnight UTC, or an RFC 3339 instant."""
    day = parse_date(text)
    return parse_instant(text) if day is None else midnight(day)
