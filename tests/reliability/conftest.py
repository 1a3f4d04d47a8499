"""What the tests of reliability share: processes as in production, and servers to break."""

from collections.abc import Iterator

import pytest

from support.replication import Template, template


@pytest.fixture(scope="module", autouse=True)
def no_coverage_in_processes() -> Iterator[None]:
    """Let the processes that tests start run at their own speed, untraced."""
    with pytest.MonkeyPatch.context() as changes:
        changes.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[Template]:
    """What PostgreSQL servers of a test's own are copied from."""
    with template() as prepared:
        yield prepared
