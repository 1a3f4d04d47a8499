"""Recurrence rules: which RFC 5545 RRULE may be stored, and the moments it names.

Source: RFC 5545 section 3.3.10. The expansion is our own because it is bounded: it looks once at
each day of HORIZON_YEARS + 3 years. python-dateutil, which the tests compare with, walks to the
year 9999 where nothing matches: seconds for a rule such as FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2.
"""

import re
from bisect import bisect_left
from calendar import isleap, monthrange
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from itertools import groupby, islice, product, takewhile
from math import prod

MAX_RULE_LENGTH = 500  # characters, the optional "RRULE:" included
MAX_INTERVAL = 1_000
MAX_COUNT = 10_000
MAX_TIMES_A_DAY = 96  # values of BYHOUR x BYMINUTE x BYSECOND: every quarter of an hour
HORIZON_YEARS = 40  # expansion ends with the calendar year this many years after the start


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule is refused; neither field repeats the text of the rule.

    part: the name of the RFC 5545 part at fault, or "RRULE" for the line as a whole.
    description: a sentence that says what the part has to be.
    """

    part: str
    description: str


def refusal(rule: str, start: datetime) -> Refusal | None:
    """Why `rule` may not be stored, or None when it may.

    rule: one RRULE line, with or without "RRULE:" before it; any text is answered.
    start: the DTSTART of the rule, an aware moment; parts of a second are rounded up.
    An accepted rule has an occurrence at or after the start and before the horizon.
    Raises ValueError for a start without a time zone. Source: RFC 5545 3.3.10.
    """
    try:
        parsed = _parse(rule)
    except _RefusedError as error:
        return error.refusal
    first = next(_walk(parsed, start), None)
    if first is None:
        span = f"the {HORIZON_YEARS} years after its start"
        return Refusal("RRULE", f"The parts of this rule together name no moment in {span}.")
    if parsed.until is not None and first > parsed.until:
        return Refusal("UNTIL", "UNTIL is earlier than the first occurrence of the rule.")
    return None


def occurrences(rule: str, start: datetime, limit: int) -> list[datetime]:
    """The first `limit` occurrences of an accepted rule at or after `start`, in order, in UTC.

    Fewer when COUNT, UNTIL or the horizon ends the rule. A start that the rule does not name is
    no occurrence. Raises ValueError for a start without a time zone and for a text that is no
    rule. Source: RFC 5545 3.3.10.
    """
    parsed = _parse(rule)
    until = parsed.until or datetime.max.replace(tzinfo=UTC)
    moments = takewhile(lambda moment: moment <= until, _walk(parsed, start))
    return list(islice(moments, max(0, min({limit, *parsed.by["COUNT"]}))))


class _RefusedError(ValueError):
    def __init__(self, part: str, description: str) -> None:
        super().__init__(description)
        self.refusal = Refusal(part, description)


_PERIODS = {"YEARLY": 366, "MONTHLY": 31, "WEEKLY": 7, "DAILY": 1}  # and the most days in each
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_TIMES = ("BYHOUR", "BYMINUTE", "BYSECOND")
_RANGES = {  # a part that may be negative may not be 0
    "INTERVAL": (1, MAX_INTERVAL),
    "COUNT": (1, MAX_COUNT),
    "BYSECOND": (0, 59),  # RFC 5545 has 60 too, a leap second, which no datetime can hold
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYMONTH": (1, 12),
    "BYSETPOS": (-366, 366),
}
_ONLY_IN = {"BYYEARDAY": "YEARLY", "BYWEEKNO": "YEARLY", "BYMONTHDAY": "YEARLY MONTHLY DAILY"}
_NAME = re.compile("[A-Z][A-Z-]{0,19}")
_BYDAY = re.compile(f"([+-]?[0-9]{{1,2}})?({'|'.join(_WEEKDAYS)})")
_UNTIL = re.compile("([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})Z)?")


@dataclass(frozen=True, slots=True)
class _Rule:
    freq: str
    until: datetime | None
    wkst: int  # 0 is Monday
    byday: frozenset[tuple[int, int]]  # (ordinal, or 0 for every one; weekday)
    by: dict[str, frozenset[int]]  # every name of _RANGES; empty when the rule has no such part


def _parse(text: str) -> _Rule:
    """The rule a line says, checked for all that does not depend on its start."""
    parts = _split(text)
    freq = _one_of("FREQ", parts.get("FREQ", ""), _PERIODS)
    wkst = _one_of("WKST", parts.get("WKST", "MO"), _WEEKDAYS)
    until = _until(parts["UNTIL"]) if "UNTIL" in parts else None
    byday = _byday(parts) if "BYDAY" in parts else frozenset()
    by = {part: _numbers(part, parts[part]) if part in parts else frozenset() for part in _RANGES}
    _check_together(parts, by)
    return _Rule(freq, until, _WEEKDAYS.index(wkst), byday, by)


def _split(text: str) -> dict[str, str]:
    """The parts of the line by name, in capitals, as RFC 5545 values have no case."""
    if len(text) > MAX_RULE_LENGTH:
        raise _RefusedError("RRULE", f"A rule has at most {MAX_RULE_LENGTH} characters.")
    if "\n" in text or "\r" in text:
        raise _RefusedError("RRULE", "A rule is one line, without a line break.")
    parts: dict[str, str] = {}
    for segment in text[6 if text[:6].upper() == "RRULE:" else 0 :].split(";"):
        name, value = _name_and_value(segment)
        if name in parts:
            raise _RefusedError(name, f"{name} may be given once.")
        parts[name] = value
    return parts


def _name_and_value(segment: str) -> tuple[str, str]:
    name, _, value = segment.partition("=")
    # ASCII is tested first because some other letters have an ASCII capital, such as the long s.
    known = name.upper() if name.isascii() else ""
    if not _NAME.fullmatch(known):
        form = "such as FREQ=DAILY, with one semicolon between two and no spaces"
        raise _RefusedError("RRULE", f"A rule is made of parts {form}.")
    if known not in {"FREQ", "UNTIL", "BYDAY", "WKST", *_RANGES}:
        raise _RefusedError(known, "A rule has no part of this name.")
    if not value or not value.isascii():
        raise _RefusedError(known, f"{known} needs a value, in ASCII.")
    return known, value.upper()


def _one_of(part: str, value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise _RefusedError(part, f"{part} has to be one of {', '.join(choices)}.")
    return value


def _until(text: str) -> datetime:
    """The last moment of the rule; a date is the whole of that day in UTC.

    A local date-time is refused: RFC 5545 wants UTC where DTSTART has a time zone.
    """
    match = _UNTIL.fullmatch(text)
    if not match:
        form = "a date or a UTC date-time, such as 20261231 or 20261231T235959Z"
        raise _RefusedError("UNTIL", f"UNTIL is {form}.")
    clock = (23, 59, 59) if match[4] is None else map(int, match.groups()[3:])
    try:
        return datetime.combine(date(*map(int, match.groups()[:3])), time(*clock), UTC)
    except ValueError:
        raise _RefusedError("UNTIL", "UNTIL is no date or time of the calendar.") from None


def _numbers(part: str, text: str) -> frozenset[int]:
    lowest, highest = _RANGES[part]
    grammar = f"{'[+-]?' if lowest < 0 else ''}[0-9]{{1,{len(str(highest))}}}"
    texts = text.split(",") if part.startswith("BY") else [text]
    for item in texts:
        number = int(item) if re.fullmatch(grammar, item) else highest + 1
        if not lowest <= number <= highest or lowest < number == 0:
            words = f"whole numbers from {lowest} to {highest}{', but 0' if lowest < 0 else ''}"
            raise _RefusedError(part, f"{part} takes {words}.")
    numbers = frozenset(int(item) for item in texts)
    if len(numbers) < len(texts):
        raise _RefusedError(part, f"{part} names one value twice.")
    return numbers


def _byday(parts: dict[str, str]) -> frozenset[tuple[int, int]]:
    """(ordinal or 0, weekday) of each day; ordinals count in the month, or else in the year."""
    in_year = parts["FREQ"] == "YEARLY" and "BYWEEKNO" not in parts
    in_month = parts["FREQ"] == "MONTHLY" or (in_year and "BYMONTH" in parts)
    highest = 5 if in_month else 53 if in_year else 0
    days = []
    for text in parts["BYDAY"].split(","):
        match = _BYDAY.fullmatch(text)
        if not match or (match[1] and not 1 <= abs(int(match[1])) <= highest):
            ordinals = f"from -{highest} to {highest}" if highest else "not possible"
            rest = f"each with an ordinal or without; ordinals are {ordinals} in this rule"
            raise _RefusedError("BYDAY", f"BYDAY takes {', '.join(_WEEKDAYS)}, {rest}.")
        days.append((int(match[1] or 0), _WEEKDAYS.index(match[2])))
    if len(set(days)) < len(days):
        raise _RefusedError("BYDAY", "BYDAY names one day twice.")
    return frozenset(days)


def _check_together(parts: dict[str, str], by: dict[str, frozenset[int]]) -> None:
    if "COUNT" in parts and "UNTIL" in parts:
        raise _RefusedError("COUNT", "COUNT and UNTIL may not stand in one rule.")
    for part, frequencies in _ONLY_IN.items():
        if part in parts and parts["FREQ"] not in frequencies.split():
            raise _RefusedError(part, f"{part} may not stand with FREQ={parts['FREQ']}.")
    times = prod(len(by[part]) or 1 for part in _TIMES)
    if times > MAX_TIMES_A_DAY:
        longest = max(_TIMES, key=lambda part: len(by[part]))
        raise _RefusedError(longest, f"A rule names at most {MAX_TIMES_A_DAY} times a day.")
    if "BYSETPOS" in parts and sum(part.startswith("BY") for part in parts) == 1:
        raise _RefusedError("BYSETPOS", "BYSETPOS needs another BY part to choose from.")
    if min(map(abs, by["BYSETPOS"]), default=0) > times * _PERIODS[parts["FREQ"]]:
        raise _RefusedError("BYSETPOS", "BYSETPOS is beyond the longest set of this rule.")


def _walk(rule: _Rule, start: datetime) -> Iterator[datetime]:
    """The moments of the rule from the start to the horizon, without COUNT and UNTIL."""
    if start.tzinfo is None:
        raise ValueError("the start of a recurrence needs a time zone")
    start = start.astimezone(UTC) + timedelta(microseconds=-start.microsecond % 1_000_000)
    rule = _completed(rule, start)
    clocks = product(*(rule.by[part] for part in _TIMES))
    times = sorted(time(hour, minute, second, tzinfo=UTC) for hour, minute, second in clocks)
    for days in _periods(rule, start):
        size, passed = len(days) * len(times), bisect_left(days, start.toordinal()) * len(times)
        chosen = {place - 1 if place > 0 else size + place for place in rule.by["BYSETPOS"]}
        for place in sorted(chosen) or range(passed, size):
            if passed <= place < size:
                day = date.fromordinal(days[place // len(times)])
                moment = datetime.combine(day, times[place % len(times)])
                if moment >= start and day.year <= start.year + HORIZON_YEARS:
                    yield moment


def _completed(rule: _Rule, start: datetime) -> _Rule:
    """The rule with what it leaves open taken from the start, as RFC 5545 3.3.10 orders."""
    by, byday = dict(rule.by), rule.byday
    if not (byday or by["BYMONTHDAY"] or by["BYYEARDAY"]):
        if rule.freq == "WEEKLY" or by["BYWEEKNO"]:
            byday = frozenset({(0, start.weekday())})
        elif rule.freq != "DAILY":
            by["BYMONTHDAY"] = frozenset({start.day})
            if rule.freq == "YEARLY":
                by["BYMONTH"] = by["BYMONTH"] or frozenset({start.month})
    for part, value in zip(_TIMES, (start.hour, start.minute, start.second), strict=True):
        by[part] = by[part] or frozenset({value})
    return replace(rule, byday=byday, by=by)


def _periods(rule: _Rule, start: datetime) -> Iterator[list[int]]:
    """The matching days, as ordinals, of each period of FREQ that INTERVAL does not skip."""
    number_of: Callable[[int], int] = {
        "YEARLY": lambda day: date.fromordinal(day).year,
        "MONTHLY": lambda day: date.fromordinal(day).year * 12 + date.fromordinal(day).month,
        "WEEKLY": lambda day: (day - 1 - rule.wkst) // 7,  # day 1 is a Monday
        "DAILY": lambda day: day,
    }[rule.freq]
    origin, interval = number_of(start.toordinal()), min(rule.by["INTERVAL"], default=1)
    for number, days in groupby(_days(rule, start.year), number_of):
        if number >= origin and (number - origin) % interval == 0:
            yield list(days)


def _days(rule: _Rule, start: int) -> Iterator[int]:
    """The ordinals of the matching days, with a year more at both ends so that no week is cut."""
    known: dict[tuple[int, ...], list[int]] = {}
    for year in range(max(start - 1, 2), min(start + HORIZON_YEARS + 2, MAXYEAR)):
        first = date(year, 1, 1)
        # All that the days of a year depend on: years of one kind are worked out once.
        kind = (first.weekday(), *map(isleap, range(year - 1, year + 2) if rule.by["BYWEEKNO"] else (year,)))
        if kind not in known:
            known[kind] = [day - first.toordinal() for day in _matching(rule, first)]
        yield from map(first.toordinal().__add__, known[kind])


def _matching(rule: _Rule, new_year: date) -> Iterator[int]:
    """The ordinals of the days of one year that satisfy every part which names days."""
    by, before, length = rule.by, new_year.toordinal() - 1, 365 + isleap(new_year.year)
    for month in sorted(by["BYMONTH"]) or range(1, 13):
        first, size = new_year.replace(month=month).toordinal(), monthrange(new_year.year, month)[1]
        for day in range(1, size + 1):
            ordinal, place = first + day - 1, first + day - 1 - before
            weekday = (ordinal - 1) % 7
            in_month = rule.freq == "MONTHLY" or by["BYMONTH"]
            nth, last = _sevens(day, size) if in_month else _sevens(place, length)
            if (
                _admits(by["BYMONTHDAY"], day, day - size - 1)
                and _admits(by["BYYEARDAY"], place, place - length - 1)
                and _admits(rule.byday, (0, weekday), (nth, weekday), (last, weekday))
                and (not by["BYWEEKNO"] or _admits(by["BYWEEKNO"], *_week(ordinal, rule.wkst)))
            ):
                yield ordinal


def _admits(wanted: AbstractSet[object], *names: object) -> bool:
    return not wanted or not wanted.isdisjoint(names)


def _week(ordinal: int, wkst: int) -> tuple[int, int]:
    """The numbers of the week of a day, in the year that holds the fourth day of that week."""
    fourth = ordinal - (ordinal - 1 - wkst) % 7 + 3
    year = date.fromordinal(fourth).year
    return _sevens(fourth - date(year, 1, 1).toordinal() + 1, 365 + isleap(year))


def _sevens(place: int, length: int) -> tuple[int, int]:
    """Which multiple of seven days a place is in, from the first day and, below 0, the last."""
    return (place - 1) // 7 + 1, -((length - place) // 7 + 1)
