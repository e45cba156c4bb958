"""Names of languages in manifests, and their codes."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_TABLE: Final = """
af Afrikaans afr | am Amharic amh አማርኛ | ar Arabic ara العربية عربي | as Assamese asm | az Azerbaijani aze | ba Bashkir bak
be Belarusian bel | bg Bulgarian bul български | bn Bengali Bangla ben বাংলা | bo Tibetan bod tib | br Breton bre
bs Bosnian bos bosanski | ca Catalan Valencian cat català | cs Czech ces cze čeština | cy Welsh cym wel Cymraeg
da Danish dan dansk | de German deu ger Deutsch | el Greek ell gre ελληνικά | en English eng | eo Esperanto epo
es Spanish Castilian spa español castellano | et Estonian est eesti | eu Basque eus baq euskara | fa Persian Farsi fas per فارسی
fi Finnish fin suomi | fil Filipino | fo Faroese fao | fr French fra fre français | ga Irish gle Gaeilge | gl Galician glg galego
gu Gujarati guj ગુજરાતી | ha Hausa hau | he Hebrew heb עברית | hi Hindi hin हिन्दी हिंदी | hr Croatian hrv hrvatski
ht Haitian hat | hu Hungarian hun magyar | hy Armenian hye arm հայերեն | id Indonesian ind | ig Igbo ibo
is Icelandic isl ice íslenska | it Italian ita italiano | ja Japanese jpn 日本語 | jv Javanese jav | ka Georgian kat geo ქართული
kk Kazakh kaz қазақ | km Khmer khm ភាសាខ្មែរ | kn Kannada kan ಕನ್ನಡ | ko Korean kor 한국어 | ku Kurdish kur | ky Kyrgyz kir
la Latin lat | lb Luxembourgish ltz | lo Lao lao ລາວ | lt Lithuanian lit lietuvių | lv Latvian lav latviešu | mg Malagasy mlg
mi Maori mri mao | mk Macedonian mkd mac македонски | ml Malayalam mal മലയാളം | mn Mongolian mon монгол | mr Marathi mar मराठी
ms Malay msa may | mt Maltese mlt Malti | my Burmese Myanmar mya bur မြန်မာ | ne Nepali nep नेपाली | nl Dutch nld dut Nederlands
nn Nynorsk nno | no Norwegian nor norsk | oc Occitan oci | pa Punjabi Panjabi pan ਪੰਜਾਬੀ | pl Polish pol polski | ps Pashto pus
pt Portuguese por português | ro Romanian ron rum română | ru Russian rus русский | rw Kinyarwanda kin | sa Sanskrit san
sd Sindhi snd | si Sinhala Sinhalese sin සිංහල | sk Slovak slk slo slovenčina | sl Slovenian Slovene slv slovenščina
sn Shona sna | so Somali som | sq Albanian sqi alb shqip | sr Serbian srp српски srpski | su Sundanese sun
sv Swedish swe svenska | sw Swahili swa Kiswahili | ta Tamil tam தமிழ் | te Telugu tel తెలుగు | tg Tajik tgk | th Thai tha ไทย
tk Turkmen tuk | tl Tagalog tgl | tr Turkish tur Türkçe | tt Tatar tat | uk Ukrainian ukr українська | ur Urdu urd اردو
uz Uzbek uzb | vi Vietnamese vie | wo Wolof wol | xh Xhosa xho | yi Yiddish yid | yo Yoruba yor | yue Cantonese 粤语 粵語 广东话
zh Chinese Mandarin zho chi cmn 中文 汉语 漢語 普通话 普通話 国语 國語 | zu Zulu zul
"""
"""`CODE NAME…`: ISO 639 codes with English and native names and the three-letter codes."""
_PHRASES: Final = {
    "american english": "en-US", "us english": "en-US", "british english": "en-GB", "uk english": "en-GB",
    "australian english": "en-AU", "indian english": "en-IN", "canadian english": "en-CA",
    "mandarin chinese": "zh", "standard chinese": "zh", "chinese mandarin": "zh", "simplified chinese": "zh-CN",
    "traditional chinese": "zh-TW", "yue chinese": "yue", "chinese cantonese": "yue",
    "brazilian portuguese": "pt-BR", "european portuguese": "pt-PT", "bahasa indonesia": "id", "tiếng việt": "vi",
    "haitian creole": "ht", "modern greek": "el", "norwegian nynorsk": "nn", "norwegian bokmal": "no", "norwegian bokmål": "no",
}  # fmt: skip
_REGIONS: Final = {
    "united states": "US", "usa": "US", "america": "US", "united kingdom": "GB", "great britain": "GB", "uk": "GB",
    "england": "GB", "australia": "AU", "canada": "CA", "india": "IN", "ireland": "IE", "new zealand": "NZ", "south africa": "ZA",
    "china": "CN", "mainland china": "CN", "mainland": "CN", "simplified": "CN", "taiwan": "TW", "traditional": "TW",
    "hong kong": "HK", "singapore": "SG", "germany": "DE", "austria": "AT", "switzerland": "CH", "france": "FR", "spain": "ES",
    "mexico": "MX", "latin america": "419", "brazil": "BR", "portugal": "PT", "italy": "IT", "japan": "JP", "korea": "KR",
    "netherlands": "NL", "belgium": "BE",
}  # fmt: skip


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


_ENTRIES: Final = [entry.split() for line in _TABLE.splitlines() for entry in line.split("|") if entry.strip()]
_CODES: Final = {_folded(name): code for code, *names in _ENTRIES for name in names} | _PHRASES


def parse_language(text: str) -> str | None:
    """Return the BCP 47 code of a language; None when `text` names none.

    Accepts codes (`en`, `EN_us`, `eng`) and English or native names, with or without a region (`English`, `Deutsch`,
    `Chinese (Taiwan)`).
    """
    name = _folded(text)
    if name in _CODES:
        return _CODES[name]
    first, *rest = re.split("[-_]", text)
    subtags = (part.upper() if len(part) == 2 else part.title() if len(part) == 4 else part for part in rest)
    code = "-".join((_CODES.get(_folded(first), first.lower()), *subtags))
    if re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", code):
        return code
    found = re.fullmatch(r"(.+?)\s*(?:\((.+)\)|[,–-]\s*(.+))", name)
    if found is None or found[1].strip() not in _CODES:
        return None
    region = (found[2] or found[3]).strip()
    known = _REGIONS.get(region) or (region.upper() if re.fullmatch(r"[a-z]{2}", region) else "")
    language = _CODES[found[1].strip()]
    phrase = _CODES.get(f"{found[1].strip()} {region}")
    return phrase or (f"{language}-{known}" if known else None)
