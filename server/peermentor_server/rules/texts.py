"""What is wrong with a text that a caller gives, if anything. Never repeats the text, but for an
id that names nothing.
"""

import re
import unicodedata

MAX_IDENTIFIER_LENGTH = 128
MAX_REQUEST_ID_LENGTH = 64
MAX_WORD_LENGTH = 64
MAX_NAME_LENGTH = 200
MAX_NOTES_LENGTH = 5_000
MAX_SHOWN_LENGTH = 40

_LINE_BREAKS_AND_TABS = frozenset("\t\n\r")
# Controls, what changes how others look, spaces of any width, and separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
# Letters and a symbol that are drawn as spaces.
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_REQUEST_ID = re.compile(r"[!-~]+")
_IDENTIFIER = re.compile(r"[!-.0-\[\]-~]+")


def problem(
    value: str, max_length: int, *, required: bool = False, one_line: bool = False
) -> str | None:
    """Check a free text; `one_line` refuses tabs and line breaks too."""
    allowed = frozenset() if one_line else _LINE_BREAKS_AND_TABS
    if required and _is_blank(value):
        return "is required and must not be blank"
    if len(value) > max_length:
        return f"must have at most {max_length} characters"
    if any(_is_control(character) and character not in allowed for character in value):
        return "must not contain control characters"
    return None


def new_name_problem(value: str) -> str | None:
    """Check a name that may be left out where another one is stored."""
    if _is_blank(value):
        return "must not be blank; leave it out to keep the stored name"
    return problem(value, MAX_NAME_LENGTH)


def optional_name_problem(value: str) -> str | None:
    """Check a name that may be left out, by an empty text."""
    if value and _is_blank(value):
        return "must not be blank; leave it empty for no name"
    return problem(value, MAX_NAME_LENGTH)


def identifier_problem(value: str) -> str | None:
    """Check an id that callers give: one that can stand in the path of a URL."""
    if not value.strip():
        return "is required and must not be blank"
    if len(value) > MAX_IDENTIFIER_LENGTH:
        return f"must have at most {MAX_IDENTIFIER_LENGTH} characters"
    if value in {".", ".."}:
        return "must not be . or .., which have a meaning in a URL"
    if not _IDENTIFIER.fullmatch(value):
        return "must be ASCII letters, digits and punctuation; no spaces, slashes or backslashes"
    return None


def request_id_problem(value: str) -> str | None:
    """Check the id that a caller gives a request."""
    if len(value) > MAX_REQUEST_ID_LENGTH:
        return f"must have at most {MAX_REQUEST_ID_LENGTH} characters"
    if not _REQUEST_ID.fullmatch(value):
        return "must be one or more printable ASCII characters, without spaces"
    return None


def shown_id(value: str) -> str:
    """Write an id of a caller's in a message: short, on one line, in ASCII."""
    short = value[:MAX_SHOWN_LENGTH]
    text = short if _IDENTIFIER.fullmatch(short) else ascii(short)
    return text if short == value else f"{text}..."


def _is_blank(value: str) -> bool:
    return all(
        unicodedata.category(character) in _INVISIBLE or character in _FILLERS
        for character in value
    )


def _is_control(character: str) -> bool:
    # Lone surrogates (Cs) are no characters, and no database stores them.
    return unicodedata.category(character) in {"Cc", "Cs"}
