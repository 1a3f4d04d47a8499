"""The package as a whole: its two clients alike, documented, quick to import."""

import asyncio
import inspect
import pickle
import pkgutil
import pydoc
import re
import subprocess
import sys
from importlib.metadata import requires, version
from typing import Any
from unittest.mock import create_autospec

import pytest

import peermentor
from peermentor import AsyncClient, Client, _async_client, _client, _models

# What an asynchronous client alone waits for.
AWAITED = " | collections.abc.Callable[[], collections.abc.Awaitable[str]]"


def signatures(owner: type) -> dict[str, str]:
    """Return every public name of a class with its signature, as of the synchronous client."""
    return {
        re.sub("^__a(?=enter|exit|iter)", "__", name): re.sub(
            "Async|_a?sync[.]", "", str(_signature(member)).replace(AWAITED, "")
        )
        for name, member in inspect.getmembers(owner)
        if not name.startswith("_") or name in {"__init__", "__enter__", "__aenter__"}
    }


def _signature(member: Any) -> object:
    if isinstance(member, property):
        return "property"
    if not callable(member):
        return type(member).__name__
    # What is awaited gives the same; an asynchronous iterator stands for an iterator.
    return inspect.signature(member)


def test_both_clients_have_the_same_names_and_signatures() -> None:
    names = set(_client.__all__)
    assert {f"Async{name}" for name in names} == set(_async_client.__all__)
    pairs: list[tuple[type, type]] = [(peermentor.Listing, peermentor.AsyncListing)]
    pairs += [(getattr(_client, name), getattr(_async_client, f"Async{name}")) for name in names]
    assert len(pairs) == 4
    for one, other in pairs:
        assert signatures(one) == signatures(other)


def test_client_and_server_are_of_one_version() -> None:
    assert version("peermentor") == version("peermentor-server") == peermentor.__version__
    assert f"peermentor=={peermentor.__version__}" in (requires("peermentor-server") or ())


def test_both_clients_take_the_same_options() -> None:
    own = str(inspect.signature(Client))
    assert own == str(inspect.signature(AsyncClient)).replace(AWAITED, "")


def test_what_the_generator_writes_is_exported() -> None:
    generated = (name for module in (_models, _client, _async_client) for name in module.__all__)
    assert set(generated) <= set(peermentor.__all__)


def test_public_names_live_in_the_package_and_print_so() -> None:
    assert repr(Client) == "<class 'peermentor.Client'>"
    for name in peermentor.__all__:
        public = getattr(peermentor, name)
        if isinstance(public, type):
            assert f"{public.__module__}.{public.__qualname__}" == f"peermentor.{name}"
            assert pickle.loads(pickle.dumps(public)) is public  # noqa: S301
            assert pydoc.locate(f"peermentor.{name}") is public


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_has_its_parts_and_no_call_of_its_own(kind: type[Client | AsyncClient]) -> None:
    public = {name for name in dir(kind("127.0.0.1:1")) if not name.startswith("_")}
    assert public == {"address", "timeout", "retries", "assignments", "templates", "close"}


def test_modules_are_private_but_for_the_generated_messages() -> None:
    modules = {each.name for each in pkgutil.iter_modules(peermentor.__path__)}
    assert {name for name in modules if not name.startswith("_")} == {"v1"}


def test_every_public_name_is_documented() -> None:
    owners = [peermentor.Client, peermentor.AsyncClient, peermentor.Listing, peermentor.Page]
    owners += [
        getattr(module, name) for module in (_client, _async_client) for name in module.__all__
    ]
    for owner in owners:
        for name, member in inspect.getmembers(owner):
            if not name.startswith("_") and callable(member):
                assert inspect.getdoc(member), f"{owner.__name__}.{name}"
    for name in peermentor.__all__:
        member = getattr(peermentor, name)
        assert not inspect.isclass(member) or member.__doc__, name


def test_it_is_imported_quickly() -> None:
    """Our part is 0.03 of 0.15 seconds; how long both take is up to the machine."""
    assert min(own_part_of_import() for _ in range(3)) < 1 / 3


def own_part_of_import() -> float:
    """Return which part of the time of an import our own modules take."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import peermentor"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr
    times = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", report)
    own = [int(time) for time, name in times if name.startswith("peermentor")]
    assert len(own) > 10
    return sum(own) / sum(int(time) for time, _ in times)


def test_it_needs_only_grpc_and_protobuf() -> None:
    program = "import sys, peermentor; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "grpc" in loaded
    assert not {"sqlalchemy", "structlog", "pydantic", "peermentor_server"} & set(loaded)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_mocks_with_its_spec_know_every_part(kind: type[Client | AsyncClient]) -> None:
    mock = create_autospec(kind, instance=True)
    mock.assignments.get.return_value = "made"
    answer = mock.assignments.get("asgn_001", timeout=5)
    assert (asyncio.run(answer) if inspect.iscoroutine(answer) else answer) == "made"
    mock.assignments.get.assert_called_once_with("asgn_001", timeout=5)
    mock.templates.list(limit=5)
    with pytest.raises(TypeError, match="mentor"):
        mock.assignments.get("asgn_001", mentor="x")
    with pytest.raises(AttributeError):
        mock.assignments.got("asgn_001")
