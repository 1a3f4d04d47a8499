"""How long the tests of tests/reliability go on: shortly, or long in `make torture`."""

import os

LONG = os.environ.get("TORTURE") == "1"


def either(short: float, long: float) -> float:
    """Return `short`, or `long` when the test is to torture."""
    return long if LONG else short


def measured(figures: str) -> None:
    """Say what was measured; `pytest -rP`, as in `make torture`, shows it."""
    print(figures)  # noqa: T201
