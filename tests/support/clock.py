"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

# The day on which the examples of the REST contract play.
CONTRACT_DAY = datetime(2026, 3, 26, 10, tzinfo=UTC)


class SettableClock:
    """Call it for the time, as the server does; set or advance it, as a test does."""

    def __init__(self) -> None:
        self.now = CONTRACT_DAY

    def __call__(self) -> datetime:
        return self.now

    def set(self, now: datetime) -> None:
        """Make it this instant."""
        self.now = now

    def advance(self, **amount: float) -> None:
        """Let time pass, as in advance(hours=2)."""
        self.now += timedelta(**amount)
