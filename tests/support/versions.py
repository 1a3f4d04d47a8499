"""Other versions of the program: this one, with more migrations and with code that needs them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import peermentor_server
from peermentor_server.storage import schema

_ROOT = Path(__file__).parents[2]
_MIGRATION = '''
"""One more migration."""
from alembic import op

revision = "{revision}"
down_revision = "{previous}"


def upgrade():
    for statement in {statements}:
        op.execute(statement)
'''


class Version:
    """A version of the program, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        """Copy this version there."""
        self.directory = directory
        here = Path(peermentor_server.__file__).parent
        self._package = directory / "server" / here.name
        shutil.copytree(here, self._package)
        # What the gateway is made of lies beside the server.
        for name in ("envoy.yaml", "gateway", "protos", "docs"):
            (directory / name).symlink_to(_ROOT / name)
        self._newest = schema.NEWEST

    def add_migration(self, revision: str, statements: Sequence[str]) -> None:
        """Let these statements be the newest migration."""
        text = _MIGRATION.format(
            revision=revision, previous=self._newest, statements=list(statements)
        )
        (self._package / "storage/migrations/versions" / f"{revision}.py").write_text(text)
        self.edit("storage/schema.py", {f'NEWEST = "{self._newest}"': f'NEWEST = "{revision}"'})
        self._newest = revision

    def edit(self, file: str, changes: Mapping[str, str]) -> None:
        """Replace what stands once in a file of the server."""
        path = self._package / file
        text = path.read_text(encoding="utf-8")
        for before, after in changes.items():
            assert text.count(before) == 1, f"{file}: {before}"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """What lets commands be of this version."""
        return {"PYTHONPATH": str(self.directory / "server")}


class Installed:
    """A place where one version is installed, and later another one."""

    def __init__(self, place: Path, version: Version) -> None:
        self._place = place
        self.install(version)

    def install(self, version: Version) -> None:
        """Let what is started from now on be of this version."""
        new = self._place.with_suffix(".new")
        new.symlink_to(version.directory)
        new.replace(self._place)

    @property
    def environment(self) -> dict[str, str]:
        """What lets commands be of the version that is installed when they begin."""
        return {"PYTHONPATH": str(self._place / "server")}
