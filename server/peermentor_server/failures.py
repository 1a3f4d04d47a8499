"""What ends a command of the command line."""


class CommandFailed(Exception):
    """Why a command cannot do its work, for the person who gave it."""
