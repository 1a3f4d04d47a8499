"""`config`: the settings in effect, where each is from, and no secret."""

import json
import os
import re
from pathlib import Path

import pytest

from peermentor_server import settings
from peermentor_server.cli import effective
from peermentor_server.settings import DATABASE_URL_FILE, Settings, variable
from support.commands import run

PRIVATE = "tell-nobody"
# A value for each way in which a secret setting can hold a secret.
SECRETS = {
    "database_url": [
        f"postgresql://peermentor:{PRIVATE}@127.0.0.1/peermentor",
        f"postgres://:{PRIVATE}@127.0.0.1/peermentor?application_name=x",
        f"postgresql+psycopg://peermentor:{PRIVATE}@/peermentor?host=127.0.0.1:1&host=127.0.0.1:2",
        f"postgresql://127.0.0.1/peermentor?user=peermentor&password={PRIVATE}",
        f"postgresql://127.0.0.1/peermentor?pass%77ord={PRIVATE}&sslpassword={PRIVATE}",
    ]
}


def lines(text: str) -> dict[str, tuple[str, str]]:
    """Return source and value of each setting."""
    found = re.findall(
        r"^(PEERMENTOR_\w+) +(default|environment|file \S+) +(.+)$", text, re.MULTILINE
    )
    assert len(found) == len(text.splitlines())
    return {name: (source, value) for name, source, value in found}


def test_every_setting_has_a_line() -> None:
    result = run("config")
    assert (result.returncode, result.stderr) == (0, "")
    found = lines(result.stdout)
    assert list(found) == [variable(name) for name in Settings.model_fields]
    here = Path.cwd()
    assert found["PEERMENTOR_DATABASE_URL"] == ("default", f"sqlite:///{here}/peermentor.db")
    assert found["PEERMENTOR_TLS_KEY"] == ("default", "none")
    assert found["PEERMENTOR_JWT_ALGORITHMS"] == ("default", "RS256, ES256, EdDSA")


def test_each_column_begins_at_one_place() -> None:
    result = run("config", PEERMENTOR_LOG_LEVEL="debug")
    places = {
        tuple(found.start() for found in re.finditer(r"(?<=  )\S", line))[:2]
        for line in result.stdout.splitlines()
    }
    assert len(places) == 1


def test_what_is_given_is_told_as_it_is_taken(tmp_path: Path) -> None:
    given = {
        "PEERMENTOR_DATABASE_URL": "postgresql://127.0.0.1/peermentor",
        "PEERMENTOR_REST_ADDRESS": "localhost:7001",
        "PEERMENTOR_METRICS_ADDRESS": "OFF",
        "PEERMENTOR_CORS_ORIGINS": "https://a.example,https://b.example",
        "PEERMENTOR_LOG_LEVEL": " DEBUG",
        "PEERMENTOR_LOG_FORMAT": " ",
        "PEERMENTOR_ACCESS": "required",
        "PEERMENTOR_JWT_AUDIENCE": "peer\nmentor",
        "PEERMENTOR_JWT_ISSUER": "https://a.example",
        "PEERMENTOR_JWT_KEYS": str(tmp_path / "keys.json"),
    }
    result = run("config", **given)
    assert (result.returncode, result.stderr) == (0, "")
    found = lines(result.stdout)
    assert found["PEERMENTOR_DATABASE_URL"] == ("environment", given["PEERMENTOR_DATABASE_URL"])
    assert found["PEERMENTOR_REST_ADDRESS"] == ("environment", "127.0.0.1:7001")
    assert found["PEERMENTOR_METRICS_ADDRESS"] == ("environment", "off")
    assert found["PEERMENTOR_CORS_ORIGINS"] == (
        "environment",
        "https://a.example, https://b.example",
    )
    assert found["PEERMENTOR_LOG_LEVEL"] == ("environment", "debug")
    assert found["PEERMENTOR_LOG_FORMAT"] == ("default", "auto")
    assert found["PEERMENTOR_WORKERS"] == ("default", str(len(os.sched_getaffinity(0))))
    assert found["PEERMENTOR_JWT_AUDIENCE"] == ("environment", '"peer\\nmentor"')


def test_programs_are_told_the_same(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{SECRETS['database_url'][0]}\n")
    given = {DATABASE_URL_FILE: str(file), "PEERMENTOR_WORKERS": "3"}
    result = run("config", "--json", **given)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["ok"]
    assert list(found["settings"]) == [variable(name) for name in Settings.model_fields]
    masked = "postgresql://peermentor:***@127.0.0.1/peermentor"
    assert found["settings"]["PEERMENTOR_DATABASE_URL"] == {
        "source": f"file {file}",
        "value": masked,
    }
    assert lines(run("config", **given).stdout)["PEERMENTOR_DATABASE_URL"] == (
        f"file {file}",
        masked,
    )
    assert found["settings"]["PEERMENTOR_WORKERS"] == {"source": "environment", "value": 3}
    assert found["settings"]["PEERMENTOR_JWT_ALGORITHMS"]["value"] == ["RS256", "ES256", "EdDSA"]
    assert found["settings"]["PEERMENTOR_TLS_KEY"] == {"source": "default", "value": None}


def test_there_is_a_secret_here_for_every_secret_setting() -> None:
    secret = {name for name, field in Settings.model_fields.items() if not field.repr}
    assert secret == SECRETS.keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in SECRETS.items() for value in values]
)
def test_no_secret_is_shown(name: str, value: str) -> None:
    environment = {variable(name): value}
    found = effective.all_of(settings.load(environment), environment)
    for shown in (effective.as_text(found), effective.as_json(found)):
        assert "***" in shown
        assert PRIVATE not in shown


def test_bad_settings_are_refused_as_by_all_commands() -> None:
    given = {"PEERMENTOR_WORKERS": "0", "PEERMENTOR_LOG_LEVLE": "debug"}
    refused, checked = (run(command, **given) for command in ("config", "check"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "PEERMENTOR_WORKERS: must be a whole number from 1 to 64" in refused.stderr
    assert refused.stderr == checked.stderr
    refused, checked = (run(command, "--json", **given) for command in ("config", "check"))
    assert (refused.returncode, refused.stdout) == (1, checked.stdout)
    assert not json.loads(refused.stdout)["ok"]
