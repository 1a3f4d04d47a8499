"""Files of mentees' names: as spreadsheets write them, and every problem told by its line."""

from pathlib import Path

import pytest

from peermentor_server import mentee_file
from peermentor_server.mentee_file import InvalidFile

NO_IDENTIFIER = "must be of ASCII letters, digits and signs, without spaces, slashes or backslashes"
HEADER = "mentee_id,mentee_name\n"
KNOWN = {"user_088": "Bjørn Solberg"}
PRIVATE = "Bjørn Solberg"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file of names may be written."""
    return tmp_path / "mentees.csv"


def _read(file: Path, content: str) -> dict[str, str]:
    file.write_bytes(content.encode())
    return mentee_file.read(file)


def _refusal(file: Path, content: str | bytes) -> list[str]:
    """Read what has to be refused, and return the lines that say why."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidFile) as raised:
        mentee_file.read(file)
    assert PRIVATE not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value).splitlines()


# --- Files that are read ---


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "user_088,Bjørn Solberg\n",
        HEADER + "user_088,Bjørn Solberg",
        "\ufeff" + HEADER + "user_088,Bjørn Solberg\n",
        '\ufeff"mentee_id","mentee_name"\r\n"user_088","Bjørn Solberg"\r\n',
        "mentee_name,mentee_id\nBjørn Solberg,user_088\n",
        HEADER + "\n\nuser_088,Bjørn Solberg\n\n",
        HEADER + "user_088,  Bjørn Solberg \n",
        HEADER.replace("\n", "\r") + "user_088,Bjørn Solberg\r",
    ],
    ids=[
        "plain",
        "no last line break",
        "byte order mark",
        "quotes and CRLF",
        "swapped columns",
        "blank lines",
        "spaces around the name",
        "CR",
    ],
)
def test_a_name_is_read(file: Path, content: str) -> None:
    assert _read(file, content) == KNOWN


def test_a_name_may_hold_commas_and_quotes(file: Path) -> None:
    content = HEADER + 'user_088,"Solberg, Bjørn ""Bear"""\n'
    assert _read(file, content) == {"user_088": 'Solberg, Bjørn "Bear"'}


def test_names_keep_the_order_of_the_file(file: Path) -> None:
    assert list(_read(file, HEADER + "user_2,Ann\nuser_1,Bob\n")) == ["user_2", "user_1"]


def test_a_file_without_names_is_empty(file: Path) -> None:
    assert _read(file, HEADER) == {}


def test_two_mentees_may_have_one_name(file: Path) -> None:
    assert len(_read(file, HEADER + "user_1,Ann\nuser_2,Ann\n")) == 2


def test_names_may_be_as_long_as_over_the_api(file: Path) -> None:
    assert _read(file, f"{HEADER}user_1,{'å' * 200}\n") == {"user_1": "å" * 200}
    assert _refusal(file, f"{HEADER}user_1,{'å' * 201}\n") == [
        "line 2: mentee_name: must have at most 200 characters"
    ]


# --- Files that are refused ---


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n" + HEADER,
        "user_088,Bjørn Solberg\n",
        "mentee_id;mentee_name\nuser_088;Bjørn Solberg\n",
        "mentee_id\nuser_088\n",
        "mentee_id,mentee_name,phone\nuser_088,Bjørn Solberg,1\n",
        "mentee_id,mentee_id\nuser_088,Bjørn Solberg\n",
        "Mentee_ID,Mentee_Name\nuser_088,Bjørn Solberg\n",
    ],
    ids=[
        "empty",
        "blank first line",
        "no header",
        "semicolons",
        "one column",
        "three columns",
        "a column twice",
        "other case",
    ],
)
def test_the_first_line_must_name_the_two_columns(file: Path, content: str) -> None:
    assert _refusal(file, content) == ["line 1: must name the columns mentee_id and mentee_name"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("user_088", "must have 2 cells"),
        ("user_088,Solberg,Bjørn Solberg", "must have 2 cells"),
        ("user_088,", "mentee_name: is required and must not be blank"),
        ("user_088,  ", "mentee_name: is required and must not be blank"),
        (",Bjørn Solberg", "mentee_id: is required and must not be blank"),
        (
            "user 088,Bjørn Solberg",
            f"mentee_id: {NO_IDENTIFIER}",
        ),
        ("a/b,Bjørn Solberg", f"mentee_id: {NO_IDENTIFIER}"),
        (f"{'x' * 129},Bjørn Solberg", "mentee_id: must have at most 128 characters"),
        ("user_088,Bjørn Solberg\0", "mentee_name: must not contain control characters"),
        ("user\0088,Bjørn Solberg", f"mentee_id: {NO_IDENTIFIER}"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(file: Path, line: str, problem: str) -> None:
    assert _refusal(file, f"{HEADER}user_001,Ann\n{line}\n") == [f"line 3: {problem}"]


def test_a_mentee_must_not_stand_twice(file: Path) -> None:
    content = HEADER + "user_088,Ann\nuser_001,Bob\nuser_088,Bjørn Solberg\n"
    assert _refusal(file, content) == ["line 4: mentee_id: stands on an earlier line too"]


def test_all_problems_are_told_at_once(file: Path) -> None:
    assert _refusal(file, HEADER + "user 1,\n\nuser_2\nuser_3,Ann\n,Bjørn Solberg\n") == [
        f"line 2: mentee_id: {NO_IDENTIFIER}",
        "line 2: mentee_name: is required and must not be blank",
        "line 4: must have 2 cells",
        "line 6: mentee_id: is required and must not be blank",
    ]


def test_lines_are_counted_as_an_editor_counts_them(file: Path) -> None:
    """A name in quotes may go over two lines."""
    assert _refusal(file, HEADER + 'user_1,"Ann\nMarie"\nuser 2,Bjørn Solberg\n') == [
        f"line 4: mentee_id: {NO_IDENTIFIER}"
    ]


def test_too_many_problems_are_counted(file: Path) -> None:
    told = _refusal(file, HEADER + "user_1\n" * 25)
    assert told[0] == "line 2: must have 2 cells"
    assert told[19] == "line 21: must have 2 cells"
    assert told[20:] == ["and 5 more"]


@pytest.mark.parametrize(
    "line", ['user_088,"Bjørn Solberg', 'user_088,"Bjørn" Solberg', f"user_088,{'x' * 140_000}"]
)
def test_a_line_that_is_not_csv_is_told_with_its_number(file: Path, line: str) -> None:
    [problem] = _refusal(file, f"{HEADER}user_001,Ann\n{line}\n")
    assert problem.startswith("line 3: is not CSV: ")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_must_be_utf_8(file: Path, encoding: str) -> None:
    content = (HEADER + "user_088,Bjørn Solberg\n").encode(encoding)
    assert _refusal(file, content) == [f"{file}: is not UTF-8 text"]


def test_a_file_must_be_there(file: Path) -> None:
    with pytest.raises(InvalidFile, match="no such file or directory"):
        mentee_file.read(file)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="is a directory"):
        mentee_file.read(tmp_path)
