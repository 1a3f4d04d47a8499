"""Recurrence rules: which RFC 5545 RRULE may be stored, and the moments it names.

Source: RFC 5545 section 3.3.10. The expansion is our own so that it is bounded: HORIZON_YEARS + 3
calendar years, each day of them seen once. python-dateutil, which the tests compare with, walks
to the year 9999 where nothing matches: seconds, for FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2.
"""

import re
from bisect import bisect_left
from calendar import isleap
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import dropwhile, groupby, islice, product, starmap, takewhile
from math import prod

MAX_RULE_LENGTH = 500  # characters, the optional "RRULE:" included
MAX_INTERVAL = 1_000
MAX_COUNT = 10_000
MAX_TIMES_A_DAY = 96  # values of BYHOUR x BYMINUTE x BYSECOND: every quarter of an hour
# Expansion ends with the year this many after the start's. One February 29 on a Monday is 40 years
# from the next when a year such as 2100 is between them, and people name no rarer date.
HORIZON_YEARS = 40
# Since then, all time zones have differed from UTC by whole minutes.
FIRST_DAY = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule is refused; of its text only names of parts and a well-formed UNTIL come back."""

    part: str  # the name of the part at fault, or "RRULE" for the line as a whole
    description: str  # a sentence that says what the part has to be


def refusal(rule: str, start: datetime) -> Refusal | None:
    """Why `rule` may not be stored, or None when it may.

    rule: one RRULE line, with or without "RRULE:" before it; any text is answered.
    start: the DTSTART of the rule, an aware moment; parts of a second are rounded up.
    An accepted rule has an occurrence at or after the start and before the horizon, for this
    start or for a later one: with FREQ=MONTHLY;INTERVAL=12;BYMONTH=1 only a January will do.
    Raises ValueError for a start without a time zone. Source: RFC 5545 3.3.10.
    """
    try:
        parsed = _parse(rule)
    except _RefusedError as error:
        return Refusal(*error.args)
    _zone_of(start)
    wall = start.astimezone(UTC).replace(tzinfo=None)
    # From the first of the month, and with every period: what some start would reach.
    of_any_start = replace(parsed, by=parsed.by | {"INTERVAL": frozenset()})
    month = wall.replace(day=1)
    named = _walk(of_any_start, month, month.date(), date.max)
    moments = (moment.replace(tzinfo=UTC) for moment in named)
    first = next((moment for moment in moments if moment >= start), None)
    if first is None:
        return Refusal("RRULE", f"A rule must have an occurrence within {HORIZON_YEARS} years.")
    until = None if parsed.until is None else _aware(parsed.until, UTC)
    if until is not None and until < start:
        return Refusal("UNTIL", "UNTIL is in the past.")
    if until is not None and until < first:
        return Refusal("UNTIL", "UNTIL is before the next occurrence.")
    return None


def occurrences(
    rule: str,
    start: datetime,
    *,
    first: date = date.min,
    last: date = date.max,
    excluded: Collection[date] = frozenset(),
) -> Iterator[datetime]:
    """Yield the occurrences of an accepted rule at or after `start`, in order, none twice.

    start: the DTSTART of the rule; days and times of day are those of its time zone, and so are
    the moments. The start itself is an occurrence only if the rule names it.
    first, last: the days, both included, of the occurrences that are wanted. Those of a rule with
    COUNT are in the HORIZON_YEARS after the start, those of others in these after `first`.
    excluded: days of the rule without an occurrence, which COUNT counts all the same.

    A time that the clocks skip is meant by the offset from before, and so comes later by what is
    skipped. Of a time that comes twice, the first is meant. Source: RFC 5545 3.3.5, 3.3.10.
    Raises ValueError for a start without a time zone or a malformed rule.
    """
    parsed = _parse(rule)
    zone, wall = _zone_of(start), start.replace(tzinfo=None)
    first = max(first, wall.date())
    # What the clocks skip can be a whole day: then the day before `first` is one of them.
    since = wall.date() if parsed.by["COUNT"] else max(wall.date(), first - _LONGEST_SKIP)
    named = islice(_walk(parsed, wall, since, last), min(parsed.by["COUNT"], default=None))
    kept = (moment for moment in named if moment.date() not in excluded)
    meant = _in_order(moment.replace(tzinfo=zone).astimezone(UTC) for moment in kept)
    moments: Iterator[datetime] = (moment for moment, _ in groupby(meant))
    if parsed.until is not None:
        until = _aware(parsed.until, zone)
        moments = takewhile(lambda moment: moment <= until, moments)
    local = (moment.astimezone(zone) for moment in moments)
    not_before = dropwhile(lambda moment: moment.date() < first, local)
    return takewhile(lambda moment: moment.date() <= last, not_before)


@dataclass(frozen=True, slots=True)
class Series:
    """The occurrences of a rule as iCalendar writes them: DTSTART, RRULE and EXDATE.

    Times are those of the clocks, without a time zone.
    """

    first: datetime  # the first that the rule names, be it excluded; COUNT begins here
    rule: str  # without "RRULE:"; FREQ is its first part, and UNTIL in UTC
    excluded: list[datetime]  # times that the rule names, in order


def series(rule: str, start: datetime, excluded: Collection[date] = frozenset()) -> Series:
    """Return what denotes the occurrences of an accepted rule at or after `start`.

    Arguments and errors are those of `occurrences`. In iCalendar the start itself is an occurrence,
    which it need not be here. So a series starts with its first occurrence: that has every part of
    a date which the rule may take from its start, and is in a period that INTERVAL does not skip.
    Source: RFC 5545 3.8.2.4, 3.8.5.1, 3.8.5.3.
    """
    parsed, zone, wall = _parse(rule), _zone_of(start), start.replace(tzinfo=None)
    if next(occurrences(rule, start), None) is None:
        # There is no event without a time. So this one has a time, which is excluded.
        return Series(wall, "FREQ=DAILY;COUNT=1", [wall])
    parts = _split(rule)
    if parsed.until is not None:
        # What is a day here has to be an instant where DTSTART has a time.
        parts["UNTIL"] = f"{_in_utc(_aware(parsed.until, zone)):%Y%m%dT%H%M%SZ}"
    ordered = {"FREQ": parts.pop("FREQ"), **parts}
    return Series(
        first=next(_walk(parsed, wall, wall.date(), date.max)),
        rule=";".join(f"{name}={value}" for name, value in ordered.items()),
        excluded=[
            moment
            for day, named in groupby(_named_on(excluded, parsed, wall), datetime.date)
            for moment in _not_kept(day, named, rule, start, excluded)
        ],
    )


_LONGEST_SKIP = timedelta(days=1)  # by which clocks were put forward: where the date line moved


class _RefusedError(ValueError):
    """Its arguments are the part and the description of a Refusal."""


_PERIODS = {"YEARLY": 366, "MONTHLY": 31, "WEEKLY": 7, "DAILY": 1}  # and the most days in each
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
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
_NAME = re.compile("[A-Z][A-Z0-9-]{0,19}")
_BYDAY = re.compile(f"([+-]?[0-9]{{1,2}})?({'|'.join(WEEKDAYS)})")
_UNTIL = re.compile("([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})(Z?))?")


@dataclass(frozen=True, slots=True)
class _Rule:
    freq: str
    until: datetime | None  # without a time zone when it is a day, of whatever zone
    wkst: int  # 0 is Monday
    byday: frozenset[tuple[int, int]]  # (ordinal, or 0 for every one; weekday)
    by: dict[str, frozenset[int]]  # every name of _RANGES; empty when the rule has no such part


def _parse(text: str) -> _Rule:
    """The rule a line says, checked for all that does not depend on its start."""
    parts = _split(text)
    if parts.get("FREQ") not in _PERIODS:
        raise _RefusedError("FREQ", f"FREQ has to be one of {', '.join(_PERIODS)}.")
    wkst = parts.get("WKST", "MO")
    if wkst not in WEEKDAYS:
        raise _RefusedError("WKST", f"WKST has to be one of {', '.join(WEEKDAYS)}.")
    until = _until(parts["UNTIL"]) if "UNTIL" in parts else None
    byday = _byday(parts) if "BYDAY" in parts else frozenset()
    by = {part: _numbers(part, parts[part]) if part in parts else frozenset() for part in _RANGES}
    _check_together(parts, by)
    return _Rule(parts["FREQ"], until, WEEKDAYS.index(wkst), byday, by)


def _split(line: str) -> dict[str, str]:
    """The parts of the line by name, in capitals, as RFC 5545 values have no case."""
    if len(line) > MAX_RULE_LENGTH:
        raise _RefusedError("RRULE", f"A rule has at most {MAX_RULE_LENGTH} characters.")
    if "\n" in line or "\r" in line:
        raise _RefusedError("RRULE", "A rule is one line, without a line break.")
    segments = line[6 if line[:6].upper() == "RRULE:" else 0 :].split(";")
    if len(segments) > 1 and not segments[-1].strip():
        raise _RefusedError("RRULE", "A rule must not end with a semicolon.")
    parts: dict[str, str] = {}
    for name, value in map(_part, segments):
        if name in parts:
            raise _RefusedError(name, f"{name} may be given once.")
        parts[name] = value
    return parts


def _part(segment: str) -> tuple[str, str]:
    """The name and the value of one part, both in capitals."""
    text, _, value = segment.partition("=")
    # ASCII is tested first: some other letters, such as the long s, have an ASCII capital.
    name = text.strip().upper() if text.isascii() else ""
    if not _NAME.fullmatch(name):
        raise _RefusedError("RRULE", "A rule is NAME=value parts with a semicolon between two.")
    if text != text.strip():
        raise _RefusedError("RRULE", f"A rule must not have blanks; there is one beside {name}.")
    if name not in {"FREQ", "UNTIL", "BYDAY", "WKST", *_RANGES}:
        raise _RefusedError(name, "A rule has no such part.")
    if any(map(str.isspace, value)):
        advice = "a rule must have none, not even after commas"
        raise _RefusedError(name, f"{name} has a blank in its value; {advice}.")
    if not value or not value.isascii():
        raise _RefusedError(name, f"{name} needs a value, in ASCII.")
    return name, value.upper()


def _until(text: str) -> datetime:
    """The last moment of the rule: a date is all of that day; no local time, as in RFC 5545."""
    match = _UNTIL.fullmatch(text)
    if not match:
        raise _RefusedError("UNTIL", "UNTIL must be like 20261231 or, in UTC, 20261231T235959Z.")
    is_day = match[4] is None
    clock = (23, 59, 59) if is_day else map(int, match.groups()[3:6])
    try:
        day = date(*map(int, match.groups()[:3]))
        until = datetime.combine(day, time(*clock), None if is_day else UTC)
    except ValueError:
        raise _RefusedError("UNTIL", "UNTIL is not a valid date or time.") from None
    if match[7] == "":
        advice = f"give it in UTC: {text}Z, if that is UTC"
        raise _RefusedError(
            "UNTIL", f"UNTIL is a local time, and its time zone is not known; {advice}."
        )
    return until


def _numbers(part: str, text: str) -> frozenset[int]:
    lowest, highest = _RANGES[part]
    grammar = f"{'[+-]?' if lowest < 0 else ''}[0-9]{{1,{len(str(highest))}}}"
    texts = text.split(",") if part.startswith("BY") else [text]
    for item in texts:
        number = int(item) if re.fullmatch(grammar, item) else highest + 1
        if not lowest <= number <= highest or (lowest < 0 and number == 0):
            zero = ", but not 0" * (lowest < 0)
            raise _RefusedError(part, f"{part} takes whole numbers, {lowest} to {highest}{zero}.")
    if len(numbers := frozenset(map(int, texts))) < len(texts):
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
            rest = f"alone or after a number, -{highest} to {highest}" if highest else "alone"
            raise _RefusedError("BYDAY", f"BYDAY takes {', '.join(WEEKDAYS)} here, {rest}.")
        days.append((int(match[1] or 0), WEEKDAYS.index(match[2])))
    if len(set(days)) < len(days):
        raise _RefusedError("BYDAY", "BYDAY names one day twice.")
    return frozenset(days)


def _check_together(parts: dict[str, str], by: dict[str, frozenset[int]]) -> None:
    if "COUNT" in parts and "UNTIL" in parts:
        raise _RefusedError("COUNT", "COUNT and UNTIL must not be in the same rule.")
    timed = next((part for part in _TIMES if part in parts), None)
    if timed is not None and "T" not in parts.get("UNTIL", "T"):
        # A date there says that the rule names days, of which these parts are none.
        advice = f"with {timed} it is a time, such as {parts['UNTIL']}T235959Z"
        raise _RefusedError("UNTIL", f"UNTIL is a date; {advice}.")
    for part, frequencies in _ONLY_IN.items():
        if part in parts and parts["FREQ"] not in frequencies.split():
            raise _RefusedError(part, f"{part} must not be in a rule with FREQ={parts['FREQ']}.")
    times = prod(len(by[part]) or 1 for part in _TIMES)
    if times > MAX_TIMES_A_DAY:
        longest = max(_TIMES, key=lambda part: len(by[part]))
        raise _RefusedError(longest, f"A rule names at most {MAX_TIMES_A_DAY} times a day.")
    if "BYSETPOS" in parts and sum(part.startswith("BY") for part in parts) == 1:
        raise _RefusedError("BYSETPOS", "BYSETPOS needs another BY part to choose from.")
    if min(map(abs, by["BYSETPOS"]), default=0) > times * _PERIODS[parts["FREQ"]]:
        raise _RefusedError("BYSETPOS", "BYSETPOS is beyond the longest set of this rule.")


def _zone_of(start: datetime) -> tzinfo:
    if start.tzinfo is None:
        raise ValueError("the start of a recurrence needs a time zone")
    return start.tzinfo


def _aware(moment: datetime, zone: tzinfo) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _named_on(days: Collection[date], rule: _Rule, start: datetime) -> Iterator[datetime]:
    """The moments of these days that the rule names, in order; UNTIL does not matter."""
    if rule.by["COUNT"]:
        last = max(days, default=date.min)
        counted = islice(_walk(rule, start, start.date(), last), *rule.by["COUNT"])
        yield from (moment for moment in counted if moment.date() in days)
        return
    # The days of a year together: it takes long to come to them.
    for _, several in groupby(sorted(days), lambda day: day.year):
        of_year = list(several)
        only = {day.toordinal() for day in of_year}
        yield from _walk(rule, start, max(of_year[0], start.date()), of_year[-1], only)


def _not_kept(
    day: date, named: Iterable[datetime], rule: str, start: datetime, excluded: Collection[date]
) -> Iterator[datetime]:
    """The moments of an excluded day whose instants are no occurrences of the day after it.

    Where clocks skip midnight, such as in America/Nuuk, the end of a Saturday is in the Sunday.
    """
    zone, after = _zone_of(start), day + timedelta(days=1)
    begins, ends = (datetime.combine(each, time.min, zone) for each in (day, after))
    if begins.utcoffset() == ends.replace(fold=1).utcoffset():
        yield from named
        return
    kept = set(occurrences(rule, start, first=after, last=after, excluded=excluded))
    for moment in named:
        if moment.replace(tzinfo=zone).astimezone(UTC).astimezone(zone) not in kept:
            yield moment


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # after the last day there is
        return datetime.max.replace(tzinfo=UTC)


def _in_order(moments: Iterable[datetime]) -> Iterator[datetime]:
    """Sort moments that are out of order by _LONGEST_SKIP at most."""
    waiting: list[datetime] = []
    for moment in moments:
        heappush(waiting, moment)
        while waiting[0] <= moment - _LONGEST_SKIP:
            yield heappop(waiting)
    yield from sorted(waiting)


def _walk(
    rule: _Rule, start: datetime, since: date, last: date, only: Container[int] | None = None
) -> Iterator[datetime]:
    """The moments of the rule from the start and the day `since` on, without COUNT and UNTIL.

    They have no time zone, as little as the start. They end with `last`, or at the horizon, which
    is counted from `since`. only: ordinals of the days that are wanted, or None for all.
    """
    start += timedelta(microseconds=-start.microsecond % 1_000_000)
    horizon = date(min(since.year + HORIZON_YEARS, MAXYEAR), 12, 31)
    last = min(last, horizon)
    rule = _completed(rule, start)
    times = sorted(starmap(time, product(*(rule.by[part] for part in _TIMES))))
    nearest = min(map(abs, rule.by["BYSETPOS"]), default=0)
    begin, end = since.toordinal(), last.toordinal()
    for days in _periods(rule, start, range(since.year, last.year + 1)):
        if days[0] > end:
            return
        size = len(days) * len(times)
        if days[-1] < begin or size < nearest:
            continue
        later = days[bisect_left(days, begin) :]
        wanted = later if only is None else [day for day in later if day in only]
        named: Iterable[tuple[int, time]] = product(wanted, times)
        if rule.by["BYSETPOS"]:
            chosen = {place - 1 if place > 0 else size + place for place in rule.by["BYSETPOS"]}
            places = (divmod(place, len(times)) for place in sorted(chosen) if 0 <= place < size)
            kept = set(wanted)
            named = [(days[day], times[at]) for day, at in places if days[day] in kept]
        for ordinal, clock in named:
            if ordinal > end:
                return
            moment = datetime.combine(date.fromordinal(ordinal), clock)
            if moment >= start:
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


def _periods(rule: _Rule, start: datetime, years: range) -> Iterator[list[int]]:
    """The matching days, as ordinals, of each period of FREQ that INTERVAL does not skip.

    All periods that have a day in one of the years are there, and whole.
    """
    number_of: Callable[[int], int] = {
        "YEARLY": lambda day: date.fromordinal(day).year,
        "MONTHLY": lambda day: (on := date.fromordinal(day)).year * 12 + on.month,
        "WEEKLY": lambda day: (day - 1 - rule.wkst) // 7,
        "DAILY": lambda day: day,
    }[rule.freq]
    origin, interval = number_of(start.toordinal()), min(rule.by["INTERVAL"], default=1)
    for number, days in groupby(_days(rule, years), number_of):
        if number >= origin and (number - origin) % interval == 0:
            yield list(days)


def _days(rule: _Rule, years: range) -> Iterator[int]:
    """The ordinals of all matching days, with a year more at both ends so that no week is cut."""
    known: dict[tuple[object, ...], list[int]] = {}
    weeks = rule.by["BYWEEKNO"]
    for year in range(max(years.start - 1, 2), min(years.stop + 1, MAXYEAR - 1)):
        first = date(year, 1, 1).toordinal()
        # Years alike in this match on the same days, and are worked out once.
        kind = (first % 7, isleap(year), weeks and (isleap(year - 1), isleap(year + 1)))
        if kind not in known:
            known[kind] = [day - first for day in _matching(rule, year)]
        yield from [first + day for day in known[kind]]


def _matching(rule: _Rule, year: int) -> list[int]:
    """The ordinals of the days of a year that satisfy every part which names days."""
    by, freq = rule.by, rule.freq
    before, whole, after = (_span(year + n, 1, 12) for n in (-1, 0, 1))
    months = [_span(year, month, month) for month in by["BYMONTH"] or range(1, 13)]
    days: set[int] = set().union(*months)
    if by["BYMONTHDAY"]:
        days &= _nth(months, by["BYMONTHDAY"])
    if by["BYYEARDAY"]:
        days &= _nth([whole], by["BYYEARDAY"])
    if by["BYWEEKNO"]:
        # A week belongs to the year that holds its fourth day, three after WKST.
        fourths = [_every(rule.wkst + 3, span) for span in (before, whole, after)]
        days &= set().union(*(range(day - 3, day + 4) for day in _nth(fourths, by["BYWEEKNO"])))
    if rule.byday:
        days &= _weekdays(rule.byday, months if freq == "MONTHLY" or by["BYMONTH"] else [whole])
    return sorted(days)


def _weekdays(byday: frozenset[tuple[int, int]], spans: list[range]) -> set[int]:
    days: set[int] = set()
    for weekday in {weekday for _, weekday in byday}:
        ordinals = {ordinal for ordinal, of in byday if of == weekday}
        weeks = [_every(weekday, span) for span in spans]
        days |= set().union(*weeks) if 0 in ordinals else _nth(weeks, ordinals)
    return days


def _nth(spans: Iterable[range], places: Collection[int]) -> set[int]:
    """The n-th day of each span that has so many, from its end for a negative n."""
    return {span[n - (n > 0)] for span in spans for n in places if abs(n) <= len(span)}


def _every(weekday: int, span: range) -> range:
    return span[(weekday + 1 - span.start) % 7 :: 7]  # ordinal 1 is a Monday, which is weekday 0


def _span(year: int, first: int, last: int) -> range:
    """The days of some months of a year, as ordinals."""
    after = date(year + last // 12, last % 12 + 1, 1)
    return range(date(year, first, 1).toordinal(), after.toordinal())
