"""The names of people that the tests use, and no log may hold."""

import json

NAMES = ("Bjørn", "Solberg", "Lars Eriksson", "Ingrid Halvorsen", "Ann Somebody", "New Name")
FULL_NAME = "Bjørn Solberg"


def assert_no_name_in(log: str) -> None:
    """Fail when a log holds a name, as it is or as JSON spells it."""
    spellings = {*NAMES, *(json.dumps(name)[1:-1] for name in NAMES)}
    lines = [line for line in log.splitlines() if any(each in line for each in spellings)]
    assert lines == []
