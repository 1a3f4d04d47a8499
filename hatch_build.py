"""What peermentor-server depends on: the packages that pyproject.toml lists, and its own client."""

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class SameVersion(MetadataHookInterface):
    """Asks for the client of the server's own version, whose messages the server reads."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the client to the dependencies."""
        client = f"peermentor=={metadata['version']}"
        metadata["dependencies"] = [*self.config["dependencies"], client]
