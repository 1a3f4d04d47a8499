"""Runs a command beside a service of its own: `python with_service.py ACCESS COMMAND...`.

The service has the sample data, and ACCESS as its PEERMENTOR_ACCESS. The command finds its REST
address as `REST`, and a key for all its data as `KEY`. What ends the command ends this.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from peermentor_server.cli import sample_data
from support.databases import migrated
from support.keys import new_key
from support.ports import free_ports
from support.serving import serving, settings_for


def main(access: str, *command: str) -> int:
    """Return the status of the command."""
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/peermentor.db"
        with migrated(url) as database:
            sample_data.load(database)
            key = new_key(database)
        environment = settings_for(url, free_ports(3)) | {"PEERMENTOR_ACCESS": access}
        with Path(directory, "log").open("w") as log, serving(environment, log) as running:
            told = {"REST": f"http://{running.rest}", "KEY": key, "ACCESS": access}
            return subprocess.run(command, env=os.environ | told, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
