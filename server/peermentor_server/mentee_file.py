"""Reads names of mentees from a CSV file with the columns mentee_id and mentee_name."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from peermentor_server.rules import texts

COLUMNS = ("mentee_id", "mentee_name")
_MAX_PROBLEMS = 20


class InvalidFile(Exception):
    """What is wrong with the file, by line; never what stands there."""


def read(path: Path) -> dict[str, str]:
    """Return the name of each mentee, or raise InvalidFile."""
    try:
        # utf-8-sig: spreadsheets begin their files with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _names(file)
    except OSError as error:
        raise InvalidFile(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise InvalidFile(f"{path}: is not UTF-8 text") from None


def _names(file: TextIO) -> dict[str, str]:
    lines = _lines(file)
    _, header = next(lines, (1, []))
    if sorted(header) != sorted(COLUMNS):
        raise InvalidFile(f"line 1: must name the columns {' and '.join(COLUMNS)}")
    names: dict[str, str] = {}
    problems: list[str] = []
    for number, cells in lines:
        if not cells:
            continue
        if len(cells) != len(COLUMNS):
            problems.append(f"line {number}: must have {len(COLUMNS)} cells")
            continue
        line = dict(zip(header, cells, strict=True))
        mentee_id, name = line["mentee_id"], line["mentee_name"].strip()
        problems += [f"line {number}: {problem}" for problem in _problems(mentee_id, name, names)]
        names[mentee_id] = name
    if problems:
        raise InvalidFile(_shortened(problems))
    return names


def _lines(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Read the cells of each line, with the number of the line on which they begin."""
    reader = csv.reader(file, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidFile(f"line {number}: is not CSV: {error}") from None


def _shortened(problems: list[str]) -> str:
    more = len(problems) - _MAX_PROBLEMS
    return "\n".join([*problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])


def _problems(mentee_id: str, name: str, names: dict[str, str]) -> Iterator[str]:
    if found := texts.identifier_problem(mentee_id):
        yield f"mentee_id: {found}"
    if mentee_id in names:
        yield "mentee_id: stands on an earlier line too"
    if found := texts.problem(name, texts.MAX_NAME_LENGTH, required=True):
        yield f"mentee_name: {found}"
