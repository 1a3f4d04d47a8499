"""The page /docs as a real browser shows it: `make test-browser`."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from peermentor_server.storage.engine.database import Database
from support.apps import running_app
from support.clock import SettableClock
from support.databases import migrated
from support.factories import NEW_ASSIGNMENT
from support.gateways import gateway_before
from support.keys import new_key
from support.openapi import operations
from support.waiting import wait_until

ASSIGNMENTS = "/api/v1/assignments"
PARTS = ["/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/initializer.js"]
LIST = "Assignments-listAssignments"


class Visit:
    """A page that is open in the browser, and all that it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> None:
        """Wait until the description is shown."""
        self.page.goto(url)
        expect(self.page.locator(".opblock").first).to_be_visible()

    def execute(self, operation: str) -> tuple[int, Any]:
        """Try a call out; return the status and the body of the answer that is shown."""
        block = self.page.locator(f"#operations-{operation}")
        if not block.get_by_role("button", name="Execute").is_visible():
            block.locator(".opblock-summary-control").click()
            block.get_by_role("button", name="Try it out").click()
        with self.page.expect_response(lambda answer: "/api/v1/" in answer.url):
            block.get_by_role("button", name="Execute").click()
        shown = block.locator(".live-responses-table")
        return _status(shown), json.loads(shown.locator(".highlight-code code").first.inner_text())

    def authorize(self, key: str) -> None:
        """Give the page a key."""
        self.page.locator(".btn.authorize").first.click()
        dialog = self.page.locator(".dialog-ux")
        dialog.locator("input").fill(key)
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close").first.click()


def _status(shown: Locator) -> int:
    return int(shown.locator("tbody .response-col_status").first.inner_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine."""
    with sync_playwright() as driver:
        # Who runs the tests may be root, in a container.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A page that nobody has opened yet, in a profile of its own."""
    with browser.new_context() as context:
        context.set_default_timeout(15_000)
        yield Visit(context.new_page())


@contextmanager
def service(directory: Path, access: str) -> Iterator[tuple[Database, httpx.Client]]:
    """Run the service and its gateway; give its database, and a client of REST."""
    with (
        migrated(f"sqlite:///{directory}/own.db") as database,
        running_app(database, SettableClock(), access=access) as app,
        gateway_before(app.port, directory) as (_, rest),
    ):
        wait_until(lambda: rest.get("/readyz").status_code == 200, 20)
        yield database, rest


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Calls a service that is open."""
    with service(tmp_path_factory.mktemp("open"), "open") as (_, client):
        yield client


@pytest.mark.parametrize("query", ["", "?url=http://127.0.0.2:9/&configUrl=http://127.0.0.2:9/"])
def test_all_calls_are_shown_and_nothing_comes_from_elsewhere(
    query: str, visit: Visit, rest: httpx.Client
) -> None:
    """Whoever makes a link to the page cannot have it show another description."""
    visit.open(f"{rest.base_url}/docs{query}")
    expect(visit.page).to_have_title("peermentor API")
    expect(visit.page.locator(".opblock")).to_have_count(len(list(operations())))
    page, *parts = [*PARTS, "/openapi.json"]
    expected = [f"{page}{query}", *parts]
    assert visit.requests == [f"{rest.base_url}{each}" for each in expected]
    assert visit.complaints == []


def test_a_call_is_made_and_its_answer_shown(visit: Visit, rest: httpx.Client) -> None:
    rest.post(ASSIGNMENTS, json=NEW_ASSIGNMENT).raise_for_status()
    visit.open(f"{rest.base_url}/docs")
    assert visit.execute(LIST) == (200, rest.get(ASSIGNMENTS).json())
    assert {httpx.URL(each).port for each in visit.requests} == {rest.base_url.port}
    assert visit.complaints == []


def test_the_examples_can_be_sent_as_they_stand_more_than_once(
    visit: Visit, rest: httpx.Client
) -> None:
    """No key of an example makes two creates one, and no etag of an example is in the way."""
    visit.open(f"{rest.base_url}/docs")
    made = [visit.execute("Templates-createTemplate") for _ in range(2)]
    assert [status for status, _ in made] == [200, 200]
    assert len({body["id"] for _, body in made}) == 2
    assert visit.complaints == []


def test_a_link_opens_its_call(visit: Visit, rest: httpx.Client) -> None:
    visit.open(f"{rest.base_url}/docs#/Assignments/listAssignments")
    block = visit.page.locator(f"#operations-{LIST}")
    expect(block.get_by_role("button", name="Try it out")).to_be_visible()


def test_a_key_is_asked_for_sent_and_forgotten(visit: Visit, tmp_path: Path) -> None:
    with service(tmp_path, "required") as (database, rest):
        key = new_key(database, ["org_03"])
        visit.open(f"{rest.base_url}/docs")
        status, body = visit.execute(LIST)
        assert (status, body["code"]) == (401, 16)
        visit.authorize(key)
        status, body = visit.execute(LIST)
        assert (status, body["data"]) == (200, [])
        assert visit.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        assert visit.page.context.cookies() == []
        visit.open(f"{rest.base_url}/docs")
        assert visit.execute(LIST)[0] == 401
    # Chromium tells of each.
    assert len(visit.complaints) == 2
    assert all("401 (Unauthorized)" in each for each in visit.complaints)
    assert key not in str(visit.requests)


def test_what_gets_into_the_page_can_neither_run_nor_reach_others(
    visit: Visit, rest: httpx.Client
) -> None:
    visit.open(f"{rest.base_url}/docs")
    visit.page.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            await fetch("http://127.0.0.2:9/").catch(() => {});
        }"""
    )
    assert visit.page.evaluate("window.ran") is None
    for directive in ("script-src 'self'", "connect-src 'self'"):
        assert any("violates" in each and directive in each for each in visit.complaints)
