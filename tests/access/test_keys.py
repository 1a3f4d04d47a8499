"""What API keys look like."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from peermentor_server.access import keys
from support.clock import CONTRACT_DAY


def test_a_new_key_says_its_id_and_is_known_by_its_hash() -> None:
    text, key = keys.issue("read", ["b", "a", "b"], now=CONTRACT_DAY, lifetime=timedelta(days=2))
    _, other = keys.issue("read", None, now=CONTRACT_DAY)
    assert keys.id_of(text) == key.id
    assert keys.is_same(keys.hashed(text), key.secret_hash)
    assert not keys.is_same(key.secret_hash, other.secret_hash)
    secret = text.split("_")[2]
    assert len(secret) == 256 // 4
    assert secret not in str(key)
    assert (key.organizations, other.organizations) == (["a", "b"], None)
    assert (key.expires_at, other.expires_at) == (CONTRACT_DAY + timedelta(days=2), None)


@given(st.text() | st.text("0123456789abcdef_", min_size=70, max_size=90).map("pmk_{}".format))
def test_nothing_else_has_an_id(text: str) -> None:
    found = keys.id_of(text)
    assert found is None or text.startswith(f"pmk_{found}_")
