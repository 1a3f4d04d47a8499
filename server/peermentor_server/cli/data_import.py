"""Brings an export into a database: it is checked in whole before its first row is stored."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from peermentor_server.cli import export_lines
from peermentor_server.cli.export_lines import Line
from peermentor_server.cli.input_files import InvalidFile, Problems, in_batches
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import clock
from peermentor_server.rules.principals import Wall
from peermentor_server.storage import last_keys, transfer
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.seen_keys import SeenKeys, seen_keys
from peermentor_server.storage.transfer import (
    ASSIGNMENTS,
    CONTACTS,
    KINDS,
    MENTEES,
    Differs,
    Kind,
    State,
    Values,
)

# Lines at once: in memory, and in a transaction.
_BATCH = 1_000


class DataImport:
    """A file on its way into a database, of which nothing is there yet, some or all."""

    def __init__(
        self,
        database: Database,
        file: BinaryIO,
        wall: Wall,
        progress: Callable[[str, float], None],
    ) -> None:
        """Read the first line; raise InvalidFile for what is no export."""
        self._database, self._file, self._wall, self._progress = database, file, wall, progress
        self._size = file.seek(0, 2)
        self._header = self._first_line()
        self._now = clock.system_clock()
        self.counts: Mapping[str, int] = {}
        """How many rows of each table are to be there at the end."""
        self.known = 0
        """How many of them were there before."""

    def _first_line(self) -> export_lines.Header:
        self._file.seek(0)
        return export_lines.read_header(self._file)

    def check(self) -> None:
        """Raise InvalidFile for all that is wrong; change nothing."""
        problems = Problems()
        inside = _Inside(self._wall)
        with seen_keys() as seen:
            order = _Order(seen, self._header.last_keys)
            for lines in in_batches(inside.of(self._lines("checking", again=False)), _BATCH):
                problems.add([*_refused(lines), *order.problems(lines), *self._differing(lines)])
        problems.raise_any()
        inside.require(self._header.rows)
        self.counts = {kind.table.name: inside.counts[kind] for kind in KINDS}

    def _differing(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        rows = [line.row for line in lines if line.row]
        with self._database.read() as connection:
            states = transfer.states(connection, rows)
        self.known += states.count(State.KNOWN)
        numbers = [line.number for line in lines if line.row]
        return [
            (number, f"{export_lines.title(*row)} {_DIFFERS}")
            for number, row, state in zip(numbers, rows, states, strict=True)
            if state is State.DIFFERENT
        ]

    def store(self) -> None:
        """Store what is not there yet, some lines at a time; whatever is stored, stays."""
        with self._database.write() as connection:
            last_keys.raise_to(connection, self._header.last_keys)
        for lines in in_batches(
            _Inside(self._wall).of(self._lines("importing", again=True)), _BATCH
        ):
            self._store(lines)

    def _store(self, lines: Sequence[Line]) -> None:
        rows = [line.row for line in lines if line.row]
        if len(rows) < len(lines):
            raise CommandFailed(f"the file was changed meanwhile; {_BEFORE}")
        try:
            with self._database.write() as connection:
                transfer.store(connection, self._wall, rows)
        except Differs as differs:
            what = export_lines.title(differs.kind, differs.values)
            raise CommandFailed(f"{what} {_DIFFERS} meanwhile; {_BEFORE}") from None

    def _lines(self, doing: str, *, again: bool) -> Iterator[Line]:
        header = self._first_line()
        for line in export_lines.read(self._file, header, self._now, again=again):
            yield line
            self._progress(doing, self._file.tell() / self._size)


_DIFFERS = "is in the database already, and is another one or was changed"
_BEFORE = "what was imported before that stays"


def _refused(lines: Sequence[Line]) -> list[tuple[int, str]]:
    return [(line.number, line.problem) for line in lines if line.problem]


class _Inside:
    """Which lines are of some organisations, or of all."""

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._rows, self.counts = Counter[Kind](), Counter[Kind]()
        self._found = set[str]()
        # The assignment above, and whether it is inside; None if nobody knows.
        self._above: tuple[int, bool] | None = _NONE_ABOVE

    def of(self, lines: Iterator[Line]) -> Iterator[Line]:
        """Leave out the others; keep what is refused."""
        for line in lines:
            if line.row is None:
                self._above = None
                yield line
                continue
            kind, values = line.row
            self._rows[kind] += 1
            is_inside = self._continues(values) if kind is CONTACTS else self._begins(kind, values)
            if is_inside is None:
                yield Line(line.number, problem=_NOT_BELOW)
            elif is_inside:
                self.counts[kind] += 1
                yield line

    def _begins(self, kind: Kind, values: Values) -> bool:
        org_id = values[kind.place(kind.org_id.name)]
        is_inside = self._wall.holds(org_id)
        if is_inside and self._wall.organizations is not None:
            self._found.add(org_id)
        self._above = (values[_KEY], is_inside) if kind is ASSIGNMENTS else _NONE_ABOVE
        return is_inside

    def _continues(self, contact: Values) -> bool | None:
        """Tell whether the contact is inside, as its assignment; None if that is not above it."""
        if self._above is None:
            return True
        assignment, is_inside = self._above
        return is_inside if contact[CONTACTS.place("assignment_id")] == assignment else None

    def require(self, rows: Mapping[str, int]) -> None:
        """Raise InvalidFile unless these were all rows, and some of each organisation."""
        for kind in KINDS:
            told, found = rows[kind.table.name], self._rows[kind]
            if told != found:
                raise InvalidFile(
                    f"line 1: rows.{kind.table.name} is {told}, and there are {found}: the file "
                    "was cut off or changed"
                )
        if missing := sorted((self._wall.organizations or set()) - self._found):
            raise InvalidFile(f"the file has nothing of {', '.join(missing)}")


# No assignment has it.
_NONE_ABOVE = 0, False
_NOT_BELOW = "assignment_id: must be that of the assignment above"
_KEY = 0


class _Order:
    """What lines must be to those before them."""

    def __init__(self, seen: SeenKeys, last: Mapping[str, int]) -> None:
        self._seen, self._last = seen, last

    def problems(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """Return what is wrong with them, by the numbers of the lines."""
        found = [(line.number, self._problem(*line.row)) for line in lines if line.row]
        return [(number, problem) for number, problem in found if problem]

    def _problem(self, kind: Kind, values: Values) -> str | None:
        name, field = kind.table.name, export_lines.key_field(kind)
        if not self._seen.add(name, _joined(kind.key_of(values))):
            return f"{field}: is on an earlier line too"
        if kind is not MENTEES and values[_KEY] > self._last[name]:
            return f"{field}: is above last_keys.{name} of line 1"
        if kind is ASSIGNMENTS and not self._seen.holds(MENTEES.table.name, _mentee(values)):
            return "mentee_id: must be that of a mentee on an earlier line, with this org_id"
        return None


def _mentee(assignment: Values) -> str:
    return _joined([assignment[ASSIGNMENTS.place(name)] for name in MENTEES.key])


def _joined(key: Sequence[object]) -> str:
    # No id has a slash.
    return "/".join(map(str, key))
