"""Files of mentees' names: as spreadsheets write them, and every problem told by its line."""

from dataclasses import astuple
from pathlib import Path

import pytest

from peermentor_server.cli import mentee_csv, mentee_import
from peermentor_server.cli.input_files import InvalidFile
from peermentor_server.storage import names

NO_IDENTIFIER = "must be ASCII letters, digits and punctuation; no spaces, slashes or backslashes"
HEADER = "mentee_id,mentee_name\n"
KNOWN = {"user_088": "Bjørn Solberg"}
PRIVATE = "Bjørn Solberg"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file of names may be written."""
    return tmp_path / "mentees.csv"


def _read(file: Path, content: str | bytes, encoding: str | None = None) -> dict[str, str]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with file.open("rb") as opened:
        rows = list(mentee_csv.read(opened, encoding, "org_03"))
    assert [row.problem for row in rows if row.problem] == []
    return {row.mentee_id: row.mentee_name for row in rows}


def _refusal(
    file: Path,
    content: str | bytes,
    encoding: str | None = None,
    org_id: str | None = "org_03",
) -> list[str]:
    """Read what has to be refused, and return the lines that say why."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with names.spooled(None) as spool, pytest.raises(InvalidFile) as raised:
        mentee_import.read(file, encoding, org_id, spool, lambda _what, _done: None)
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
        "mentee_id;mentee_name\r\nuser_088;Bjørn Solberg\r\n",
        "mentee_id\tmentee_name\nuser_088\tBjørn Solberg\n",
        "sep=;\nmentee_id;mentee_name\nuser_088;Bjørn Solberg\n",
        '"sep=|"\r\nmentee_id|mentee_name\r\nuser_088|Bjørn Solberg\r\n',
        "Mentee_ID,MENTEE NAME\nuser_088,Bjørn Solberg\n",
        " mentee-id , Mentee  Name \nuser_088,Bjørn Solberg\n",
        HEADER + ",\nuser_088,Bjørn Solberg\n , \n,,,\n",
        'Phone;Mentee_ID;"Notes\n(own)";Mentee_Name;;\n1,2;user_088;a;Bjørn Solberg;;\n;;;;;\n',
        "mentee_id,mentee_name,phone\nuser_088,Bjørn Solberg\n",
        HEADER + "user_088,Bjørn Solberg,,\n",
        HEADER + " user_088\u00a0,Bjørn Solberg\n",
        ("\ufeff" + HEADER + "user_088,Bjørn Solberg\n").encode("utf-16-le"),
        ("\ufeff" + HEADER + "user_088,Bjørn Solberg\n").encode("utf-16-be"),
        (HEADER + "user_088,Bjørn Solberg\n").encode("utf-16-le"),
        (HEADER + "user_088,Bjørn Solberg\n").encode("utf-16-be"),
        '\ufeff"mentee_id"\t"mentee_name"\r\nuser_088\tBjørn Solberg\r\n'.encode("utf-16-le"),
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
        "semicolons",
        "tabs",
        "Excel's line about semicolons",
        "Excel's line about bars",
        "other case",
        "other ways to write the columns",
        "rows of empty cells",
        "further columns",
        "a further column left out",
        "further empty cells",
        "spaces around the id",
        "UTF-16, little endian",
        "UTF-16, big endian",
        "UTF-16, little endian, without a mark",
        "UTF-16, big endian, without a mark",
        "Excel's Unicode text",
    ],
)
def test_a_name_is_read(file: Path, content: str | bytes) -> None:
    assert _read(file, content) == KNOWN


def test_a_name_may_hold_commas_and_quotes(file: Path) -> None:
    content = HEADER + 'user_088,"Solberg, Bjørn ""Bear"""\n'
    assert _read(file, content) == {"user_088": 'Solberg, Bjørn "Bear"'}


def test_a_name_may_hold_what_separates_cells_elsewhere(file: Path) -> None:
    content = "mentee_id;mentee_name\nuser_088;Solberg, Bjørn\n"
    assert _read(file, content) == {"user_088": "Solberg, Bjørn"}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman", "utf-8"])
def test_the_encoding_may_be_named(file: Path, encoding: str) -> None:
    content = (HEADER + "user_088,Bjørn Solberg\n").encode(encoding)
    assert _read(file, content, encoding) == KNOWN


def test_rows_are_read_beyond_the_sample_that_tells_what_separates_them(file: Path) -> None:
    rows = [f"user_{number};{'Åse ' * 20}{number}" for number in range(2_000)]
    for end in ("\n", "\r", "\r\n"):
        read = _read(file, end.join(["mentee_id;mentee_name", *rows, ""]))
        assert [f"{mentee_id};{name}" for mentee_id, name in read.items()] == rows


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
        "mentee_id|mentee_name\nuser_088|Bjørn Solberg\n",
        "mentee_id\nuser_088\n",
        "mentee_id;phone,mentee_name\nuser_088;1,Bjørn Solberg\n",
        "mentee_id,mentee_id\nuser_088,Bjørn Solberg\n",
        "mentee_id,Mentee ID,mentee_name\nuser_088,1,Bjørn Solberg\n",
        "menteeid,menteename\nuser_088,Bjørn Solberg\n",
        '"mentee_id,mentee_name\nuser_088,Bjørn Solberg\n',
    ],
    ids=[
        "empty",
        "blank first line",
        "no header",
        "bars",
        "one column",
        "semicolons and commas",
        "a column twice",
        "a column twice, written otherwise",
        "other names",
        "a quote without end",
    ],
)
def test_the_first_line_must_name_the_two_columns(file: Path, content: str) -> None:
    assert _refusal(file, content) == ["line 1: must name the columns mentee_id, mentee_name"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("user_088", "must have 2 cells"),
        ("user_088,Solberg,Bjørn Solberg", "must have 2 cells"),
        ("user_088,Bjørn Solberg,,x", "must have 2 cells"),
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
    assert _refusal(file, content) == ["line 4: mentee_id: is on an earlier line too"]


def test_all_problems_are_told_at_once(file: Path) -> None:
    assert _refusal(file, HEADER + "user 1,\n\nuser_2\nuser_3,Ann\n,Bjørn Solberg\n") == [
        f"line 2: mentee_id: {NO_IDENTIFIER}; mentee_name: is required and must not be blank",
        "line 4: must have 2 cells",
        "line 6: mentee_id: is required and must not be blank",
    ]


def test_a_row_that_is_refused_is_named_once(file: Path) -> None:
    rows = ["user_1,Ann", "user_1,Bob", "user_2,", "user_1,Cid", "user 3,", "user_1,Dag"]
    told = _refusal(file, "sep=,\n" + HEADER + "\n".join(rows))
    assert [line.split(":")[0] for line in told] == [
        "line 4",
        "line 5",
        "line 6",
        "line 7",
        "line 8",
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


def test_other_encodings_are_not_guessed(file: Path) -> None:
    """Each of them can be read as another one, with other names."""
    for encoding in ("latin-1", "cp1252", "mac-roman"):
        content = (HEADER + "user_088,Bjørn Solberg\n").encode(encoding)
        assert _refusal(file, content) == [
            "the file is not UTF-8 text; save it as UTF-8, or name its encoding by --encoding"
        ]


def test_a_broken_encoding_is_told(file: Path) -> None:
    content = (HEADER + "user_088,Bjørn Solberg\n").encode("utf-16")
    [told] = _refusal(file, content[:-1])
    assert told.startswith("the file is not UTF-16 text; ")
    content = (HEADER + "user_088,Bjørn Solberg\n").encode()
    assert _refusal(file, content, "ascii") == ["the file is not ASCII text"]


@pytest.mark.parametrize("encoding", ["nonsense", "base64", "\0", "../x"])
def test_an_encoding_that_there_is_not_is_told(file: Path, encoding: str) -> None:
    [told] = _refusal(file, HEADER, encoding)
    assert told.startswith("unknown encoding ")


def test_a_file_must_be_there(file: Path) -> None:
    with names.spooled(None) as spool, pytest.raises(InvalidFile) as raised:
        mentee_import.read(file, None, None, spool, lambda _what, _done: None)
    assert str(raised.value) == f"{file}: no such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with names.spooled(None) as spool, pytest.raises(InvalidFile, match="is a directory"):
        mentee_import.read(tmp_path, None, None, spool, lambda _what, _done: None)


# --- Organisations ---


def test_each_row_may_name_its_organisation(file: Path) -> None:
    file.write_text("mentee_id,org_id,mentee_name\nuser_1,org_1,Ann\nuser_1,org_2,Bob\n")
    with file.open("rb") as opened:
        rows = [each[1:] for each in map(astuple, mentee_csv.read(opened))]
    assert rows == [("org_1", "user_1", "Ann", None), ("org_2", "user_1", "Bob", None)]


def test_a_file_does_not_say_one_organisation_and_the_command_another(file: Path) -> None:
    assert _refusal(file, f"org_id,{HEADER}org_1,user_1,Ann\n", org_id="org_2") == [
        "line 1: names the column org_id, in place of which --org is given"
    ]


def test_without_an_organisation_the_first_line_has_to_name_that_column(file: Path) -> None:
    (refused,) = _refusal(file, HEADER, org_id=None)
    assert refused.startswith("line 1: must name the columns org_id, mentee_id, mentee_name; --org")
    rows = _refusal(file, f"org_id,{HEADER},user_1,Ann\n", org_id=None)
    assert rows == ["line 2: org_id: is required and must not be blank"]
