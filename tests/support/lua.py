"""The gateway's Lua, in LuaJIT, without Envoy."""

from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime, lua_type

ROOT = Path(__file__).parents[2]


class Lua:
    """A state of its own, which finds the modules below a directory.

    Texts come and go as bytes, as they do in Envoy.
    """

    def __init__(self, root: Path = ROOT) -> None:
        state = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False)
        self._globals = state.globals()
        self._globals[b"package"][b"path"] = str(root / "?.lua").encode()

    def module(self, name: str) -> Any:
        """Return a module of gateway/."""
        return self._globals[b"require"](f"gateway.{name}".encode())

    def refusal(self, check: Any, *arguments: Any) -> dict[str, Any] | None:
        """Return what a check refuses with, or None."""
        done = self._globals[b"pcall"](check, *arguments)
        if done is True or done[0]:
            return None
        refusal = to_python(done[1])
        assert isinstance(refusal, dict), refusal
        return refusal


def contract(root: Path = ROOT) -> dict[str, Any]:
    """Return the tables that are generated from the protos."""
    tables = to_python(Lua(root).module("contract"))
    assert isinstance(tables, dict)
    return tables


def to_python(value: Any) -> Any:
    """Return bytes as text, a table as a list or a dict, and all else as it is."""
    if isinstance(value, bytes):
        return value.decode()
    if lua_type(value) != "table":
        return value
    if len(value):
        return [to_python(each) for each in value.values()]
    return {to_python(key): to_python(each) for key, each in value.items()}
