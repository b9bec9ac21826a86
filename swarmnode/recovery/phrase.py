"""A person's key as 24 words (BIP-39, English list), with a checksum against slips of the pen.

Source: https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki
"""

from typing import Final

from mnemonic import Mnemonic

from swarmnode.errors import PhraseError

WORDS: Final = 24
_LIST: Final = Mnemonic("english")


def words_of(seed: bytes) -> str:
    """The phrase of a 32-byte seed."""
    if len(seed) != 32:
        raise ValueError(f"a seed has 32 bytes, not {len(seed)}")
    return _LIST.to_mnemonic(seed)


def seed_of(text: str) -> bytes:
    """The seed of a phrase, in any case and spacing. Raises PhraseError that names the fault."""
    words = text.lower().split()
    if len(words) != WORDS:
        raise PhraseError(f"a recovery phrase has {WORDS} words, not {len(words)}")
    for number, word in enumerate(words, 1):
        if word not in _LIST.wordlist:
            near = [listed for listed in _LIST.wordlist if listed[:4] == word[:4]]
            hint = f": is it {near[0]!r}?" if near else ""
            raise PhraseError(f"word {number}, {word[:20]!r}, is not on the list{hint}")
    if not _LIST.check(" ".join(words)):
        raise PhraseError("the words are not in their order, or one of them is another word")
    return bytes(_LIST.to_entropy(words))
