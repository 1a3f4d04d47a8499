"""What no log may hold: the names of people that the tests use, and credentials."""

import json
import re

NAMES = ("Bjørn", "Solberg", "Lars Eriksson", "Ingrid Halvorsen", "Ann Somebody", "New Name")
FULL_NAME = "Bjørn Solberg"
# API keys with their secrets, and tokens.
_CREDENTIALS = re.compile(r"pmk_[0-9a-f]{16}_[0-9a-f]|eyJ[\w-]+\.eyJ|Bearer \w")


def assert_no_name_in(log: str) -> None:
    """Fail when a log holds a name, as it is or as JSON spells it, or a key or token."""
    spellings = {*NAMES, *(json.dumps(name)[1:-1] for name in NAMES)}
    lines = [line for line in log.splitlines() if any(each in line for each in spellings)]
    assert lines == []
    assert [line for line in log.splitlines() if _CREDENTIALS.search(line)] == []
