"""Time zones by their IANA names, as the package tzdata has them: the same on every machine."""

from datetime import date, datetime
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

UTC = "UTC"


@cache
def names() -> frozenset[str]:
    """Return the name of every time zone."""
    return frozenset((resources.files("tzdata") / "zones").read_text("ascii").split())


@cache
def zone(name: str) -> ZoneInfo:
    """Return the time zone of one of these names; raises KeyError for any other."""
    # ZoneInfo(name) would read what the system has, which may be old or know other names.
    if name not in names():
        raise KeyError(name)
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def today(now: datetime, name: str) -> date:
    """Return the day that it is in a time zone."""
    return now.astimezone(zone(name)).date()
