"""The file that says for whom client certificates stand."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from peermentor_server.access import subjects
from peermentor_server.rules.principals import Permission, Principal, Wall


def written(tmp_path: Path, text: str) -> Path:
    """Return a file with this text."""
    file = tmp_path / "subjects.toml"
    file.write_text(text)
    return file


def test_it_says_what_each_may_do_and_see(tmp_path: Path) -> None:
    found = subjects.read(
        written(
            tmp_path,
            '["CN=a"]\npermission = "read"\norgs = ["org_1", "org_2"]\n'
            '["CN=b,O=c"]\npermission = "admin"\nall_orgs = true\n',
        )
    )
    some = Wall(frozenset({"org_1", "org_2"}))
    assert found == {
        "CN=a": Principal("certificate:CN=a", Permission.READ, some),
        "CN=b,O=c": Principal("certificate:CN=b,O=c", Permission.ADMIN, Wall()),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[", "at end of document"),
        ("x = " + "[" * 5000, "is nested too deeply"),
        ('"CN=a" = 1', "can have permission, and orgs or all_orgs"),
        ('["CN=a"]\npermission = "read"\norg = "org_1"', "can have permission"),
        ('["CN=a"]\nall_orgs = true', "permission must be read, write, admin"),
        ('["CN=a"]\npermission = "none"\nall_orgs = true', "permission must be"),
        ('["CN=a"]\npermission = "read"', "must have orgs, a list of ids, or all_orgs = true"),
        ('["CN=a"]\npermission = "read"\norgs = []', "must have orgs"),
        ('["CN=a"]\npermission = "read"\norgs = "org_1"', "must have orgs"),
        ('["CN=a"]\npermission = "read"\norgs = ["a b"]', "must have orgs"),
        ('["CN=a"]\npermission = "read"\norgs = ["a"]\nall_orgs = true', "must have orgs"),
        ('["CN=a"]\npermission = "read"\nall_orgs = 1', "must have orgs"),
    ],
)
def test_what_is_wrong_with_it_is_said(tmp_path: Path, text: str, told: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(subjects.Unusable) as raised:
        subjects.read(file)
    assert str(raised.value).startswith(f"PEERMENTOR_TLS_CLIENT_SUBJECTS: {file}: ")
    assert told in str(raised.value)


def test_a_file_that_names_nobody_is_taken_and_told(tmp_path: Path) -> None:
    file = written(tmp_path, '["CN=a"]\npermission = "read"\nall_orgs = true\n')
    known = subjects.Subjects(file)
    assert known.find("CN=a")
    written(tmp_path, "")
    with capture_logs() as lines:
        known.update()
        known.update()
    assert known.find("CN=a") is None
    assert [line["event"] for line in lines] == ["no subjects of certificates left"]
