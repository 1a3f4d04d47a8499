"""Two machines behind a tier, as in docs/several-machines.md: one is lost, and no call fails."""

import gzip
import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trustme
import yaml
from grpc import StatusCode

from peermentor import Unavailable
from peermentor_server.services import idempotency
from peermentor_server.storage.engine.database import Database
from support.databases import url_of
from support.keys import new_key
from support.load import BASE, PEOPLE, Load, Secured, client, under_load
from support.lua import ROOT
from support.ports import free_ports
from support.rpcs import SERVICES
from support.serving import Running, serving, settings_for
from support.tiers import FILE, MACHINES, Tier, running_tier, write_certificate
from support.torture import LONG, either, measured
from support.waiting import wait_until


class Machine:
    """What stands for a machine: a `serve` with ports and a log of its own."""

    def __init__(self, directory: Path, url: str, number: int) -> None:
        self._log = directory / f"log-{number}"
        self._environment = settings_for(url, free_ports(3)) | {
            "PEERMENTOR_ACCESS": "required",
            "PEERMENTOR_TLS_CERTIFICATE": str(directory / "machine-cert.pem"),
            "PEERMENTOR_TLS_KEY": str(directory / "machine-key.pem"),
            "PEERMENTOR_WORKERS": "1",
        }
        self.address = self._environment["PEERMENTOR_REST_ADDRESS"]
        self._stack = ExitStack()
        self.running: Running | None = None

    def start(self) -> None:
        log = self._stack.enter_context(self._log.open("a"))
        self.running = self._stack.enter_context(serving(self._environment, log))

    def stop(self) -> None:
        self._stack.close()

    def is_alive(self) -> bool:
        return self.running is not None and self.running.process.poll() is None

    def calls(self) -> int:
        """Return how many calls it has answered."""
        assert self.running is not None
        return len(self.running.lines("call"))

    def lose(self) -> None:
        """Kill all of its processes, which this test has started, at one moment."""
        for process in self._suspended():
            process.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let none of its processes go on, until the end of the block."""
        processes = self._suspended()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def end(self) -> None:
        """Let it leave in order."""
        assert self.running is not None
        self.running.process.send_signal(signal.SIGTERM)
        assert self.running.process.wait(30) == 0

    def _suspended(self) -> list[psutil.Process]:
        assert self.running is not None
        supervisor = psutil.Process(self.running.process.pid)
        # It first: it would start again what ends, and tell it to end in order as it ends itself.
        supervisor.suspend()
        processes = [supervisor, *supervisor.children(recursive=True)]
        for process in processes:
            process.suspend()
        return processes


class Site:
    """Two machines on one database, and the tier in front of them."""

    def __init__(self, machines: list[Machine], tier: Tier, secured: Secured) -> None:
        self.machines, self.tier, self.secured = machines, tier, secured

    @contextmanager
    def under_load(self) -> Iterator[Load]:
        """Let callers work whose calls all may be repeated, until the end of the block."""
        address = self.tier.address
        with under_load(
            address,
            address,
            rest_callers=3,
            grpc_callers=int(either(1, 3)),
            pause_s=either(0.01, 0.002),
            secured=self.secured,
        ) as load:
            go_on(load)
            yield load

    def await_machines(self, count: int) -> None:
        """Return when the tier takes as many machines for well."""
        wait_until(lambda: self.tier.healthy_machines() == count, 20, every=0.05)


def go_on(load: Load) -> None:
    """Let some calls be made."""
    goal = load.calls + either(60, 1000)
    wait_until(lambda: load.calls > goal, 60)


@pytest.fixture
def site(postgresql: Database, tmp_path: Path) -> Iterator[Site]:
    authority = trustme.CA()
    write_certificate(authority.issue_cert(MACHINES), tmp_path, "machine")
    machines = [Machine(tmp_path, url_of(postgresql), number) for number in (1, 2)]
    secured = Secured(authority.cert_pem.bytes(), new_key(postgresql))
    with ExitStack() as stack:
        for machine in machines:
            stack.callback(machine.stop)
            machine.start()
        addresses = [machine.address for machine in machines]
        tier = stack.enter_context(running_tier(addresses, authority, tmp_path))
        yield Site(machines, tier, secured)


def test_no_call_fails_when_a_machine_is_lost(site: Site, postgresql: Database) -> None:
    _assert_calls_are_spread(site)
    _assert_ids_count_everywhere(site)
    _assert_the_page_of_the_api_comes_through(site)
    _assert_who_is_gone_without_a_word_is_left(site)
    with site.under_load() as load:
        for _ in range(int(either(1, 5))):
            _lose_one(site, load)
    assert load.failures == []
    with postgresql.read() as connection:
        load.assert_nothing_lost_or_doubled(connection)
    measured(f"{load.summary}, {site.tier.repeated()} repeated")
    _assert_all_are_told_when_no_machine_is_left(site)


def _lose_one(site: Site, load: Load) -> None:
    lost, left = site.machines
    lost.lose()
    site.await_machines(1)
    before = left.calls()
    go_on(load)
    assert left.calls() > before
    if not LONG:
        return
    lost.stop()
    lost.start()
    site.await_machines(2)
    go_on(load)
    # One that leaves in order, as in an upgrade.
    left.end()
    site.await_machines(1)
    go_on(load)
    left.stop()
    left.start()
    site.await_machines(2)
    go_on(load)
    site.machines.reverse()


def _assert_calls_are_spread(site: Site) -> None:
    """Check that those of one connection, of native gRPC, go to both machines."""
    before = [machine.calls() for machine in site.machines]
    with client(site.tier.address, site.secured) as caller:
        for _ in range(24):
            caller.assignments.list(limit=1).page(1)
    spread = [
        machine.calls() - earlier for machine, earlier in zip(site.machines, before, strict=True)
    ]
    assert sum(spread) == 24
    assert min(spread) > 0


def _assert_who_is_gone_without_a_word_is_left(site: Site) -> None:
    """Check that calls which a machine does not answer, nor refuse, are answered by another one."""
    with client(site.tier.address, site.secured) as caller, site.machines[0].frozen():
        for _ in range(24):
            caller.assignments.list(limit=1).page(1)
        site.await_machines(1)
    site.await_machines(2)


def _assert_all_are_told_when_no_machine_is_left(site: Site) -> None:
    """Check that the tier refuses in the way of the service."""
    for machine in site.machines:
        if machine.is_alive():
            machine.lose()
    site.await_machines(0)
    with httpx.Client(verify=_context(site)) as caller:
        answer = caller.get(f"https://{site.tier.address}{BASE}")
    assert (answer.status_code, answer.json()["code"]) == (503, StatusCode.UNAVAILABLE.value[0])
    with client(site.tier.address, site.secured) as caller, pytest.raises(Unavailable) as raised:
        caller.assignments.list(limit=1).page(1)
    assert answer.json()["message"] in str(raised.value)


def _context(site: Site) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=site.secured.authority.decode())


def _assert_ids_count_everywhere(site: Site) -> None:
    """Check that a create with one id, on each machine, is one create."""
    headers = {"authorization": f"Bearer {site.secured.key}", "idempotency-key": "once"}
    with httpx.Client(verify=_context(site), headers=headers) as caller:
        answers = [
            caller.post(
                f"https://{machine.address}{BASE}",
                json=PEOPLE | {"mentee_id": "once"},
                extensions={"sni_hostname": MACHINES},
            )
            for machine in site.machines
        ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["assignment_id"] for answer in answers}) == 1


def _assert_the_page_of_the_api_comes_through(site: Site) -> None:
    """Check that the page, and what it is made of, is that of the machines, whichever answers."""
    page = ROOT / "gateway/docs_page"
    with httpx.Client(verify=_context(site), base_url=f"https://{site.tier.address}") as caller:
        assert caller.get("/docs").content == (page / "index.html").read_bytes()
        script = caller.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-encoding"] == "gzip"
    assert script.content == gzip.decompress((page / "swagger-ui-bundle.js.gz").read_bytes())


def test_the_tier_repeats_what_is_safe_to_repeat() -> None:
    """By what the protos declare; ids count on all machines."""
    (listener,) = yaml.safe_load(FILE.read_text())["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = {each["name"]: each for each in manager["route_config"]["virtual_hosts"][0]["routes"]}
    repeated = [name for name, each in routes.items() if "retry_policy" in each["route"]]
    assert repeated == ["reads", "grpc-reads", "updates", "grpc-updates", "creates"]

    def methods(name: str) -> set[str]:
        pattern = routes[name]["match"]["safe_regex"]["regex"]
        paths = [
            f"/{service.full_name}/{method.name}"
            for service in SERVICES
            for method in service.methods
        ]
        return {path for path in paths if re.fullmatch(pattern, path)}

    assert methods("grpc-reads") == idempotency.READS
    assert methods("grpc-updates") == idempotency.ALWAYS - idempotency.READS
    assert methods("creates") == idempotency.WITH_KEY
    assert routes["creates"]["match"]["headers"][1] == {
        "name": idempotency.KEY_HEADER,
        "present_match": True,
    }
    for name in ("updates", "grpc-updates"):
        (added,) = routes[name]["request_headers_to_add"]
        assert added["header"]["key"] == idempotency.KEY_HEADER
