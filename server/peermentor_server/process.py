"""This process itself: where it imports from, its standard streams, its garbage.

`__main__` calls it before it imports anything that Python has not imported already.
"""

import gc
import io
import os
import sys


def prepare() -> None:
    """Import nothing from the working directory, and be safe to print whatever it is."""
    # To import makes objects by the hundred thousand, and they stay. With the usual 700, Python
    # looks for garbage among them again and again: a tenth of a worker's start.
    gc.set_threshold(50_000)
    _leave_out_working_directory()
    _open_standard_streams()
    for stream in _streams():
        # Not every character has a place in every encoding.
        stream.reconfigure(errors="backslashreplace")


def keep_all() -> None:
    """Look for no garbage among all that there is by now: it stays until the end."""
    gc.freeze()


def flush_streams() -> None:
    """Write what was printed; when nobody can take it, let it go without a word."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            # Python tries again at its end, and would complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _streams() -> list[io.TextIOWrapper]:
    # Something else is in their place where tests run a command themselves.
    return [each for each in (sys.stdout, sys.stderr) if isinstance(each, io.TextIOWrapper)]


def _leave_out_working_directory() -> None:
    """Take it off the import path of this process and of those that it starts."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if path := os.environ.pop("PYTHONPATH", ""):
        kept = [entry for entry in path.split(os.pathsep) if not _is_here(entry)]
        os.environ |= {"PYTHONPATH": os.pathsep.join(kept)} if kept else {}
    # What stands before the standard library comes from PYTHONPATH, or from how Python was
    # started; the rest is installed.
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib may be a file that lies here
    end = sys.path.index(library) if library in sys.path else len(sys.path)
    sys.path[:end] = [entry for entry in sys.path[:end] if not _is_here(entry)]


def _is_here(entry: str) -> bool:
    """Tell whether this is the working directory, and not where this program is installed."""
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # It has been removed.
        return entry in {"", os.curdir}
    installed = os.path.realpath(os.path.join(__file__, "..", ".."))  # noqa: PTH118
    return os.path.realpath(entry or os.curdir) == here != installed


def _open_standard_streams() -> None:
    """Let what was closed lead nowhere, so that no file of ours gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
