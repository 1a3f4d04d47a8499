"""The benchmark, but for what needs wrk, h2load or FastAPI: make bench runs that."""

from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import chart, dataset, report
from bench.contestants import (
    FASTAPI,
    FASTAPI_ENVOY,
    NAMES,
    SERVICE_GRPC,
    SERVICE_REST,
    Contestant,
    Starter,
)
from bench.databases import Databases
from bench.fill_service import fill_service
from bench.measuring import Sample
from bench.processes import cpu_seconds
from bench.workloads import LAST_CONTACT, LIST, WORKLOADS, Plan, WrongAnswer
from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from support.ports import free_ports


def test_the_service_answers_every_call_from_the_rows_that_it_was_given(empty_url: str) -> None:
    fill_service(empty_url, dataset.FEWEST)
    (port,) = free_ports(1)
    settings = Settings(database_url=empty_url, grpc_address=Address("127.0.0.1", port))
    database = Database(empty_url)
    app = App(settings, database)
    app.start()
    try:
        service, plan = Contestant(SERVICE_GRPC, "grpc", port, ()), Plan(dataset.FEWEST)
        # Once more at the end: what is written changes no total.
        for workload in (*WORKLOADS, *WORKLOADS):
            key, body = plan.keys[-1], workload.body()
            answer = workload.read(service.ask(workload, key, body))
            plan.check(workload, key, body, answer)
    finally:
        app.stop()
        database.close()


def test_an_answer_that_is_wrong_is_found() -> None:
    plan = Plan(dataset.FEWEST)
    page = {"data": [{}] * 20, "pagination": {"total": plan.totals["list"]}}
    plan.check(LIST, 1, None, page)
    with pytest.raises(WrongAnswer):
        plan.check(LIST, 1, None, {**page, "pagination": {"total": plan.totals["overdue"]}})
    contact = {"assignment_id": "asgn_002", "mentee_name": "Åse Mentée 2"}
    with pytest.raises(WrongAnswer):
        plan.check(LAST_CONTACT, 2, LAST_CONTACT.body(), contact)


def test_the_floor_answers_over_grpc_and_through_the_transcoder(tmp_path: Path) -> None:
    with ExitStack() as stack:
        starter = Starter(stack, tmp_path, Databases(lambda: "", (), ""))
        direct, transcoded = starter.canned()
        for workload in WORKLOADS:
            found = workload.read(direct.ask(workload, 1, workload.body()))
            assert len(found.get("data", "1")) == (1 if workload.of_one else 20)
            assert b'"coordinator_id":"coordinator_1"' in transcoded.ask(
                workload, 1, workload.body()
            )
        assert 0 < cpu_seconds(direct.processes) < cpu_seconds(transcoded.processes)


def samples(us: dict[str, float]) -> list[Sample]:
    """Return three rounds of everything on both databases; what is not in `us` takes 100 us."""
    return [
        Sample(
            database=database,
            rows=rows,
            contestant=name,
            workload=workload.name,
            requests=1000,
            per_second=1000.0,
            p50_ms=2.0,
            p99_ms=4.0,
            server_us=us.get(name, 100.0) * factor * (1 if rows == 1000 else 1.5),
            database_us=0.0,
            generator_us=10.0,
            others_cores=0.1,
        )
        for database in ("sqlite", "postgresql")
        for rows in (1000, 100_000)
        for name in NAMES
        for workload in WORKLOADS
        for factor in (1, 9, 0.9)
    ]


def test_the_tables_say_where_the_service_loses() -> None:
    ahead = {SERVICE_GRPC: 90.0, FASTAPI: 100.0, SERVICE_REST: 300.0, FASTAPI_ENVOY: 200.0}
    text = report.tables(report.Results(samples(ahead)))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [SERVICE_GRPC, "90", "90", "90", "90"] in lines
    assert [f"CPU: {SERVICE_GRPC} / {FASTAPI}", *["0.90"] * 4] in lines
    assert [f"CPU: {SERVICE_REST} / {FASTAPI_ENVOY}", *["**1.50**"] * 4] in lines
    assert [f"PostgreSQL, {FASTAPI}", *["1.50"] * 4] in lines


def test_the_readme_keeps_what_stands_around_the_last_full_run(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    report.write_into(readme, "new\n")
    assert readme.read_text() == f"before\n{report.BEGIN}new\n{report.END}after\n"
    ours = Path(report.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert ours.count(report.BEGIN) == ours.count(report.END) == 1


def test_the_chart_has_a_bar_for_every_median() -> None:
    drawn = chart.draw(report.Results(samples({FASTAPI: 50.0})))
    picture = ET.fromstring(drawn)  # noqa: S314 - our own
    bars = [each for each in picture.findall(".//{*}rect") if each.get("height") != "10"]
    assert len(bars) == 2 * len(NAMES) * len(WORKLOADS)
    widths = sorted(float(each.get("width", "")) for each in bars)
    assert widths[0] * 2 == pytest.approx(widths[-1], rel=0.01)
