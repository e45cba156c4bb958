"""Pronunciations of English words and numbers that the dictionary lacks, in the phones of CMU's dictionary.

hibari's grapheme-to-phoneme conversion reads any text (`$9.99`, `3rd`, names); its alphabet (misaki's) is mapped to ARPABET.
"""

from __future__ import annotations

import re
from typing import Any, Final

_TABLE: Final = (
    "A EY I AY O OW Q OW W AW Y OY a AE b B d D e EH f F h HH i IY j Y k K l L m M n N o OW p P s S t T u UW v V w W x K z Z "
    "æ AE ð DH ŋ NG ɐ AH ɑ AA ɒ AA ɔ AO ə AH ɚ ER ɛ EH ɜ ER ɡ G ɪ IH ɨ IH ɹ R r R ɾ T T T ʃ SH ʊ UH ʌ AH ʒ ZH ʔ T ʤ JH ʧ CH "
    "θ TH ᵊ AH ᵻ IH"
).split()
_PHONES: Final = dict(zip(_TABLE[::2], _TABLE[1::2], strict=True))
"""misaki's phonemes (capitals are diphthongs) → ARPABET without stress."""
_RHOTIC: Final = (("ɜɹ", "ɚ"), ("əɹ", "ɚ"))
"""Pairs of phonemes that CMU's dictionary writes as one vowel."""


class Pronouncer:
    """Converts written English to phones. Raises ImportError if hibari is not installed."""

    def __init__(self) -> None:
        from importlib.metadata import version

        from hibari.g2p import G2P

        self.id = f"hibari-{version('hibari-tts')}"
        self._g2p: Any = G2P()

    def phones(self, text: str) -> tuple[str, ...]:
        """Return the phones of `text`, read as one word; empty if nothing in it can be read."""
        return arpabet(self._g2p(text))

    def readings(self, word: str) -> list[tuple[str, ...]]:
        """Return pronunciations of a written word, likeliest first: numbers also digit by digit, capitals also as letters."""
        texts, bare = [word], word.strip(".,;:!?()\"'")
        if bare.isascii() and bare.isdigit():
            texts += [f"{int(bare):,}", " ".join(bare), " ".join(bare).replace("0", "oh")]
        elif bare.isupper() and len(bare) <= 5:
            texts.append(" ".join(bare))
        found = (self.phones(text) for text in texts)
        return list(dict.fromkeys(phones for phones in found if phones))


def arpabet(phonemes: str) -> tuple[str, ...]:
    """Convert misaki's phonemes to phones of CMU's dictionary; drops stress, spaces and punctuation."""
    for pair, one in _RHOTIC:
        phonemes = phonemes.replace(pair, one)
    return tuple(_PHONES[char] for char in phonemes if char in _PHONES)


def plain(word: str) -> str:
    """Return a word as dictionaries list it: lower case, straight apostrophes, no punctuation around it."""
    return re.sub(r"^[^\w$£€#@]+|[^\w%]+$", "", word.replace("’", "'")).lower()
