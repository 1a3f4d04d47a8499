"""What is wrong with a text, if anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peermentor_server.rules import texts

# A busy machine is no failure.
UNHURRIED = settings(deadline=None)

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
LINE_BREAKS_AND_TABS = ["\t", "\n", "\r"]
BLANKS = ["", " ", "\n", "\u00a0\u3000", "\u200b\u200d", "\u3164\u2800"]


def test_a_text_may_have_as_many_characters_as_allowed_and_no_more() -> None:
    for character in ("x", "\N{GRINNING FACE}"):
        assert texts.problem(character * 5, 5) is None
        assert texts.problem(character * 6, 5) is not None


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_control_characters_are_refused_but_for_line_breaks_and_tabs(character: str) -> None:
    kept = character in LINE_BREAKS_AND_TABS

    assert (texts.problem(f"a{character}b", 10) is None) == kept
    assert texts.problem(f"a{character}b", 10, one_line=True) is not None


def test_an_empty_text_is_refused_only_where_one_is_required() -> None:
    for blank in BLANKS:
        assert texts.problem(blank, 10) is None
        assert texts.problem(blank, 10, required=True) is not None


def test_a_name_may_be_empty_and_not_blank() -> None:
    assert texts.optional_name_problem("") is None
    assert texts.optional_name_problem(" Bj\u00f8rn\u200b") is None
    for blank in BLANKS[1:]:
        assert texts.optional_name_problem(blank) is not None
    assert texts.optional_name_problem("x" * 201) is not None


def test_a_new_name_is_not_empty_either() -> None:
    assert texts.new_name_problem(" Bj\u00f8rn\u200b") is None
    for blank in BLANKS:
        assert texts.new_name_problem(blank) is not None
    assert texts.new_name_problem("x" * 201) is not None


def test_a_lone_surrogate_is_no_text() -> None:
    assert texts.problem("\ud800", 10) is not None
    assert texts.identifier_problem("\udfff") is not None


def test_an_identifier_has_at_most_128_characters() -> None:
    assert texts.identifier_problem("x" * 128) is None
    assert texts.identifier_problem("x" * 129) is not None


@pytest.mark.parametrize("code", range(0x21, 0x7F), ids=lambda code: ascii(chr(code)))
def test_an_identifier_is_of_ascii_characters_but_for_slashes(code: int) -> None:
    assert (texts.identifier_problem(f"a{chr(code)}") is None) == (chr(code) not in "/\\")


@pytest.mark.parametrize("value", [".", "..", "ø", "\uff10", "\u200b"])
def test_what_no_url_can_hold_as_it_is_is_no_identifier(value: str) -> None:
    assert texts.identifier_problem(value) is not None


@UNHURRIED
@given(st.text(st.characters(exclude_categories=())))
def test_an_identifier_is_a_text_on_one_line_without_blanks_around_it(value: str) -> None:
    if texts.identifier_problem(value) is None:
        assert texts.problem(value, 128, required=True, one_line=True) is None
        assert value == value.strip()


@pytest.mark.parametrize(
    ("given_id", "shown"),
    [
        ("asgn_999", "asgn_999"),
        ("rt-1%20", "rt-1%20"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40 + "..."),
        ("x" * 100_000, "x" * 40 + "..."),
        ("", "''"),
        ("Lars Eriksson", "'Lars Eriksson'"),
        ("a\r\nSet-Cookie: b", r"'a\r\nSet-Cookie: b'"),
        ("asgn_\u0660\u202e\x7f\0", r"'asgn_\u0660\u202e\x7f\x00'"),
        ("\ud800", r"'\ud800'"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_an_id_in_a_message_is_short_and_visible(given_id: str, shown: str) -> None:
    assert texts.shown_id(given_id) == shown


@UNHURRIED
@given(st.text())
def test_any_id_in_a_message_is_short_and_visible(given_id: str) -> None:
    shown = texts.shown_id(given_id)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 10 * texts.MAX_SHOWN_LENGTH + 5
