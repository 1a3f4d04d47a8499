"""Reads names of mentees from a CSV file with the columns org_id, mentee_id and mentee_name.

It takes what spreadsheets write in different countries: commas, semicolons or tabs; UTF-8 or
UTF-16, with a byte order mark or without; names of columns in any case, and further columns;
rows of nothing but empty cells.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, TextIO

from peermentor_server.cli.input_files import InvalidFile
from peermentor_server.rules import texts

COLUMNS = ("org_id", "mentee_id", "mentee_name")
_SEPARATORS = ",;\t"
# Holds the first row, which tells what separates cells, and more.
_SAMPLE_LENGTH = 65_536
# With this line Excel says what separates cells; it is no row.
_SEPARATOR_LINE = re.compile('"?sep=(.)"?[\r\n]+', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and the number of the line on which it begins."""

    line: int
    org_id: str = ""
    mentee_id: str = ""
    mentee_name: str = ""
    problem: str | None = None


def read(file: BinaryIO, encoding: str | None = None, org_id: str | None = None) -> Iterator[Row]:
    """Yield each row, one by one; raise InvalidFile for what is no such file at all.

    With an organisation, all rows are of that one, and need not name it.

    The encoding is found from the first bytes unless it is given. It is never guessed from
    what the text looks like: a wrong guess would change names.
    """
    named = encoding or _encoding_of(file)
    try:
        text = io.TextIOWrapper(file, named, newline="")
    except (LookupError, ValueError):
        raise InvalidFile(f"unknown encoding {texts.shown_id(named)}") from None
    try:
        yield from _rows(text, org_id)
    except UnicodeError:
        shown = named.removesuffix("-sig").upper()
        advice = "" if encoding else "; save it as UTF-8, or name its encoding by --encoding"
        raise InvalidFile(f"the file is not {shown} text{advice}") from None
    finally:
        text.detach()


def _encoding_of(file: BinaryIO) -> str:
    start = file.read(2)
    file.seek(0)
    if start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        return "utf-16"
    # The first letter is one of ASCII's.
    if b"\0" in start:
        return "utf-16-le" if start.endswith(b"\0") else "utf-16-be"
    # -sig: spreadsheets begin their files with a byte order mark.
    return "utf-8-sig"


def _rows(text: TextIO, org_id: str | None) -> Iterator[Row]:
    sample = text.read(_SAMPLE_LENGTH) + text.readline()
    told = _SEPARATOR_LINE.match(sample)
    lines_before = 0
    if told:
        sample, lines_before = sample[told.end() :], 1
    columns = COLUMNS if org_id is None else COLUMNS[1:]
    separator, header = _first_row(sample, told[1] if told else _SEPARATORS, columns)
    if org_id is not None and "org_id" in header:
        raise InvalidFile("line 1: names the column org_id, in place of which --org is given")
    lines = chain(io.StringIO(sample, newline=""), text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    next(reader)
    while True:
        line = lines_before + reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, problem=f"is not CSV: {error}")
            return
        if any(cells):
            yield _row(line, cells, header, org_id)


def _first_row(sample: str, separators: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return what separates cells, and the names of the columns that are read that way."""
    for separator in separators:
        try:
            row = next(csv.reader(io.StringIO(sample, newline=""), delimiter=separator), [])
        except csv.Error:
            continue
        header = [re.sub(r"[\s_-]+", "_", cell.strip()).lower() for cell in row]
        if all(header.count(column) == 1 for column in columns):
            return separator, header
    advice = "; --org names the organisation of all rows" if "org_id" in columns else ""
    raise InvalidFile(f"line 1: must name the columns {', '.join(columns)}{advice}")


def _row(line: int, cells: list[str], header: list[str], org_id: str | None) -> Row:
    places = [header.index(column) for column in COLUMNS[org_id is not None :]]
    if len(cells) <= max(places) or any(cells[len(header) :]):
        return Row(line, problem=f"must have {len(header)} cells")
    *of_row, mentee_id, mentee_name = (cells[place] for place in places)
    org_id = of_row[0] if org_id is None else org_id
    found = {
        "org_id": texts.identifier_problem(org_id),
        "mentee_id": texts.identifier_problem(mentee_id),
        "mentee_name": texts.problem(mentee_name, texts.MAX_NAME_LENGTH, required=True),
    }
    problems = [f"{column}: {problem}" for column, problem in found.items() if problem]
    return Row(line, org_id, mentee_id, mentee_name, "; ".join(problems) or None)
