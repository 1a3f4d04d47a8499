"""How long the tests of tests/reliability go on: short by default, long in `make torture`."""

import os

LONG = os.environ.get("TORTURE") == "1"


def either(short: float, long: float) -> float:
    """Return `short`, or `long` when the test is to torture."""
    return long if LONG else short
