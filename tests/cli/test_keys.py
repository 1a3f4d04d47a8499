"""`keys create`, `keys list` and `keys revoke`."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from peermentor_server.access import keys
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import access_keys, assignments
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY
from support.commands import PROGRAM, run
from support.databases import url_of
from support.factories import STORED_ASSIGNMENT


def _run(database: Database, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("keys", *arguments, PEERMENTOR_DATABASE_URL=url_of(database))


def _create(database: Database, *arguments: str) -> str:
    made = _run(database, "create", *arguments)
    assert made.returncode == 0
    assert re.fullmatch("pmk_[0-9a-f]{16}_[0-9a-f]{64}\n", made.stdout)
    return made.stdout.strip()


def test_a_key_is_made_listed_and_revoked(own: Database) -> None:
    options = ["--permission", "write", "--expires", "90d", "--note", "nightly job"]
    first = _create(own, "--org", "org_2", "--org", "org_1", *options)
    second = _create(own, "--all-orgs")
    with own.read() as connection:
        made = {each.secret_hash: each for each in access_keys.all_keys(connection)}
    # Both of one second may come in either order.
    stored = [made.pop(keys.hashed(secret)) for secret in (first, second)]
    assert made == {}
    assert [each.organizations for each in stored] == [["org_1", "org_2"], None]
    assert [each.permission for each in stored] == ["write", "read"]
    lifetime = (stored[0].expires_at or stored[0].created_at) - stored[0].created_at
    assert (lifetime.days, stored[1].expires_at) == (90, None)

    listed = _run(own, "list").stdout
    assert re.search(r"valid +write +org_1 org_2 .* never +nightly job\n", listed)
    assert re.search(r"valid +read +all organisations .* never +never\n", listed)
    assert first[21:] not in listed

    # By its id, or as somebody found it.
    for key, named in ((first, first), (second, keys.id_of(second) or "")):
        result = _run(own, "revoke", named)
        assert result.returncode == 0
        assert f"revoked key {keys.id_of(key)} in {own.dialect}:" in result.stdout
        again = _run(own, "revoke", named)
        assert again.returncode == 1
        assert key[21:] not in result.stdout + result.stderr + again.stdout + again.stderr
    assert _run(own, "list").stdout.count("revoked") == 2


def test_whoever_mistypes_an_organisation_is_told_that_nothing_is_there(own: Database) -> None:
    with own.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, None, CONTRACT_DAY)
    known = _run(own, "create", "--org", STORED_ASSIGNMENT["org_id"])
    assert (known.returncode, known.stderr) == (0, "")
    mistyped = _run(own, "create", "--org", "org_03,org_04")
    assert mistyped.returncode == 0
    assert "the database has nothing of these organisations yet" in mistyped.stderr
    assert "org_03,org_04" in mistyped.stderr


def test_what_is_no_id_is_not_repeated(own: Database) -> None:
    for text in ("s3cret", "pmk_s3cret", f"{'0' * 16}s3cret"):
        result = _run(own, "revoke", text)
        assert result.returncode == 1
        assert "this is no id of a key; `keys list` has them" in result.stderr
        assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "say for whom the key is: either --org ID or --all-orgs"),
        (["--org", "a", "--all-orgs"], "say for whom the key is: either --org ID or --all-orgs"),
        (["--org", "a b"], "must be ASCII letters, digits and punctuation"),
        (["--all-orgs", "--permission", "all"], "invalid choice: 'all'"),
        (["--all-orgs", "--expires", "0d"], "must be a number of days from 1 to 9999"),
        (["--org", "*"], "is no organisation; --all-orgs stands for all"),
        (["--all-orgs", "--note", "a\nb"], "must not contain control characters"),
        (["--all-orgs", "--note", "a\u202eb"], "must be printable"),
    ],
)
def test_what_cannot_be_is_refused(own: Database, options: list[str], says: str) -> None:
    result = _run(own, "create", *options)
    assert result.returncode != 0
    assert says in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", [["create", "--all-orgs"], ["list"], ["revoke", "0" * 16]])
def test_no_file_is_made_for_keys(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "typo.db"
    result = run("keys", *command, PEERMENTOR_DATABASE_URL=f"sqlite:///{file}")
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: sqlite:///{file} holds no keys\n"
    assert not list(tmp_path.iterdir())


def test_a_key_that_nobody_can_see_is_told_of(own: Database) -> None:
    with Path("/dev/full").open("w") as full:
        made = subprocess.run(
            [PROGRAM, "keys", "create", "--all-orgs"],
            env=os.environ | {"PEERMENTOR_DATABASE_URL": url_of(own)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert made.returncode == 1
    assert "nobody sees the key that was made (No space left on device)" in made.stderr
