"""Every example of the REST contract, as printed, through the real gateway."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from peermentor_server.cli import sample_data
from peermentor_server.storage.engine.database import Database
from support.clock import SettableClock

EXAMPLES: list[dict[str, Any]] = [
    example
    for file in sorted((Path(__file__).parents[1] / "contract").glob("*.json"))
    for example in json.loads(file.read_text(encoding="utf-8"))
]
CREATE_TEMPLATE = next(e for e in EXAMPLES if e["name"].startswith("Create a new recurring"))


@pytest.mark.parametrize("form", ["as printed", "short"])
@pytest.mark.parametrize("example", EXAMPLES, ids=[example["name"] for example in EXAMPLES])
def test_example(
    example: dict[str, Any],
    form: str,
    rest: httpx.Client,
    database: Database,
    clock: SettableClock,
) -> None:
    sample_data.load(database)
    create_what_it_needs(rest, example)
    clock.set(datetime.fromisoformat(example.get("at", "2026-03-26T10:00:00Z")))
    path = example["path"] if form == "as printed" else short(example["path"])
    response = rest.request(example["method"], path, json=example.get("request"))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert_holds(response.json(), example["response"], exact=example.get("exact", False))


def test_the_documents_have_fourteen_endpoints() -> None:
    assert len({(e["method"], e["path"]) for e in EXAMPLES}) == len(EXAMPLES) == 14


def create_what_it_needs(rest: httpx.Client, example: dict[str, Any]) -> None:
    for template_id in example.get("needs", []):
        created = rest.post(short(CREATE_TEMPLATE["path"]), json=CREATE_TEMPLATE["request"])
        assert created.json()["id"] == template_id


def short(path: str) -> str:
    """Leave out the base path, which the documents print twice."""
    return path[path.index("/api/v1", 1) :]


def assert_holds(actual: Any, printed: Any, *, exact: bool) -> None:
    """Check that an answer holds what is printed; of a list, its first items."""
    assert type(actual) is type(printed), (actual, printed)
    if isinstance(printed, dict):
        assert printed.keys() <= actual.keys()
        assert not exact or printed.keys() == actual.keys()
        for name, value in printed.items():
            assert_holds(actual[name], value, exact=exact)
    elif isinstance(printed, list) and printed and isinstance(printed[0], dict):
        assert len(actual) >= len(printed)
        for actual_item, printed_item in zip(actual, printed, strict=False):
            assert_holds(actual_item, printed_item, exact=exact)
    else:
        assert actual == printed
