"""Lists of etags, and in which state a resource must be for them."""

import pytest

from peermentor_server.rules import etags
from peermentor_server.rules.errors import EtagMismatch


def is_met(state: str, *lists: str) -> bool:
    try:
        etags.precondition(lists).require(state)
    except EtagMismatch:
        return False
    return True


@pytest.mark.parametrize(
    "text", ["*", '"7-2"', '"7-2.13"', '"6", "7-2"', '"7-2" ,\t"6"', '"", "7-2"']
)
def test_a_list_is_met_by_the_state_of_one_of_its_etags(text: str) -> None:
    assert etags.is_list(text)
    assert is_met("7-2", text)


@pytest.mark.parametrize("text", ['"7-1"', '"7"', '""', '"7-21", "07-2"', 'W/"7-2"', '"*"'])
def test_other_states_and_weak_etags_meet_nothing(text: str) -> None:
    assert etags.is_list(text)
    assert not is_met("7-2", text)


def test_every_list_is_to_be_met() -> None:
    assert is_met("7-2", "*", '"7-2"')
    assert not is_met("7-2", '"7-2"', '"7-1"')


@pytest.mark.parametrize(
    "text",
    [
        *("", "7-2", '"7-2', '"7" "2"', '"7-2",', "*, *", '"7-2", *', 'w/"7-2"', ' "7-2"', "é"),
        *(f'"7{character}2"' for character in "\0\n \x7f\x9fé"),
    ],
)
def test_what_is_no_list_of_etags(text: str) -> None:
    assert not etags.is_list(text)


def test_what_is_rendered_is_read() -> None:
    assert is_met("7-2", etags.render("7-2"))
    assert is_met("7-2", etags.render("7-2", 0))
    assert etags.render("7-2", 13) != etags.render("7-2", 14)
