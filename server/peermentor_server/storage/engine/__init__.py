"""How the databases are reached, and what is not the same with each."""

from sqlalchemy import Connection

__all__ = ["Connection"]
