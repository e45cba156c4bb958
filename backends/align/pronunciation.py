"""How English words sound, in the phones of CMU's dictionary: for words and numbers a dictionary does not know.

hibari's grapheme-to-phoneme reads whatever is written (`$9.99`, `3rd`, names); its alphabet (misaki's) is mapped to ARPABET.
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
"""misaki's phonemes, two-letter diphthongs of English written as capitals, in ARPABET without stress."""
_RHOTIC: Final = (("ɜɹ", "ɚ"), ("əɹ", "ɚ"))
"""Pairs that CMU's dictionary writes as one vowel."""


class Pronouncer:
    """Reads written English aloud, in phones. Raises ImportError when hibari is not installed."""

    def __init__(self) -> None:
        from importlib.metadata import version

        from hibari.g2p import G2P

        self.id = f"hibari-{version('hibari-tts')}"
        self._g2p: Any = G2P()

    def phones(self, text: str) -> tuple[str, ...]:
        """The phones of `text` read as one word; empty when nothing in it can be read."""
        return arpabet(self._g2p(text))

    def readings(self, word: str) -> list[tuple[str, ...]]:
        """Ways to say a written word, likeliest first: numbers also as a count and digit by digit, capitals also as letters."""
        texts, bare = [word], word.strip(".,;:!?()\"'")
        if bare.isascii() and bare.isdigit():
            texts += [f"{int(bare):,}", " ".join(bare), " ".join(bare).replace("0", "oh")]
        elif bare.isupper() and len(bare) <= 5:
            texts.append(" ".join(bare))
        found = (self.phones(text) for text in texts)
        return list(dict.fromkeys(phones for phones in found if phones))


def arpabet(phonemes: str) -> tuple[str, ...]:
    """misaki's phonemes as phones of CMU's dictionary; stress, spaces and punctuation fall out."""
    for pair, one in _RHOTIC:
        phonemes = phonemes.replace(pair, one)
    return tuple(_PHONES[char] for char in phonemes if char in _PHONES)


def plain(word: str) -> str:
    """A written word as dictionaries list it: small letters, straight apostrophes, no punctuation around it."""
    return re.sub(r"^[^\w$£€#@]+|[^\w%]+$", "", word.replace("’", "'")).lower()
