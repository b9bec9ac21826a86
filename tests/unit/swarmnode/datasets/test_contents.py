"""Files of a folder in packs are read from any byte on."""

from swarmnode.packs.veil import veil, veil_from
from swarmnode.tree.folder import CONTENT_KEY_BYTES


def test_a_veil_is_taken_off_from_any_byte_on() -> None:
    key = bytes(range(CONTENT_KEY_BYTES))
    whole = veil(key).update(bytes(1000))
    for start in (0, 1, 15, 16, 17, 500, 999):
        assert veil_from(key, start).update(bytes(1000 - start)) == whole[start:]
    far = (1 << 40) - 3
    assert veil_from(key, far).update(bytes(6))[3:] == veil_from(key, far + 3).update(bytes(3))
