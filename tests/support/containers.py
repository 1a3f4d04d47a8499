"""What an engine for containers does, where there is none: a first process, nearly shut in.

It has the files of this machine, which it can only read, and its network.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import psutil

from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_SCRIPT = Path(__file__).with_name("container.sh")
# Who runs in there is another user, who has no privileges, and whose files are those of ours.
_NAMESPACES = (
    *("unshare", "--user", "--map-user=65532", "--map-group=65532", "--keep-caps"),
    *("--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
)


@dataclass(frozen=True)
class Image:
    """What an engine knows of the project's image."""

    root: Path
    """Its files: those of this machine, if it has not been built."""
    environment: dict[str, str]
    directory: str
    """In which it runs."""
    user: str
    entrypoint: list[str]
    command: list[str]
    """What it is given, if nothing else."""
    health_check: list[str]
    patience_s: int
    """For how long its health need not be good yet."""

    @classmethod
    def of_project(cls, root: Path = Path("/")) -> Self:
        """Read it in the Containerfile."""
        text = (ROOT / "deploy/container/Containerfile").read_text()
        stage = text.rpartition("\nFROM ")[2].replace("\\\n", " ")
        last = dict(re.findall(r"^([A-Z]+) +(.*)$", stage, re.MULTILINE))
        variables = last["ENV"].replace("$PATH", os.environ["PATH"]).split()
        options, _, health_check = last["HEALTHCHECK"].partition(" CMD ")
        [patience] = re.findall(r"--start-period=(\d+)s", options)
        return cls(
            root,
            dict(each.split("=", 1) for each in variables),
            last["WORKDIR"],
            last["USER"],
            json.loads(last["ENTRYPOINT"]),
            json.loads(last["CMD"]),
            json.loads(health_check),
            int(patience),
        )

    @property
    def is_built(self) -> bool:
        """Tell whether it has files of its own."""
        return self.root != Path("/")


class Contained:
    """A first process."""

    def __init__(self, unshare: "subprocess.Popen[bytes]", environment: Mapping[str, str]) -> None:
        self._unshare, self._environment = unshare, environment

    def init(self) -> psutil.Process:
        """Return it, as it is seen from outside."""
        [child] = psutil.Process(self._unshare.pid).children()
        return child

    def runs(self, command: Sequence[str]) -> bool:
        """Run a command beside it, and tell whether that succeeded."""
        return self.run(command).returncode == 0

    def run(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a command beside it, in the same environment."""
        where = ["--user", "--preserve-credentials", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            ["nsenter", f"--target={self.init().pid}", *where, "--", *command],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.init().send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit status."""
        return self._unshare.wait(timeout=60)


@contextmanager
def built() -> Iterator[Image]:
    """Build the image, which takes minutes, and have its files until the end of the block."""
    # Not in pytest's own directory, of which it keeps some.
    with TemporaryDirectory(prefix="peermentor-image-") as directory:
        command = ["sh", str(_SCRIPT.with_name("build_image.sh")), directory]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=1800)
        yield Image.of_project(Path(done.stdout.strip()))


@contextmanager
def contained(
    image: Image,
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *places: str,
) -> Iterator[Contained]:
    """Run a command of the image until the end of the block, logging into a file.

    `places` are files and directories in the container, SOURCE:TARGET, or SOURCE:TARGET:rw.
    """
    # What an image that has been built has of its own.
    ours = [] if image.is_built else [f"{ROOT}:{ROOT}", f"{ROOT}/.venv:/opt/peermentor"]
    where = [str(image.root), image.directory]
    inside = [*image.entrypoint, *command]
    own = {**image.environment, **environment}
    with log.open("wb") as output:
        unshare = subprocess.Popen(
            [*_NAMESPACES, "sh", str(_SCRIPT), *where, *ours, *places, "--", *inside],
            env=own,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: bool(psutil.Process(unshare.pid).children()), 20)
        yield Contained(unshare, own)
    finally:
        # With it goes all that it holds.
        unshare.kill()
        unshare.communicate()
