"""Settings: defaults, what is refused and how, and that docs/operations.md lists them all."""

import os
import re
from pathlib import Path

import pytest

import peermentor
from peermentor_server import settings
from peermentor_server.settings import Address, InvalidSettings, Settings

OPERATIONS = Path(__file__).parents[1] / "docs/operations.md"


def given(**values: str) -> dict[str, str]:
    """Return an environment with these settings."""
    return {f"PEERMENTOR_{name}": value for name, value in values.items()}


def test_every_setting_has_a_default() -> None:
    loaded = settings.load({})
    assert loaded.database_url == "sqlite:///peermentor.db"
    assert str(loaded.grpc_address) == "127.0.0.1:50051"
    assert str(loaded.rest_address) == "127.0.0.1:8080"
    assert str(loaded.admin_address) == "127.0.0.1:9901"
    assert loaded.overdue_after_days == 14
    assert loaded.cors_origins == ()
    assert (loaded.log_level, loaded.log_format) == ("info", "auto")


def test_settings_come_from_an_environment() -> None:
    environment = given(
        GRPC_ADDRESS="[::1]:7000",
        REST_ADDRESS="localhost:7001",
        OVERDUE_AFTER_DAYS="30",
        CORS_ORIGINS="https://a.example, http://localhost:3000",
    )
    loaded = settings.load(environment)
    assert str(loaded.grpc_address) == "[::1]:7000"
    assert str(loaded.rest_address) == "127.0.0.1:7001"
    assert loaded.overdue_after_days == 30
    assert loaded.cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
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
        ("CORS_ORIGINS", "https://*.example.org"),
        ("CORS_ORIGINS", "https://ü.example.org"),
        ("CORS_ORIGINS", "https://App.example.org"),
        ("CORS_ORIGINS", "http://app.example.org:80"),
        ("CORS_ORIGINS", "https://app.example.org:443"),
        ("CORS_ORIGINS", "app.example.org"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("CORS_ORIGINS", "https://app.example.org?x"),
        ("CORS_ORIGINS", "https://user@app.example.org"),
        ("ACCESS", "closed"),
        ("JWT_ALGORITHMS", "none"),
        ("JWT_ALGORITHMS", "HS256"),
        ("JWT_ALGORITHMS", "RS256, HS512"),
        ("JWT_ALGORITHMS", ","),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_COUNTS", "yes"),
        ("DOCS_PAGE", "no"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"^PEERMENTOR_{name}: \w+") as refused:
        settings.load(given(**{name: value}))
    assert "secret" not in str(refused.value)


def test_refusals_are_in_words_of_our_own() -> None:
    values = {
        "WORKERS": "3.0",
        "OVERDUE_AFTER_DAYS": "9" * 5000,
        "GRPC_ADDRESS": "127.0.0.1:" + "9" * 5000,
        "REST_ADDRESS": "[::1",
        "ADMIN_ADDRESS": "[fe80::1%eth0]:9901",
        "CORS_ORIGINS": "https://a.example:http",
        "LOG_LEVEL": "loud",
        "LOG_FORMAT": "xml",
    }
    with pytest.raises(InvalidSettings) as refused:
        settings.load(given(**values))
    ip_address = "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"
    assert str(refused.value).splitlines() == [
        "PEERMENTOR_GRPC_ADDRESS: must end in a port from 1 to 65535, such as 127.0.0.1:8080",
        f"PEERMENTOR_REST_ADDRESS: {ip_address}",
        f"PEERMENTOR_ADMIN_ADDRESS: {ip_address}",
        "PEERMENTOR_WORKERS: must be a whole number from 1 to 64",
        "PEERMENTOR_OVERDUE_AFTER_DAYS: must be a whole number from 1 to 3650",
        (
            "PEERMENTOR_CORS_ORIGINS: must be origins as browsers send them, such as "
            "https://app.example.org: in lower case and punycode, without wildcard, path and "
            "default port"
        ),
        "PEERMENTOR_LOG_LEVEL: must be debug, info, warning or error",
        "PEERMENTOR_LOG_FORMAT: must be auto, console or json",
    ]


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_what_is_empty_is_not_set(empty: str) -> None:
    environment = given(**dict.fromkeys(map(str.upper, Settings.model_fields), empty))
    assert settings.load(environment) == Settings()


def test_words_may_be_in_any_case_and_have_blanks_around() -> None:
    environment = given(
        LOG_LEVEL="INFO",
        LOG_FORMAT="Json\n",
        WORKERS=" 3 ",
        DATABASE_URL="sqlite:///own.db\n",
    )
    loaded = settings.load(environment)
    assert (loaded.log_level, loaded.log_format, loaded.workers) == ("info", "json", 3)
    assert loaded.database_url == "sqlite:///own.db"
    assert settings.log_format(environment) == "json"


def test_settings_of_its_own_read_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERMENTOR_OVERDUE_AFTER_DAYS", "3")
    monkeypatch.setenv("PEERMENTOR_LOG_LEVEL", "loud")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PEERMENTOR_WORKERS=3\n")
    assert Settings() == Settings(overdue_after_days=14)
    assert settings.load({}) == Settings()


def test_a_refused_value_is_in_no_message() -> None:
    with pytest.raises(ValueError, match="database_url") as refused:
        Settings(database_url="mysql://user:secret@host/name")
    assert "secret" not in str(refused.value)


def test_all_bad_values_are_named_at_once() -> None:
    environment = given(REST_ADDRESS="nowhere", LOG_LEVEL="loud", ADMIN_ADDRESS="127.0.0.1:50051")
    with pytest.raises(InvalidSettings) as refused:
        settings.load(environment)
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "PEERMENTOR_REST_ADDRESS",
        "PEERMENTOR_GRPC_ADDRESS and PEERMENTOR_ADMIN_ADDRESS must differ",
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


def test_addresses_must_differ() -> None:
    with pytest.raises(
        InvalidSettings, match="GRPC_ADDRESS and PEERMENTOR_REST_ADDRESS must differ"
    ):
        settings.load(given(REST_ADDRESS="127.0.0.1:50051"))


def test_an_address_everywhere_takes_the_port_of_all() -> None:
    with pytest.raises(
        InvalidSettings, match="GRPC_ADDRESS and PEERMENTOR_REST_ADDRESS must differ"
    ):
        settings.load(given(ACCESS="open-everywhere", GRPC_ADDRESS="0.0.0.0:8080"))


@pytest.mark.parametrize("name", ["GRPC_ADDRESS", "REST_ADDRESS", "ADMIN_ADDRESS"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "[fd00::1]"])  # noqa: S104
def test_no_other_machine_is_let_in_by_accident(name: str, host: str) -> None:
    environment = given(**{name: f"{host}:7000"})
    with pytest.raises(InvalidSettings, match=rf"^PEERMENTOR_{name}: would let other machines in"):
        settings.load(environment)
    assert settings.load(environment | given(ACCESS="Open-Everywhere")).access == "open-everywhere"


def test_pages_that_ask_nobody_for_a_key_are_those_of_this_machine() -> None:
    both = {"TLS_CERTIFICATE": "cert.pem", "TLS_KEY": "key.pem", "ADMIN_ADDRESS": "0.0.0.0:7000"}
    with pytest.raises(InvalidSettings, match=r"^PEERMENTOR_ADMIN_ADDRESS: asks nobody for a key"):
        settings.load(given(ACCESS="required", **both))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_loopback_is_open(host: str) -> None:
    assert settings.load(given(REST_ADDRESS=f"{host}:7000")).access == "open"


def test_the_url_of_the_database_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    environment = {settings.DATABASE_URL_FILE: f" {file} "}
    file.write_text("sqlite:///of-a-file.db\n")
    assert settings.load(environment).database_url == "sqlite:///of-a-file.db"
    assert settings.unknown(environment) == []

    def refusal(**more: str) -> str:
        with pytest.raises(InvalidSettings) as raised:
            settings.load(environment | more)
        return str(raised.value)

    assert "must not be set along with" in refusal(PEERMENTOR_DATABASE_URL="sqlite:///a.db")
    file.write_text("postgresql://user:s3cret@host:port/")
    assert "s3cret" not in refusal()
    file.write_bytes(b"\xff")
    assert refusal() == f"PEERMENTOR_DATABASE_URL_FILE: {file} is no text in UTF-8"
    file.unlink()
    assert refusal() == f"PEERMENTOR_DATABASE_URL_FILE: {file}: no such file or directory"


TRUSTED = given(ACCESS="required", JWT_ISSUER="https://a.example", JWT_AUDIENCE="peermentor")


@pytest.mark.parametrize(
    "keys",
    [
        "keys.json",
        "/etc/peermentor/keys.json",
        "https://a.example/keys",
        "https://a.example:8443/keys?version=1",
        "http://127.0.0.1:8000/keys",
        "http://[::1]:8000/keys",
        "http://localhost/keys",
    ],
)
def test_keys_of_tokens_are_in_a_file_or_at_a_url(keys: str) -> None:
    loaded = settings.load(TRUSTED | given(JWT_KEYS=keys))
    assert (loaded.jwt_keys, loaded.jwt_issuer) == (keys, "https://a.example")
    assert loaded.jwt_algorithms == ("RS256", "ES256", "EdDSA")


@pytest.mark.parametrize(
    "keys",
    [
        "http://a.example/keys",
        "http://127.0.0.1.example/keys",
        "http://localhost.example/keys",
        "http://127.0.0.1@a.example/keys",
        "http://localhost:secret@127.0.0.1/keys",
        "https://user:secret@a.example/keys",
        "https://a.example:port/keys",
        "https://a.example/secret keys",
        "https://a.example/keys\r\nHost: b.example",
        "https://a.example/keys#secret",
        "https:///keys",
        "file:///etc/keys.json",
        "ftp://a.example/keys",
    ],
)
def test_keys_of_tokens_come_from_whom_they_should(keys: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^PEERMENTOR_JWT_KEYS: must be a file") as refused:
        settings.load(TRUSTED | given(JWT_KEYS=keys))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("missing", ["ISSUER", "AUDIENCE", "KEYS"])
def test_issuer_audience_and_keys_belong_together(missing: str) -> None:
    environment = TRUSTED | given(JWT_KEYS="keys.json") | given(**{f"JWT_{missing}": ""})
    with pytest.raises(InvalidSettings, match=r"^PEERMENTOR_JWT_ISSUER, .* or none of them$"):
        settings.load(environment)


@pytest.mark.parametrize("access", ["", "open", "open-everywhere"])
def test_nobody_believes_that_tokens_protect_what_is_open(access: str) -> None:
    environment = TRUSTED | given(JWT_KEYS="keys.json", ACCESS=access)
    with pytest.raises(InvalidSettings, match=r"^PEERMENTOR_JWT_KEYS: is of use only with"):
        settings.load(environment)


def test_variables_that_only_look_like_settings_are_found() -> None:
    names = ["PEERMENTOR_REST_ADRESS", "PEERMENTOR_REST_ADDRESS", "HOME", "peermentor_workers"]
    assert settings.unknown(names) == ["PEERMENTOR_REST_ADRESS", "peermentor_workers"]


def test_what_only_clients_read_is_known() -> None:
    """So that one environment may serve both."""
    client = Path(peermentor.__file__).parent
    names = {
        name
        for file in client.glob("*.py")
        for name in re.findall(r"\bPEERMENTOR_[A-Z_]+", file.read_text(encoding="utf-8"))
    }
    assert names == {"PEERMENTOR_ADDRESS", "PEERMENTOR_TOKEN", "PEERMENTOR_TOKEN_FILE"}
    assert settings.unknown(names) == []


def test_settings_never_show_the_password() -> None:
    loaded = Settings(database_url="postgresql://user:secret@host/name")
    assert "secret" not in repr(loaded)


@pytest.mark.parametrize(
    ("address", "reached_at"),
    [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "127.0.0.1:80"), ("10.0.0.1:80", "10.0.0.1:80")],
)
def test_an_unspecified_address_is_reached_by_loopback(address: str, reached_at: str) -> None:
    assert str(Address.parse(address).to_connect) == reached_at


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[0:0:0:0:0:0:0:0]:80", "[::]:80"),
        ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("localhost:080", "127.0.0.1:80"),
    ],
)
def test_an_address_has_one_spelling(written: str, read: str) -> None:
    assert str(Address.parse(written)) == read


@pytest.mark.parametrize("written", ["::1:80", "[127.0.0.1]:80", "[::1:80", "::1]:80", "[]:80"])
def test_only_ipv6_stands_in_brackets(written: str) -> None:
    with pytest.raises(ValueError, match="must be an IP address and a port"):
        Address.parse(written)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(
        r"^\| `(PEERMENTOR_\w+)` \| `?([^|`]*)`? \|", OPERATIONS.read_text(), re.MULTILINE
    )
    defaults = {
        f"PEERMENTOR_{name.upper()}": _shown(name, field.default)
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == defaults


def _shown(name: str, default: object) -> str:
    if name == "workers":
        # The one that depends on another setting.
        return "1 on SQLite, on PostgreSQL one for each core"
    if isinstance(default, tuple):
        default = ", ".join(default)
    return str(default or "none")


def test_the_number_of_workers_follows_the_database() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Settings().worker_count == 1
    assert Settings(database_url="postgresql://127.0.0.1/name").worker_count == cores
    assert Settings(database_url="postgresql://127.0.0.1/name", workers=3).worker_count == 3
    assert Settings(workers=3).worker_count == 3
