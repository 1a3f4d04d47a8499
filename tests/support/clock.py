"""The clock of the tests, and the day on which they play."""

from datetime import UTC, datetime

from peermentor_server.testing import TestClock

# The day on which the examples of the REST contract play.
CONTRACT_DAY = datetime(2026, 3, 26, 10, tzinfo=UTC)


class SettableClock(TestClock):
    """The clock that the server brings for tests, which stands still at CONTRACT_DAY at first."""

    def __init__(self) -> None:
        super().__init__()
        self.set(CONTRACT_DAY)
