"""Verbalisation of Mandarin: numbers, dates, times, money, units, percentages, phone numbers and symbols become words.

The rules run in order over the whole text, those that read several symbols together before those that read a number alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from soundflow.operators.speech.english_readers import roman
from soundflow.operators.speech.quantities import CENTS, CURRENCIES, PER, UNIT, factors

_DIGITS: Final = "零一二三四五六七八九"
_POWERS: Final = ("", "十", "百", "千")
_GROUPS: Final = ("", "万", "亿", "万亿")
LONGEST: Final = 16
"""Maximum digits of a number that is read as a whole. Longer ones are read digit by digit."""

_COUNTED: Final = "个人位只条本张件次天点年岁块元分米吨斤倍种名家辆台杯瓶双对所座间"
"""Measure words before which 2 is 两."""
_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_SCALES: Final = {"k": 3, "m": 6, "million": 6, "b": 9, "bn": 9, "billion": 9}
"""Powers of ten of letters behind a number, in lower case."""
_SYMBOLS: Final = dict(
    zip(
        "&+=×÷±≈<>≤≥≠@%‰°¢√−#~～",
        (
            "和 加 等于 乘以 除以 正负 约等于 小于 大于 小于等于 大于等于 不等于 艾特 百分号 千分号 度 美分 根号 减 井号 到 到"
        ).split(),
        strict=True,
    )
) | {
    symbol: names.mandarin for symbol, names in CURRENCIES.items() if unicodedata.category(symbol[0]) == "Sc" and len(symbol) == 1
}


def digits(text: str) -> str:
    """Return the name of each digit: `2024` → 二零二四."""
    return "".join(_DIGITS[int(digit)] for digit in text)


def phone_digits(text: str) -> str:
    """Return the name of each digit of a phone number, where 1 is 幺: `110` → 幺幺零."""
    return digits(text).replace("一", "幺")


def cardinal(text: str) -> str:
    """Return a whole number without sign in words: `10203` → 一万零二百零三."""
    text = text.lstrip("0") or "0"
    if text == "0":
        return "零"
    if len(text) > LONGEST:
        return digits(text)
    spoken = ""
    groups = [text[max(end - 4, 0) : end] for end in range(len(text), 0, -4)]
    for place in range(len(groups) - 1, -1, -1):
        group = groups[place].zfill(4) if spoken else groups[place]
        words = _group(group)
        if words:
            spoken += ("零" if spoken and group.startswith("0") else "") + words + _GROUPS[place]
    return spoken.removeprefix("一") if spoken.startswith("一十") else spoken


def _group(text: str) -> str:
    """Return up to four digits in words; empty for 0."""
    spoken, gap = "", False
    for place, digit in enumerate(text):
        if digit == "0":
            gap = True
            continue
        spoken += ("零" if gap and spoken else "") + _DIGITS[int(digit)] + _POWERS[len(text) - 1 - place]
        gap = False
    return spoken


def number(text: str) -> str:
    """Return a number with optional sign, separators and decimals in words: `-3.14` → 负三点一四."""
    sign = "负" if text[0] in "-−" else ""
    whole, _, decimals = text.lstrip("-−+").replace(",", "").partition(".")
    return sign + cardinal(whole) + (f"点{digits(decimals)}" if decimals else "")


def _counted(text: str) -> str:
    """Return a number before a unit: 2 is 两, also in 两千 and 两万; zeros at the end of decimals are left out."""
    spoken = number(re.sub(r"\.?0+$", "", text) if "." in text else text)
    return "两" if spoken == "二" else re.sub(r"^二(?=[千万亿])", "两", spoken)


def _scaled(text: str, scale: str) -> str:
    """Return a number in words that is multiplied by a letter or word: `3.5M` → 三百五十万, `5万` → 五万."""
    if scale.lower() not in _SCALES:
        return _counted(text) + scale
    value = Decimal(text.replace(",", "")).scaleb(_SCALES[scale.lower()])
    return _counted(f"{value:f}")


def _money(match: re.Match[str]) -> str:
    """Read an amount with its currency before or behind it: `-US$1.5bn`, `¥5-10`, `30 EUR`."""
    found = match.groupdict()
    sign = "负" if found.get("sign") or found.get("sign_after") else ""
    first = f"{_counted(found['from'])}到" if found.get("from") else ""
    return f"{sign}{first}{_scaled(found['amount'], found['scale'] or '')}{CURRENCIES[found['currency']].mandarin}"


def _percent(match: re.Match[str]) -> str:
    of = "百分之" if match[3] in "%％" else "千分之"
    return (f"{of}{number(match[1])}到" if match[1] else "") + f"{of}{number(match[2])}"


def _unit(text: str) -> str:
    """Return a unit in words: `km/h` → 公里每小时."""
    parts = factors(text)
    names = ((cardinal(part.multiple) if part.multiple else "") + part.mandarin for part in parts)
    return "".join(("每" if part.is_per else "") + name for part, name in zip(parts, names, strict=True))


def _date(match: re.Match[str]) -> str:
    return f"{digits(match[1])}年{cardinal(match[2])}月{cardinal(match[3])}日"


def _time(match: re.Match[str]) -> str:
    half = {"": "", "a": "上午", "p": "下午"}[(match[4] or "")[:1].lower()]
    minutes, seconds = match[2] or "00", match[3]
    hour = "两" if int(match[1]) == 2 else cardinal(match[1])
    if minutes == "00" and not seconds:
        return f"{half}{hour}点{'' if half else '整'}"
    spoken = f"{half}{hour}点{'零' if minutes[0] == '0' else ''}{cardinal(minutes) if int(minutes) else ''}分"
    return spoken + (f"{cardinal(seconds)}秒" if seconds else "")


def _duration(match: re.Match[str]) -> str:
    hours, minutes, seconds = match[1], match[2], match[3]
    parts = [(hours, "小时"), (minutes, "分" if seconds and int(seconds) else "分钟"), (seconds, "秒")]
    return "".join(_counted(str(int(count))) + name for count, name in parts if count and int(count)) or "零秒"


def _power(match: re.Match[str]) -> str:
    return "的" + {"2": "平方", "3": "立方"}.get(match[1], f"{number(match[1])}次方")


def _address(match: re.Match[str]) -> str:
    text = match[0]
    for symbol, spoken in ((".", "点"), ("/", "斜杠"), ("_", "下划线"), ("@", "艾特"), ("-", "杠"), (":", "冒号")):
        text = text.replace(symbol, spoken)
    return text


def _numbered(match: re.Match[str]) -> str:
    value = roman(match[1])
    return f"第{cardinal(str(value))}" if value else match[0]


def _phone(match: re.Match[str]) -> str:
    return phone_digits(re.sub(r"\D", "", match[1]))


def _ratio(match: re.Match[str]) -> str:
    return f"{match[1]}{cardinal(match[2])}比{cardinal(match[3])}"


def _any_of(symbols: list[str]) -> str:
    return "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))


_TO: Final = r"\s*[-–—~～至到]\s*"
_SIGN: Final = r"(?:(?<![A-Za-z\d)])[-−])?"
_BEFORE: Final = rf"(?<![A-Za-z])(?:{_any_of(list(CURRENCIES))})"
_BEHIND: Final = rf"(?:{_any_of([symbol for symbol in CURRENCIES if symbol not in ('R$', 'Rs', 'Rs.', 'RM')])})(?![A-Za-z]|\s?\d)"
_SCALE: Final = r"\s?(?:[十百千万亿]+|(?:million|billion|bn|[kKmMbB])(?![A-Za-z]))"
_YEAR: Final = r"1[5-9]\d\d|20\d\d"
_HALF: Final = r"\s?([AaPp])\.?[Mm](?:\.|(?![A-Za-z]))"
_DOMAIN: Final = (
    r"(?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:com|org|net|edu|gov|cn|io|ai|tv|me)"
    r"(?::\d+)?(?:/[A-Za-z0-9_./-]*)?(?![A-Za-z])"
)
_MONEY: Final = (
    rf"(?P<sign>(?<![A-Za-z\d)])[-−])?(?P<currency>{_BEFORE})\s?(?P<sign_after>[-−])?"
    rf"(?:(?P<from>{_NUMBER}){_TO})?(?P<amount>{_NUMBER})(?P<scale>{_SCALE})?"
)
_PERIODS: Final = "小时|分钟|秒|天|日|周|月|年|人|次|个|分|平方米|公斤|千克|吨|晚|件|张|斤|升|米"
_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), replace)
    for pattern, replace in (
        (rf"\d{{{LONGEST + 1},}}", lambda match: digits(match[0])),
        # Addresses and names.
        (r"https?://(?:www\.)?", lambda match: ""),
        (r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+", _address),
        (_DOMAIN, _address),
        (r"(?<![A-Za-z])([A-G])[#♯](?![A-Za-z])", lambda match: f"{match[1]} sharp"),
        (
            r"(?<![\dA-Za-z.])([24568]|16)(?:K(?![A-Za-z])|k(?=电视|视频|屏|显示|分辨|高清|画质))",
            lambda match: f"{cardinal(match[1])}K",
        ),
        (r"(?<![\dA-Za-z.])(\d{3,4})[pP](?![A-Za-z])", lambda match: f"{digits(match[1])}P"),
        (r"第\s?([IVXL]+)(?=\s?[章卷部节期季篇届幕集])", _numbered),
        (r"#([^#\s\d][^#\s]*)#?", lambda match: f"话题{match[1]} "),
        (r"[Nn][Oo]\.\s?(?=\d)", lambda match: "第"),
        (r"#(\d+)", lambda match: f"{cardinal(match[1])}号"),
        # Clock times, durations, ratios. Letters with a dot are spelled out after `a.m.`.
        (r"(?<=:\d\d)\s*[-–—~～至]\s*(?=\d\d?:\d\d)", lambda match: "到"),
        (rf"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?{_HALF}", _time),
        (rf"(?<![\d:.])(1[0-2]|0?[1-9])()(){_HALF}", _time),
        (r"(?<=[A-Za-z])\.(?=[A-Za-z])", lambda match: "点"),
        (r"(?<!\d)(\d{4})[-/.](1[0-2]|0?[1-9])[-/.](3[01]|[12]\d|0?[1-9])(?!\d)[T ]?", _date),
        (r"(?<=[于在至从到午上晨日点])\s?([01]?\d|2[0-3]):([0-5]\d):([0-5]\d)()(?![\d:])", _time),
        (r"(?<![\d:])(\d{1,3}):([0-5]\d):([0-5]\d)(?![\d:])", _duration),
        (r"((?:比例|比率|比分|比数|赔率)[是为约]{0,2}\s?)(\d+)\s?[:：-]\s?(\d+)(?!\d)", _ratio),
        (r"(以)(\d{1,3})[-–:：](\d{1,3})(?=[获战击大小险胜负败领落])", _ratio),
        (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)()()(?![\d:])", _time),
        (r"()(?<![\d:])(\d+)[:：](\d+)(?![\d:])", _ratio),
        (r"(?<![A-Za-z\d.])(\d+)\s?h(?:rs?)?\s?(\d+)\s?m(?:ins?)?(?:\s?(\d+)\s?s)?(?![A-Za-z])", _duration),
        (r"(?<![A-Za-z\d.])()(\d+)\s?m(?:in)?\s?(\d+)\s?s(?![A-Za-z])", lambda m: f"{_counted(m[2])}分钟{_counted(m[3])}秒"),
        # Phone numbers and other numbers that are read digit by digit.
        (r"(?<!\d)\+(\d{1,3})[- ]?(?=1\d{2}[- ]?\d{4}[- ]?\d{4}(?!\d))", lambda match: f"加{digits(match[1])}"),
        (r"(?<!\d)(1\d{2}([- ])\d{4}\2\d{4}|\d{3,4}-\d{3,4}-\d{4}|[48]00[- ]\d{3}[- ]\d{4}|[48]00\d{7})(?!\d)", _phone),
        (r"\+(\d{1,3}(?:[- ]\d{2,8}){2,5})(?!\d)", lambda match: "加" + _phone(match)),
        (
            r"((?:电话|手机|热线)号?码?[是为:：]?\s?)(\d{3,})(?![\d.,])",
            lambda match: match[1] + phone_digits(match[2]),
        ),
        (
            r"((?:账号|卡号|编号|密码|验证码|邮编|QQ|微信)号?码?[是为:：]?\s?)(\d{3,})(?![\d.,])",
            lambda match: match[1] + digits(match[2]),
        ),
        (r"(?<!\d)(1\d{10}|0\d{2,3}-?\d{7,8})(?!\d)", _phone),
        (r"(?<=[拨打电叫])(1(?:10|19|20|22)|\d{5})(?![\d.,分折])", _phone),
        (r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", lambda match: "点".join(map(digits, match[0].split(".")))),
        (r"(?<![A-Za-z])[vV](?=\d)", lambda match: "版本"),
        # Years, ranges.
        (r"(?<=\d)\s?−\s?(?=\d)|(?<=\d)\s?-\s?(?=\d[\d.]*\s?=)", lambda match: "减"),
        (rf"(?<![\d,.])({_YEAR}){_TO}({_YEAR})(?![\d,.])", lambda match: f"{digits(match[1])}到{digits(match[2])}"),
        (r"(?<!\d)(20\d\d)/(0[1-9]|1[0-2])(?!\d)", lambda match: f"{digits(match[1])}年{cardinal(match[2])}月"),
        (r"(?<!\d)(\d{4})(?=年)|(?<!\d)((?:19|20)\d\d)(?=[级届款])", lambda match: digits(match[1] or match[2])),
        (r"(?<!\d)((?:1[5-9]|20)\d0)s(?![A-Za-z])", lambda match: f"{digits(match[1])}年代"),
        (rf"({_SIGN}{_NUMBER}){_TO}({_NUMBER})\s?([%％‰])", _percent),
        (rf"(?<=[%％‰]){_TO}(?=[-−]?\d)", lambda match: "到"),
        (rf"(?<=\d)\s*[-–—~～]\s*(?={_BEFORE})", lambda match: "到"),
        (r"(?<=\d)\s*[-–—~～至到]\s*(?=\d)", lambda match: "到"),
        (rf"(\d\s?(?:{UNIT})){_TO}(?=\d)", lambda match: f"{match[1]}到"),
        # Scientific notation, powers and quantities.
        (r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([-−+]?\d{1,3})(?!\d)", lambda m: f"{m[1]}乘以10^{m[2].lstrip('+')}"),
        (r"(?<=\d)\s?\*\s?(?=\d)|(?<=\d)\s?[×xX]\s?(?=10\^)", lambda match: "乘以"),
        (rf"(?<=10)\^([-−]?\d{{1,3}}?)\s?({UNIT})", lambda match: f"{_power(match)}{_unit(match[2])}"),
        (rf"({_SIGN}(?<!\^){_NUMBER})\s?(?![%‰])({UNIT})", lambda match: f"{_counted(match[1])}{_unit(match[2])}"),
        (r"(?<=[A-Za-z\d)）])\^([-−]?\d+)", _power),
        # Money.
        (_MONEY, _money),
        (rf"(?P<sign>(?<![A-Za-z\d)])[-−])?(?P<amount>{_NUMBER})(?P<scale>{_SCALE})?\s?(?P<currency>{_BEHIND})", _money),
        (rf"({_NUMBER})\s?{CENTS}|{CENTS}({_NUMBER})", lambda match: f"{_counted(match[1] or match[2])}美分"),
        (rf"(?<=[㐀-鿿])({PER})", lambda match: _unit(match[1])),
        (rf"(?<=[㐀-鿿])(?<![年月时])\s?/\s?(?={_PERIODS})", lambda match: "每"),
        (rf"()({_SIGN}{_NUMBER})\s?([%％‰])", _percent),
        (r"(?<![\d.])(\d+)\s+(\d+)/(\d+)(?!\d)", lambda m: f"{cardinal(m[1])}又{cardinal(m[3])}分之{cardinal(m[2])}"),
        (r"(?<!\d)(\d+)/(\d+)(?!\d)", lambda match: f"{cardinal(match[2])}分之{cardinal(match[1])}"),
        (r"(?<=[年月日号点分时])\s*[-–—~～]\s*(?=\d)", lambda match: "到"),
        # Numbers.
        (rf"(?<![\d.第])2(?=[{_COUNTED}]|小时|星期|礼拜|公里|公斤|[千万亿])", lambda match: "两"),
        (rf"(?<![A-Za-z\d.])({_NUMBER})(k|K|M)(?![A-Za-z])", lambda match: _scaled(match[1], match[2])),
        (r"(?<!\d)(\d+(?:\.\d+){2,})", lambda match: "点".join(cardinal(part) for part in match[1].split("."))),
        (r"(?<![\d.])(?<!\d,)(0\d+)(?![\d.])", lambda match: digits(match[1])),
        (rf"{_SIGN}{_NUMBER}", lambda match: number(match[0])),
        (rf"[{re.escape(''.join(_SYMBOLS))}]", lambda match: _SYMBOLS[match[0]]),
    )
)  # fmt: skip


def verbalise(text: str) -> str:
    """Replace numbers, symbols and abbreviations in `text` by the words in which they are spoken."""
    for pattern, replace in _RULES:
        text = pattern.sub(replace, text)
    return text
