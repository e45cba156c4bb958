"""Verbalisation of Mandarin by rules: digits, dates, times, money, units, percentages, phone numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_DIGITS: Final = "零一二三四五六七八九"
_POWERS: Final = ("", "十", "百", "千")
_GROUPS: Final = ("", "万", "亿", "万亿")
LONGEST: Final = 16
"""Maximum digits of a number that is read as a whole. Longer ones are read digit by digit."""

_UNITS: Final = dict(
    entry.split("=")
    for entry in (
        "km/h=公里每小时,m/s=米每秒,km²=平方公里,m²=平方米,m³=立方米,km=公里,cm=厘米,mm=毫米,kg=公斤,mg=毫克,ml=毫升,mL=毫升,"
        "°C=摄氏度,℃=摄氏度,°F=华氏度,GB=吉字节,MB=兆字节,kWh=千瓦时,kW=千瓦,W=瓦,V=伏,Hz=赫兹,m=米,g=克,L=升,t=吨,°=度"
    ).split(",")
)
_MONEY: Final = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_COUNTED: Final = "个位只条本张件次天年月岁块元分米吨斤倍种名家辆台杯瓶双对所座间"
"""Measure words before which 2 is 两."""
_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_SYMBOLS: Final = dict(
    zip(
        "&+=×÷±≈<>≤≥≠@%°$€£¥√",
        "和 加 等于 乘以 除以 正负 约等于 小于 大于 小于等于 大于等于 不等于 艾特 百分号 度 美元 欧元 英镑 元 根号".split(),
        strict=True,
    )
)


def digits(text: str) -> str:
    """Return the name of each digit: `2024` → 二零二四."""
    return "".join(_DIGITS[int(digit)] for digit in text)


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
    return "两" if text == "2" else number(re.sub(r"\.?0+$", "", text) if "." in text else text)


def _date(match: re.Match[str]) -> str:
    return f"{digits(match[1])}年{cardinal(match[2])}月{cardinal(match[3])}日"


def _time(match: re.Match[str]) -> str:
    minutes = "整" if match[2] == "00" else ("零" if match[2][0] == "0" else "") + cardinal(match[2]) + "分"
    return f"{cardinal(match[1])}点{minutes}"


_UNIT: Final = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), replace)
    for pattern, replace in (
        (rf"\d{{{LONGEST + 1},}}", lambda match: digits(match[0])),
        (r"https?://(?:www\.)?", lambda match: ""),
        (r"(?<=[A-Za-z])\.(?=[A-Za-z])", lambda match: "点"),
        (r"(?<!\d)(\d{4})[-/.](1[0-2]|0?[1-9])[-/.](3[01]|[12]\d|0?[1-9])(?!\d)", _date),
        (r"(?<!\d)(\d{4})年", lambda match: f"{digits(match[1])}年"),
        (r"(?<!\d)([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?!\d)", _time),
        (r"(?<!\d)(1\d{10}|0\d{2,3}-?\d{7,8})(?!\d)", lambda match: digits(match[1].replace("-", ""))),
        (r"(?<=\d)\s*[-–—~～至到]\s*(?=\d)", lambda match: "到"),
        (r"(?<=[年月日号点分时])\s*[-–—~～]\s*(?=\d)", lambda match: "到"),
        (rf"([¥￥$€£])\s?({_NUMBER})\s?([万亿]?)", lambda match: f"{_counted(match[2])}{match[3]}{_MONEY[match[1]]}"),
        (rf"([-−]?{_NUMBER})\s?[%％]", lambda match: f"百分之{number(match[1])}"),
        (r"(?<!\d)(\d+)/(\d+)(?!\d)", lambda match: f"{cardinal(match[2])}分之{cardinal(match[1])}"),
        (rf"((?:(?<!\w)[-−])?{_NUMBER})\s?({_UNIT})(?![A-Za-z])", lambda match: f"{_counted(match[1])}{_UNITS[match[2]]}"),
        (rf"(?<![\d.])2(?=[{_COUNTED}]|小时|星期|礼拜|公里|公斤)", lambda match: "两"),
        (r"(?<!\d)(\d+(?:\.\d+){2,})", lambda match: "点".join(cardinal(part) for part in match[1].split("."))),
        (r"(?<!\d)(?<!\d,)(0\d+)(?![\d.])", lambda match: digits(match[1])),
        (rf"(?:(?<!\w)[-−])?{_NUMBER}", lambda match: number(match[0])),
        (rf"[{re.escape(''.join(_SYMBOLS))}]", lambda match: _SYMBOLS[match[0]]),
    )
)


def verbalise(text: str) -> str:
    """Replace numbers, symbols and abbreviations in `text` by the words in which they are spoken."""
    for pattern, replace in _RULES:
        text = pattern.sub(replace, text)
    return text
