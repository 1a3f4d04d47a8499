"""The gateway's Lua, in LuaJIT, without Envoy."""

from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime, lua_type

ROOT = Path(__file__).parents[2]
# Where the tests of the modules leave which lines they have run, if that is set.
LINES_RUN = "LUA_LINES_RUN"

# Looks at the code of a file, and at that of each function in it.
WALK = b"""
local util = require("jit.util")
local function walk(code, look)
  look(code)
  for at = -1, -util.funcinfo(code).gcconsts, -1 do
    local constant = util.funck(code, at)
    if type(constant) == "proto" then walk(constant, look) end
  end
end
"""

# Returns the names of the globals that a file's functions read, and of those that they set.
GLOBALS_OF = (
    WALK
    + b"""
local bit = require("bit")
local function opcode_at(code, at) return bit.band(util.funcbc(code, at), 255) end
local example = loadstring("set = read")
local READ, SET = opcode_at(example, 1), opcode_at(example, 2)
local found = {[READ] = {}, [SET] = {}}
walk(assert(loadfile((...))), function(code)
  for at = 1, util.funcinfo(code).bytecodes - 1 do
    local names = found[opcode_at(code, at)]
    if names then
      local constant = -1 - bit.rshift(util.funcbc(code, at), 16)
      names[#names + 1] = util.funck(code, constant)
    end
  end
end)
return {read = found[READ], set = found[SET]}
"""
)

# Returns the lines on which there is code in a file.
LINES_OF = (
    WALK
    + b"""
local lines = {}
walk(assert(loadfile((...))), function(code)
  for at = 1, util.funcinfo(code).bytecodes - 1 do
    lines[util.funcinfo(code, at).currentline] = true
  end
end)
return lines
"""
)

# Notes from now on which lines are run, and returns where: by source, and then by line.
NOTE_LINES = b"""
jit.off()
local seen = {}
debug.sethook(function(_, line)
  local source = debug.getinfo(2, "S").source
  seen[source] = seen[source] or {}
  seen[source][line] = true
end, "l")
return seen
"""


class Lua:
    """A state of its own, which finds the modules below a directory.

    Texts come and go as bytes, as they do in Envoy.
    """

    def __init__(self, root: Path = ROOT) -> None:
        state = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False)
        self._globals = state.globals()
        self._globals[b"package"][b"path"] = str(root / "?.lua").encode()
        self._run: Any = {}

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

    def globals_of(self, file: Path) -> dict[str, set[str]]:
        """Return the globals that a file reads, and those that it sets; it is not run."""
        find = self._globals[b"loadstring"](GLOBALS_OF)
        names = to_python(find(str(file).encode()))
        return {how: set(names[how]) for how in ("read", "set")}

    def lines_of(self, file: Path) -> set[int]:
        """Return the lines of a file on which there is code."""
        return set(self._globals[b"loadstring"](LINES_OF)(str(file).encode()))

    def note_lines(self) -> None:
        """Note from now on which lines are run."""
        self._run = self._globals[b"loadstring"](NOTE_LINES)()

    def lines_run(self) -> dict[str, list[int]]:
        """Return the lines that have been run since, by the names of their files."""
        return {
            Path(source.decode()).name: sorted(lines)
            for source, lines in self._run.items()
            if source.startswith(b"@")
        }


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
