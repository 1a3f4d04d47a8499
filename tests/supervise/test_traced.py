"""`serve` with the variables OTEL_*, and what it costs without them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.commands import run
from support.otlp import Receiver, receiving
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import Running, serving, settings_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
# Nothing of the library is to be had in a process that finds this.
HIDDEN = 'import sys\nsys.modules["opentelemetry"] = None\n'
IMPORTED = """\
import sys, json
from peermentor_server import trace_export
from peermentor_server.cli import program
from peermentor_server.supervise import supervisor
from peermentor_server.rpc import worker
from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage import opening
settings = Settings(database_url=sys.argv[1], grpc_address=Address("127.0.0.1", 0))
environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": sys.argv[2]} if len(sys.argv) > 2 else {}
app = App(settings, opening.open_database(settings), traces=trace_export.read(environment))
app.start()
app.stop()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@contextmanager
def traced(directory: Path, *, workers: int = 1, **variables: str) -> Iterator[Running]:
    """Run `serve` with variables of the standard."""
    environment = settings_for(f"sqlite:///{directory}/own.db", free_ports(3)) | {
        "PEERMENTOR_WORKERS": str(workers),
        "PEERMENTOR_LOG_FORMAT": "json",
        **variables,
    }
    with (directory / "log").open("w") as log, serving(environment, log) as running:
        yield running


def services(receiver: Receiver) -> set[str]:
    return {span.service for span in receiver.spans if span.trace_id == TRACE}


def logged(running: Running) -> list[dict[str, str]]:
    assert running.log is not None
    return [json.loads(line) for line in running.log.read_text().splitlines()]


def test_what_is_not_sent_yet_is_sent_at_the_end(tmp_path: Path) -> None:
    with receiving() as receiver:
        endpoint = receiver.url.removesuffix("/v1/traces")
        with traced(
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_SERVICE_NAME="mentoring",
            # Longer than this test takes.
            OTEL_BSP_SCHEDULE_DELAY="600000",
        ) as running:
            url = f"http://{running.rest}/api/v1/assignments"
            assert httpx.get(url, headers=SAMPLED, verify=NO_TLS).status_code == 200
            assert "mentoring" not in services(receiver)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
        assert "mentoring" in services(receiver)
        [call] = [line for line in logged(running) if line.get("trace_id") == TRACE]
        assert (call["event"], call["code"]) == ("call", "OK")


def test_without_the_extra_it_serves_and_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(HIDDEN)
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with traced(tmp_path, workers=2, PYTHONPATH=str(tmp_path / "hidden"), **endpoint) as running:
        url = f"http://{running.rest}/api/v1/assignments"
        assert httpx.get(url, headers=SAMPLED, verify=NO_TLS).status_code == 200
        lines = logged(running)
    [line] = [line for line in lines if line["event"] == "no traces"]
    assert line["level"] == "warning"
    assert line["reason"].endswith("pip install 'peermentor-server[otel]'")
    assert "trace_id" not in lines[-1]


def test_check_says_where_they_go_or_why_they_cannot(tmp_path: Path) -> None:
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3)) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"
    }
    done = run("check", **environment)
    assert done.returncode == 0, done.stderr
    assert "ok     traces: sent to http://127.0.0.1:9/v1/traces" in done.stdout
    done = run("check", **environment, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert done.returncode == 1
    assert "wrong  traces: OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf" in done.stderr


@pytest.mark.parametrize("is_on", [False, True])
def test_nothing_of_what_sends_traces_is_imported_unless_they_are_sent(
    tmp_path: Path, *, is_on: bool
) -> None:
    endpoint = ["http://127.0.0.1:9"] if is_on else []
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, f"sqlite:///{tmp_path}/own.db", *endpoint],
        capture_output=True,
        timeout=60,
        check=True,
    )
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"grpc", "sqlalchemy"} < imported
    assert ("opentelemetry" in imported) == is_on
    assert ("requests" in imported) == is_on
