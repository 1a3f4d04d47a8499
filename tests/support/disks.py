"""Disks under SQLite on which a test has a say: one whose power is cut, and one that is full.

SQLite reaches its files through a table of functions, which its C API gives out. Here those
that open, write, sync, truncate and delete pass by a Disk. What stays out of sight is the
file `-shm`: SQLite maps it into memory, and makes it anew after a crash.
"""

import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pysqlite3 import _sqlite3

SQLITE_OK, SQLITE_FULL = 0, 13
SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC = 778, 1034
# What a disk writes as a whole or not at all.
SECTOR = 512

Act = Callable[[], int]
"""Does what SQLite asks for, and returns SQLite's code of the result."""


class Disk:
    """Lets everything through. `name` is the full path of a file of SQLite's."""

    def write(self, _name: str, _offset: int, _data: bytes, act: Act) -> int:
        """Write."""
        return act()

    def truncate(self, _name: str, _size: int, act: Act) -> int:
        """Cut the end off."""
        return act()

    def sync(self, _name: str, act: Act) -> int:
        """Return when everything written so far would survive a power cut."""
        return act()

    def delete(self, _name: str, act: Act) -> int:
        """Delete."""
        return act()


class FailingDisk(Disk):
    """Fails, once told to, with the codes given: files no longer grow, nothing is synced."""

    def __init__(self, *, write_code: int = SQLITE_OK, sync_code: int = SQLITE_OK) -> None:
        self._write_code, self._sync_code = write_code, sync_code
        self.fails = False

    def write(self, name: str, offset: int, data: bytes, act: Act) -> int:
        """As on a full disk, what is there already may be overwritten."""
        grows = offset + len(data) > Path(name).stat().st_size
        return self._write_code or act() if self.fails and grows else act()

    def sync(self, _name: str, act: Act) -> int:
        """Sync."""
        return self._sync_code or act() if self.fails else act()


class Event(NamedTuple):
    """One thing that happened, in the order in which all happened."""

    what: str
    """`write`, `truncate`, `sync`, `delete`, or what a test noted itself."""
    name: str
    """The name of the file, without its directory; or what a test noted."""
    number: int = 0
    """Of a write the offset, of a truncate the size, of a sync how many events it covers."""
    data: bytes = b""


class RecordingDisk(Disk):
    """Keeps in mind everything that happens, and what a test notes in between."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, what: str, name: str) -> None:
        """Note that something has happened by now."""
        self.events.append(Event(what, name))

    def write(self, name: str, offset: int, data: bytes, act: Act) -> int:
        """Write, and remember it from before it began."""
        self.events.append(Event("write", Path(name).name, offset, data))
        return act()

    def truncate(self, name: str, size: int, act: Act) -> int:
        """Cut the end off, and remember it from before it began."""
        self.events.append(Event("truncate", Path(name).name, size))
        return act()

    def sync(self, name: str, _act: Act) -> int:
        """Remember that what came before is safe; the real disk has no part in it."""
        self.events.append(Event("sync", Path(name).name, len(self.events)))
        return SQLITE_OK

    def delete(self, name: str, act: Act) -> int:
        """Delete, and remember it."""
        self.events.append(Event("delete", Path(name).name))
        return act()


def after_power_cut(
    events: list[Event], chance: random.Random, survives: float
) -> dict[str, bytearray]:
    """Return the files as the disk holds them when the power is cut after these events.

    What was not synced survives sector by sector with this probability, in no order.
    """
    synced = {event.name: event.number for event in events if event.what == "sync"}
    files: dict[str, bytearray] = {}
    for index, event in enumerate(events):
        safe = index < synced.get(event.name, 0)
        if event.what == "delete":
            files.pop(event.name, None)
        elif event.what == "truncate" and (safe or chance.random() < survives):
            del files.setdefault(event.name, bytearray())[event.number :]
        elif event.what == "write":
            file = files.setdefault(event.name, bytearray())
            size = len(event.data) if safe else SECTOR
            for start in range(0, len(event.data), size):
                if safe or chance.random() < survives:
                    _put(file, event.number + start, event.data[start : start + size])
    return files


def _put(file: bytearray, offset: int, data: bytes) -> None:
    file.extend(bytes(max(0, offset - len(file))))
    file[offset : offset + len(data)] = data


# --- SQLite's table of functions ---

_pointer, _int, _int64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _pointer, _int, _pointer)
_DELETE = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int)
_WRITE = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, _int64)
_TRUNCATE = ctypes.CFUNCTYPE(_int, _pointer, _int64)
_SYNC = ctypes.CFUNCTYPE(_int, _pointer, _int)


class _Vfs(ctypes.Structure):
    """The beginning of struct sqlite3_vfs."""

    _fields_ = (
        ("iVersion", _int),
        ("szOsFile", _int),
        ("mxPathname", _int),
        ("pNext", _pointer),
        ("zName", _pointer),
        ("pAppData", _pointer),
        ("xOpen", _pointer),
        ("xDelete", _pointer),
    )


class _Methods(ctypes.Structure):
    """Struct sqlite3_io_methods."""

    _fields_ = (
        ("iVersion", _int),
        ("xClose", _pointer),
        ("xRead", _pointer),
        ("xWrite", _pointer),
        ("xTruncate", _pointer),
        ("xSync", _pointer),
        # What follows is only copied.
        ("others", _pointer * 13),
    )


class _File(ctypes.Structure):
    """The beginning of struct sqlite3_file."""

    _fields_ = (("pMethods", ctypes.POINTER(_Methods)),)


# Files that are open still call what was put there, after the block of passing_by().
_kept: list[Any] = []


@contextmanager
def passing_by(disk: Disk, directory: Path) -> Iterator[None]:
    """Let SQLite's files in this directory pass by the disk, if opened within the block."""
    vfs = _default_vfs()
    own_open, own_delete = vfs.xOpen, vfs.xDelete
    opened, deleted = _functions_of_vfs(disk, str(directory), own_open, own_delete)
    _kept.extend((opened, deleted))
    vfs.xOpen, vfs.xDelete = (ctypes.cast(each, _pointer).value for each in (opened, deleted))
    try:
        yield
    finally:
        vfs.xOpen, vfs.xDelete = own_open, own_delete


def _default_vfs() -> Any:
    find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype = ctypes.POINTER(_Vfs)
    return find(None).contents


def _functions_of_vfs(disk: Disk, directory: str, own_open: int, own_delete: int) -> Any:
    names: dict[int, str] = {}
    # A database and its log have different ones.
    methods: dict[int, _Methods] = {}
    really_open, really_delete = _OPEN(own_open), _DELETE(own_delete)

    def opened(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = really_open(vfs, name, file, flags, out)
        path = ctypes.string_at(name).decode() if name else ""
        if code == SQLITE_OK and path.startswith(directory):
            names[file] = path
            at = _File.from_address(file)
            own = ctypes.addressof(at.pMethods.contents)
            if own not in methods:
                methods[own] = _with_disk(disk, names, at.pMethods.contents)
            at.pMethods = ctypes.pointer(methods[own])
        return code

    def deleted(vfs: int, name: int, sync_directory: int) -> int:
        def act() -> int:
            return int(really_delete(vfs, name, sync_directory))

        path = ctypes.string_at(name).decode()
        return disk.delete(path, act) if path.startswith(directory) else act()

    return _OPEN(opened), _DELETE(deleted)


def _with_disk(disk: Disk, names: dict[int, str], own: _Methods) -> _Methods:
    really_write, really_truncate, really_sync = (
        _WRITE(own.xWrite),
        _TRUNCATE(own.xTruncate),
        _SYNC(own.xSync),
    )

    def write(file: int, data: int, size: int, offset: int) -> int:
        copied = ctypes.string_at(data, size)
        return disk.write(
            names[file], offset, copied, lambda: really_write(file, data, size, offset)
        )

    def truncate(file: int, size: int) -> int:
        return disk.truncate(names[file], size, lambda: really_truncate(file, size))

    def sync(file: int, flags: int) -> int:
        return disk.sync(names[file], lambda: really_sync(file, flags))

    functions = (_WRITE(write), _TRUNCATE(truncate), _SYNC(sync))
    ours = _Methods.from_buffer_copy(own)
    ours.xWrite, ours.xTruncate, ours.xSync = (
        ctypes.cast(each, _pointer).value for each in functions
    )
    _kept.extend((functions, ours))
    return ours
