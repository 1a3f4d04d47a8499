"""An installed wheel carries the gateway along."""

import subprocess
import sys
import zipfile
from pathlib import Path

from support.lua import ROOT

PROGRAM = """
import subprocess, sys
from pathlib import Path
from peermentor_server.supervise import gateway
from peermentor_server.settings import Address, Settings

here = Path(sys.argv[1])
assert Path(gateway.__file__).is_relative_to(here), gateway.__file__
file = gateway.write_configuration(here, Settings(), [Address("127.0.0.1", 50051)])
assert str(here / "peermentor_server/gateway_files/?.lua") in file.read_text()
subprocess.run([*gateway.command(file), "--mode", "validate"], check=True)
"""


def test_envoy_runs_the_gateway_of_a_wheel(tmp_path: Path) -> None:
    """Validating loads the Lua, the descriptors and the page /docs, wherever one is by then."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # What is not ours comes with its licence.
    page = tmp_path / "peermentor_server/gateway_files/gateway/docs_page"
    assert page.joinpath("LICENSE").read_text().split() == (ROOT / "LICENSE").read_text().split()
    assert "SmartBear Software" in page.joinpath("NOTICE").read_text()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd="/",
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
