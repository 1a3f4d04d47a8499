"""Who calls, and what they may do and see."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from peermentor_server.rules.errors import OrganizationForbidden


class Permission(IntEnum):
    """What credentials allow; each includes those before it. See options.proto."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Wall:
    """The organisations whose data somebody may see and change; None for all of them."""

    organizations: frozenset[str] | None = None

    def holds(self, org_id: str) -> bool:
        """Tell whether what belongs to this organisation is inside."""
        return self.organizations is None or org_id in self.organizations

    def require(self, org_id: str) -> None:
        """Raise OrganizationForbidden for an organisation that is not inside."""
        if not self.holds(org_id):
            raise OrganizationForbidden


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, by whatever credentials."""

    subject: str
    """By what name logs know them, and whose request ids are theirs."""
    permission: Permission
    wall: Wall


EVERYWHERE = Wall()
"""Around all organisations."""
NOBODY = Principal("", Permission.NONE, Wall(frozenset()))
"""Until it is known who calls."""
ANYONE = Principal("", Permission.ADMIN, EVERYWHERE)
"""Whoever reaches the service, where it is open."""


NAMES: Mapping[str, Permission] = {each.name.lower(): each for each in Permission if each}
"""Permissions by their names, as commands and tokens have them."""
