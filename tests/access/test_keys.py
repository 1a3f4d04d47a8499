"""What API keys look like."""

from hypothesis import given
from hypothesis import strategies as st

from peermentor_server.access import keys


def test_a_new_key_says_its_id_and_is_known_by_its_hash() -> None:
    one, other = keys.make(), keys.make()
    assert keys.id_of(one.text) == one.id
    assert keys.is_same(keys.hashed(one.text), one.hash)
    assert not keys.is_same(one.hash, other.hash)
    assert one.text not in one.hash
    assert len(one.text.split("_")[2]) == 256 // 4


@given(st.text() | st.from_regex(r"pmk_[0-9a-f_]{70,90}"))
def test_nothing_else_has_an_id(text: str) -> None:
    found = keys.id_of(text)
    assert found is None or text.startswith(f"pmk_{found}_")
