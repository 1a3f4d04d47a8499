"""What the tests of reliability share: processes as in production, and servers to break."""

from collections.abc import Iterator

import pytest

from support.replication import Template, template


@pytest.fixture(autouse=True)
def no_coverage_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that a test starts run at their own speed, untraced."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def servers() -> Iterator[Template]:
    """What PostgreSQL servers of a test's own are copied from."""
    with template() as prepared:
        yield prepared
