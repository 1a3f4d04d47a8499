"""Settings: defaults, what is refused and how, and that README.md lists them all."""

import os
import re
from pathlib import Path

import pytest

from peermentor_server import settings
from peermentor_server.settings import Address, InvalidSettings, Settings

README = Path(__file__).parents[1] / "README.md"


def test_every_setting_has_a_default() -> None:
    loaded = settings.load()
    assert loaded.database_url == "sqlite:///peermentor.db"
    assert str(loaded.grpc_address) == "127.0.0.1:50051"
    assert str(loaded.rest_address) == "127.0.0.1:8080"
    assert str(loaded.admin_address) == "127.0.0.1:9901"
    assert loaded.overdue_after_days == 14
    assert loaded.cors_origins == ()
    assert (loaded.log_level, loaded.log_format) == ("info", "auto")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERMENTOR_GRPC_ADDRESS", "[::1]:7000")
    monkeypatch.setenv("PEERMENTOR_REST_ADDRESS", "localhost:7001")
    monkeypatch.setenv("PEERMENTOR_OVERDUE_AFTER_DAYS", "30")
    monkeypatch.setenv("PEERMENTOR_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    loaded = settings.load()
    assert str(loaded.grpc_address) == "[::1]:7000"
    assert str(loaded.rest_address) == "127.0.0.1:7001"
    assert loaded.overdue_after_days == 30
    assert loaded.cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "peermentor.db"),
        ("DATABASE_URL", "mysql://user:secret@host/name"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite://host/own.db"),
        ("DATABASE_URL", "sqlite:///own.db?mode=ro"),
        ("GRPC_ADDRESS", "50051"),
        ("GRPC_ADDRESS", "example.org:50051"),
        ("REST_ADDRESS", "127.0.0.1"),
        ("REST_ADDRESS", "127.0.0.1:"),
        ("REST_ADDRESS", "127.0.0.1:0"),
        ("REST_ADDRESS", "127.0.0.1:65536"),
        ("REST_ADDRESS", "127.0.0.1:+80"),
        ("ADMIN_ADDRESS", "127.0.0.1:http"),
        ("OVERDUE_AFTER_DAYS", "0"),
        ("OVERDUE_AFTER_DAYS", "two weeks"),
        ("OVERDUE_AFTER_DAYS", "3651"),
        ("REST_HOSTS", "api.example.org:8080"),
        ("REST_HOSTS", "https://api.example.org"),
        ("REST_HOSTS", "*"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.example.org"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("CORS_ORIGINS", "https://app.example.org?x"),
        ("CORS_ORIGINS", "https://user@app.example.org"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PEERMENTOR_{name}", value)
    with pytest.raises(InvalidSettings, match=rf"^PEERMENTOR_{name}: \w+") as refused:
        settings.load()
    assert "secret" not in str(refused.value)


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERMENTOR_REST_ADDRESS", "nowhere")
    monkeypatch.setenv("PEERMENTOR_LOG_LEVEL", "loud")
    with pytest.raises(InvalidSettings) as refused:
        settings.load()
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "PEERMENTOR_REST_ADDRESS",
        "PEERMENTOR_LOG_LEVEL",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@/name?host=db1:5432&host=db2:5432",
        "postgresql://user@/name?host=/run/a&host=/run/b&connect_timeout=5",
    ],
)
def test_a_database_may_be_on_several_hosts(url: str) -> None:
    assert Settings(database_url=url).database_url == url


def test_addresses_must_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERMENTOR_REST_ADDRESS", "127.0.0.1:50051")
    with pytest.raises(InvalidSettings, match=r"PEERMENTOR_GRPC_ADDRESS, .* must differ"):
        settings.load()


def test_an_address_everywhere_takes_the_port_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERMENTOR_GRPC_ADDRESS", "0.0.0.0:8080")
    with pytest.raises(InvalidSettings, match=r"PEERMENTOR_GRPC_ADDRESS, .* must differ"):
        settings.load()


def test_variables_that_only_look_like_settings_are_found() -> None:
    names = ["PEERMENTOR_REST_ADRESS", "PEERMENTOR_REST_ADDRESS", "HOME"]
    assert settings.unknown(names) == ["PEERMENTOR_REST_ADRESS"]


def test_settings_never_show_the_password() -> None:
    loaded = Settings(database_url="postgresql://user:secret@host/name")
    assert "secret" not in repr(loaded)


@pytest.mark.parametrize(
    ("address", "reached_at"),
    [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")],
)
def test_an_unspecified_address_is_reached_by_loopback(address: str, reached_at: str) -> None:
    assert str(Address.parse(address).to_connect) == reached_at


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(
        r"^\| `(PEERMENTOR_\w+)` \| `?([^|`]*)`? \|", README.read_text(), re.MULTILINE
    )
    defaults = {
        f"PEERMENTOR_{name.upper()}": _shown(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == defaults


def _shown(default: object) -> str:
    if default is None:
        # The one that depends on another setting.
        return "1 on SQLite, on PostgreSQL one for each core"
    return "none" if default == () else str(default)


def test_the_number_of_workers_follows_the_database() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Settings().worker_count == 1
    assert Settings(database_url="postgresql://127.0.0.1/name").worker_count == cores
    assert Settings(database_url="postgresql://127.0.0.1/name", workers=3).worker_count == 3
    assert Settings(workers=3).worker_count == 3
