"""Whether traces are sent, and where, by the standard variables."""

from pathlib import Path

import pytest

from peermentor_server import trace_export
from peermentor_server.trace_export import CannotTrace, TraceExport

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HERE = {ENDPOINT: "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: " "},
        {"OTEL_SERVICE_NAME": "own", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a:4318"},
        HERE | {"OTEL_SDK_DISABLED": "True"},
        HERE | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_they_are_off(environment: dict[str, str]) -> None:
    assert trace_export.read(environment) is None


def test_an_endpoint_switches_them_on() -> None:
    url = "http://127.0.0.1:4318/v1/traces"
    assert trace_export.read(HERE) == TraceExport(url=url, service="peermentor")
    assert trace_export.read({ENDPOINT: "http://127.0.0.1:4318/"}) == TraceExport(url=url)
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4000/otlp"}
    assert trace_export.read(HERE | own) == TraceExport(url="http://[::1]:4000/otlp")


def test_what_is_said_of_all_and_of_traces_alone_is_read() -> None:
    said = {
        ENDPOINT: "https://example.org/collector",
        "OTEL_SERVICE_NAME": "mentoring",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other, deployment.environment.name=test%20one",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=of%20all",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=a%3Db%25,x-tenant=1",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/cert.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key.pem",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    export = trace_export.read(said)
    assert export == TraceExport(
        url="https://example.org/collector/v1/traces",
        service="mentoring",
        share=0.25,
        headers={"api-key": "a=b%", "x-tenant": "1"},
        attributes={"deployment.environment.name": "test one"},
        authority="/ca.pem",
        certificate="/cert.pem",
        key="/key.pem",
    )
    assert "a=b" not in repr(export)


def test_a_receiver_with_tls_is_checked_by_the_usual_authorities() -> None:
    export = trace_export.read({ENDPOINT: "https://example.org"})
    assert export is not None
    assert "BEGIN CERTIFICATE" in Path(export.authority or "").read_text()


@pytest.mark.parametrize(
    ("sampler", "share"),
    [("always_on", 1), ("parentbased_always_off", 0), ("traceidratio", 1), ("unheard_of", 1)],
)
def test_how_many_are_sent_follows_the_sampler(sampler: str, share: float) -> None:
    export = trace_export.read(HERE | {"OTEL_TRACES_SAMPLER": sampler})
    assert export is not None
    assert export.share == share


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (ENDPOINT, "127.0.0.1:4318"),
        (ENDPOINT, "grpc://127.0.0.1:4317"),
        (ENDPOINT, "http://"),
        (ENDPOINT, "http://a:port"),
        (ENDPOINT, "http://user:secret@a:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/?key=secret"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret%0A"),
        ("OTEL_TRACES_SAMPLER_ARG", "secret"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_what_cannot_be_used_is_named_without_its_value(variable: str, value: str) -> None:
    environment = HERE | {"OTEL_TRACES_SAMPLER": "traceidratio", variable: value}
    with pytest.raises(CannotTrace) as refused:
        trace_export.read(environment)
    assert str(refused.value).startswith(f"{variable}: must be ")
    assert "secret" not in str(refused.value)
