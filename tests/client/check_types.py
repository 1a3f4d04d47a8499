"""What type checkers see of the client: `make check` runs this, with the other checks of types."""

import subprocess
import sys
from pathlib import Path

from support.tours import tour_blocks

MISTAKES = {
    "Client().assignments.create(mentee='x')": "mentee",
    "Client().assignments.create(mentee_id='x')": "call-arg",
    "Client().assignments.list(org_id=7)": "arg-type",
    "Client().assignments.list(status='late')": "arg-type",
    "x: int = Client().templates.get('a').name": 'expression has type "str"',
}


def test_mypy_sees_mistakes(tmp_path: Path) -> None:
    program = ["from peermentor import Client", *MISTAKES]
    (tmp_path / "program.py").write_text("\n".join(program))
    done = check_types(tmp_path / "program.py", tmp_path)
    assert done.returncode == 1
    for line, complaint in enumerate(MISTAKES.values(), 2):
        found = [
            text for text in done.stdout.splitlines() if text.startswith(f"program.py:{line}:")
        ]
        assert any(complaint in text for text in found), line


def check_types(file: Path, directory: Path) -> "subprocess.CompletedProcess[str]":
    return run_checker(directory, "mypy", "--strict", "--config-file=", file.name)


def run_checker(directory: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_the_tour_is_clean_for_strict_type_checkers(tmp_path: Path) -> None:
    (tmp_path / "tour.py").write_text("\n".join(tour_blocks()))
    done = check_types(tmp_path / "tour.py", tmp_path)
    assert done.returncode == 0, done.stdout
    done = check_by_pyright(tmp_path)
    assert done.returncode == 0, done.stdout


def test_pyright_sees_mistakes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from peermentor import Client\nClient().assignments.list(status='late')"
    )
    done = check_by_pyright(tmp_path)
    assert done.returncode == 1
    assert "reportArgumentType" in done.stdout


def check_by_pyright(directory: Path) -> "subprocess.CompletedProcess[str]":
    (directory / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    return run_checker(directory, "basedpyright", "--pythonpath", sys.executable)
