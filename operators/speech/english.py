"""Verbalisation of English: numbers by num2words; dates, times, money, units, abbreviations and symbols by rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from num2words import num2words

LONGEST: Final = 15
"""Maximum digits of a number that is read as a whole. Longer ones are read digit by digit."""

_UNITS: Final = dict(
    entry.split("=")
    for entry in (
        "km=kilometer*,m=meter*,cm=centimeter*,mm=millimeter*,nm=nanometer*,mi=mile*,ft=foot|feet,yd=yard*,kg=kilogram*,g=gram*,"
        "mg=milligram*,lb=pound*,lbs=pound*,oz=ounce*,l=liter*,L=liter*,ml=milliliter*,mL=milliliter*,s=second*,sec=second*,"
        "ms=millisecond*,min=minute*,h=hour*,hr=hour*,hrs=hour*,Hz=hertz,kHz=kilohertz,MHz=megahertz,GHz=gigahertz,KB=kilobyte*,"
        "kB=kilobyte*,MB=megabyte*,GB=gigabyte*,TB=terabyte*,W=watt*,kW=kilowatt*,kWh=kilowatt hour*,V=volt*,mAh=milliamp hour*,"
        "mph=mile* per hour,km/h=kilometer* per hour,m/s=meter* per second,dB=decibel*,°C=degree* Celsius,°F=degree* Fahrenheit,"
        "°=degree*,m²=square meter*,km²=square kilometer*,m³=cubic meter*,%=percent,kcal=kilocalorie*"
    ).split(",")
)
"""Symbol → spoken form. `*` is the plural s; an irregular plural follows `|`."""
_MONEY: Final = {
    "$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", ""), "USD": ("dollar", "cent"),
    "EUR": ("euro", "cent"), "GBP": ("pound", "penny"), "JPY": ("yen", ""), "CNY": ("yuan", ""),
}  # fmt: skip
_SCALES: Final = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
_MONTHS: Final = tuple("January February March April May June July August September October November December".split())
_ABBREVIATIONS: Final = dict(
    entry.split("=")
    for entry in (
        "Dr=Doctor,Mr=Mister,Mrs=Missus,Ms=Miss,Prof=Professor,Jr=Junior,Sr=Senior,vs=versus,approx=approximately,dept=department,"
        "est=established,Inc=Incorporated,Ltd=Limited,Corp=Corporation,Fig=Figure,Vol=Volume,Ave=Avenue,Blvd=Boulevard,Mt=Mount,"
        "Gov=Governor,Capt=Captain,Col=Colonel,Gen=General,Lt=Lieutenant,Sgt=Sergeant,etc=et cetera,Jan=January,Feb=February,"
        "Mar=March,Apr=April,Aug=August,Sept=September,Sep=September,Oct=October,Nov=November,Dec=December,Mon=Monday,Tue=Tuesday,"
        "Tues=Tuesday,Wed=Wednesday,Thu=Thursday,Thurs=Thursday,Fri=Friday,Sat=Saturday,Sun=Sunday"
    ).split(",")
)
_LAST: Final = ("etc", "Jr", "Sr", "Inc", "Ltd", "Corp")
"""Abbreviations that may end a sentence."""
_SYMBOLS: Final = dict(
    entry.split("|")
    for entry in (
        "&|and,+|plus,=|equals,×|times,÷|divided by,±|plus or minus,≈|approximately,<|less than,>|greater than,≤|at most,"
        "≥|at least,≠|is not,@|at,%|percent,°|degrees,$|dollars,€|euros,£|pounds,¥|yen,§|section,√|square root of,∞|infinity,→|to"
    ).split(",")
)
_FRACTIONS: Final = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_NUMBER: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONTH: Final = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS) + r"|Sept\.?"
_YEAR: Final = r"1[1-9]\d\d|20\d\d"
_DOMAINS: Final = "com|org|net|edu|gov|info|io|ai|dev|app|co|uk|de|fr|cn|eu|us|tv|me"


def cardinal(text: str) -> str:
    """Return a number without sign in words: `1,234.5` → one thousand two hundred and thirty-four point five."""
    whole, _, decimals = text.replace(",", "").partition(".")
    if len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        spoken = _each(whole)
    else:
        spoken = str(num2words(int(whole))).replace(",", "")
    return f"{spoken} point {_each(decimals)}" if decimals else spoken


def _each(digits: str) -> str:
    return " ".join(str(num2words(int(digit))) for digit in digits)


def ordinal(number: int) -> str:
    """Return an ordinal number in words: 1 → first."""
    return str(num2words(number, to="ordinal")).replace(",", "")


def year(number: int) -> str:
    """Return a year in words: 1969 → nineteen sixty-nine."""
    return str(num2words(number, to="year")).replace(",", "")


def _signed(text: str) -> str:
    return ("minus " if text[0] in "-−" else "") + cardinal(text.lstrip("-−+"))


def _url(match: re.Match[str]) -> str:
    return _address(f"{match[1]}{match[2] or ''}".rstrip("/.,;:!?"))


def _address(text: str) -> str:
    for symbol, spoken in ((".", "dot"), ("/", "slash"), ("-", "dash"), ("_", "underscore"), ("@", "at")):
        text = text.replace(symbol, f" {spoken} ")
    return f" {text} "


def _money(match: re.Match[str]) -> str:
    unit, part = _MONEY[match[1]]
    amount, scale = match[2].replace(",", ""), match[3] or ""
    if scale:
        return f"{cardinal(amount)} {_SCALES.get(scale.lower(), scale.lower())} {_plural(unit)}"
    whole, _, decimals = amount.partition(".")
    if len(decimals) == 2 and part:
        pieces = [f"{cardinal(whole)} {unit if int(whole) == 1 else _plural(unit)}"] if int(whole) or not int(decimals) else []
        if int(decimals):
            pieces.append(f"{cardinal(str(int(decimals)))} {part if int(decimals) == 1 else _plural(part)}")
        return " and ".join(pieces)
    return f"{cardinal(amount)} {unit if amount == '1' else _plural(unit)}"


def _plural(word: str) -> str:
    return {"penny": "pence", "yen": "yen", "yuan": "yuan"}.get(word, f"{word}s")


def _unit(match: re.Match[str]) -> str:
    singular, _, plural = _UNITS[match[2]].partition("|")
    named = singular.replace("*", "") if match[1] == "1" else plural or singular.replace("*", "s")
    return f"{_signed(match[1])} {named}"


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2] or 0), (match[3] or "").replace(".", "").upper()
    stop = "." if half and match[3].endswith(".") and _ends_sentence(match) else ""
    spoken = str(num2words(hour)) if hour or half else "zero"
    if minute:
        spoken += f" {'oh ' if minute < 10 else ''}{num2words(minute)}"
    elif not half:
        spoken += " o'clock" if 0 < hour <= 12 else " hundred"
    return f"{spoken} {half}".rstrip() + stop


def _date(month: int, day: int, number: str = "") -> str:
    return f"{_MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(number))}" if number else "")


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, start=1) if name[:3] == month[:3])


def _month_first(match: re.Match[str]) -> str:
    return _date(_month(match[1]), int(match[2]), match[3] or "")


def _day_first(match: re.Match[str]) -> str:
    date = f"the {ordinal(int(match[1]))} of {_MONTHS[_month(match[2]) - 1]}"
    return f"{date} {year(int(match[3]))}" if match[3] else date


def _slashed(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[2])
    month, day = (first, second) if first <= 12 else (second, first)
    number = match[3] if len(match[3]) == 4 else f"20{match[3]}"
    return _date(month, day, number) if 1 <= month <= 12 and 1 <= day <= 31 else match[0].replace("/", " slash ")


def _phone(match: re.Match[str]) -> str:
    return ", ".join(_each(group) for group in re.findall(r"\d+", match[0]))


def _fraction(match: re.Match[str]) -> str:
    over, under = int(match[2]), int(match[3])
    if not 2 <= under <= 100 or over >= under:
        return f"{match[1] or ''}{cardinal(match[2])} over {cardinal(match[3])}"
    singular, plural = _FRACTIONS.get(under, (ordinal(under), f"{ordinal(under)}s"))
    return (f"{cardinal(match[1])} and " if match[1] else "") + f"{num2words(over)} {singular if over == 1 else plural}"


def _decade(match: re.Match[str]) -> str:
    number = int(match[1]) if len(match[1]) == 4 else 1900 + int(match[1])
    spoken = year(number)
    return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"


def _abbreviation(match: re.Match[str]) -> str:
    return _ABBREVIATIONS[match[1]] + ("." if match[1] in _LAST and _ends_sentence(match) else "")


def _ends_sentence(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :]
    return not rest.strip() or re.match(r"\s+[A-Z]", rest) is not None


def _saint(match: re.Match[str]) -> str:
    return "Saint" if re.match(r"\s+[A-Z]", match.string[match.end() :]) else "Street"


def _range(match: re.Match[str]) -> str:
    return f"{_ABBREVIATIONS.get(match[1], match[1])} to {_ABBREVIATIONS.get(match[2], match[2])}"


_SIGN: Final = r"(?:(?<![\w.])[-−])?"
_UNIT: Final = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_ABBREVIATED: Final = "|".join(sorted(_ABBREVIATIONS, key=len, reverse=True))
_SHORT_DAY: Final = "Mon|Tues?|Wed|Thu(?:rs)?|Fri|Sat|Sun"
_SHORT_MONTH: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
_RANGES: Final = (
    r"(?:(?<=\d:\d\d)|(?<=\d[AaPp][Mm])|(?<=\d%)|(?<=\d(?:st|nd|rd|th)))[-–—](?=\d)|(?<=\d)(?:-|\s*[–—]\s*)(?=[$£€¥]\d)"
)
"""Dashes that mean `to` after other things than bare numbers: 10%-20%, $5-$10, 10:30-11:45, 3rd-5th."""
_Rule = tuple[str, Callable[[re.Match[str]], str]]
_RULES: Final[tuple[_Rule, ...]] = (
    (rf"\d{{{LONGEST + 1},}}", lambda match: f" {_each(match[0])} "),
    (r"\b(?:https?://|ftp://|www\.)(?:www\.)?([\w.-]+)((?:/[\w./-]*)?)(?:[?#]\S*)?", _url),
    (r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b", lambda match: _address(match[0])),
    (rf"\b((?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}(?:{_DOMAINS}))\b((?:/[\w./-]*)?)", _url),
    (r"\s?\[\d+\]", lambda match: ""),
    (r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-−+]?\d{1,3})\b", lambda match: f"{match[1]} * 10^{match[2].lstrip('+')}"),
    (rf"\b({_SHORT_DAY})\.?\s?[-–—]\s?({_SHORT_DAY})\b", _range),
    (rf"\b({_SHORT_MONTH})\.?\s?[-–—]\s?({_SHORT_MONTH})\b", _range),
    (_RANGES, lambda match: " to "),
    (r"(?<![\w.)])[-−](?=[$£€¥]\s?\d)", lambda match: "minus "),
    (r"[-=]>", lambda match: " to "),
    (r"!=", lambda match: " is not "),
    (r"\b(pp?)\.\s?(?=\d)", lambda match: "pages " if match[1] == "pp" else "page "),
    (r"\b(\d)'\s?(\d{1,2})\"", lambda match: f"{cardinal(match[1])} foot {cardinal(match[2])}"),
    (r"(?<!\w)#(?=[^\W\d])", lambda match: "hashtag "),
    (r"#\s?(?=\d)", lambda match: "number "),
    (r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b", lambda match: _date(int(match[2]), int(match[3]), match[1])),
    (r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b", _slashed),
    (rf"\b({_MONTH})\s+([1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,?\s+({_YEAR}))?\b(?![:/])", _month_first),
    (rf"\b([1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s+({_MONTH})(?:,?\s+({_YEAR}))?\b", _day_first),
    (r"(?<![\d.,'’])['’]?\b((?:1[1-9]|20)\d0|[2-9]0)['’]?s\b", _decade),
    (r"\b([01]?\d|2[0-4]):([0-5]\d)(?::[0-5]\d)?(?:\s*([AaPp]\.[Mm]\.|[AaPp][Mm]\b))?(?!\d)", _time),
    (r"\b(1[0-2]|[1-9])()\s?([AaPp]\.[Mm]\.|[AaPp][Mm]\b)", _time),
    (rf"([$£€¥])\s?({_NUMBER})(?:\s?(k|K|m|M|bn|b|B|tn|thousand|million|billion|trillion)\b)?", _money),
    (rf"({_NUMBER})\s?(USD|EUR|GBP|JPY|CNY)\b", lambda match: f"{cardinal(match[1])} {_plural(_MONEY[match[2]][0])}"),
    (r"(?<![\w.])v?(\d+(?:\.\d+){2,})(?!\w)", lambda match: " point ".join(cardinal(part) for part in match[1].split("."))),
    (r"(?<![\w.])(?:\+\d{1,3}(?:[ -]\(?\d{1,4}\)?){2,6}|\+\d{8,15}|\(\d{2,4}\)\s?\d{3}[ -]?\d{4})(?![\w-])", _phone),
    (r"(?<![\w.-])\d{3}-\d{3,4}(?:-\d{4})?(?![\w-])", _phone),
    (r"(?<=\d)\s*[–—]\s*(?=[$£€¥]?\d)|(?<=\d)-(?=\d+(?:\.\d+)?(?![\d-]))(?<!\d-\d)", lambda match: " to "),
    (rf"({_SIGN}(?:{_NUMBER}))\s?({_UNIT})(?![\w/²³])", _unit),
    (r"\b(24)/(7)\b", lambda match: "twenty-four seven"),
    (r"(?:\b(\d+)\s+)?\b(\d{1,3})[/⁄](\d{1,3})\b(?!/)", _fraction),
    (r"\b(\d{1,3}(?:,\d{3})+|\d{1,15})(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1].replace(",", "")))),
    (r"(?<![\d.,-])(19\d\d|20\d\d)\b(?![.,]\d)", lambda match: year(int(match[1]))),
    (
        r"\b(in|since|from|until|till|by|year|after|before|around|circa|to)\s+(1[1-8]\d\d)\b(?![.,]\d)",
        lambda match: f"{match[1]} {year(int(match[2]))}",
    ),
    (r"\bNo\.\s?(?=\d)", lambda match: "number "),
    (r"(?<=\d)\s?(k|K|m|M|bn|tn)\b", lambda match: f" {_SCALES[match[1].lower()]}"),
    (r"(?<=\d)\s?[*xX]\s?(?=\d)", lambda match: " times "),
    (r"(?<=\d)\s*\^\s*(?=[\w-])", lambda match: " to the power of "),
    (r"~(?=\s?\d)", lambda match: "about "),
    (rf"({_SIGN}(?:{_NUMBER}))", lambda match: f" {_signed(match[1])} "),
    (r"\b(?:[A-Z]\.){2,}(?=(\s+[A-Z]|\s*$)?)", lambda match: match[0].replace(".", "") + ("." if match[1] is not None else "")),
    (r"\be\.g\.,?", lambda match: "for example,"),
    (r"\bi\.e\.,?", lambda match: "that is,"),
    (r"\ba\.k\.a\.", lambda match: "also known as"),
    (r"\bw/o\b", lambda match: "without"),
    (r"\bw/(?=\s)", lambda match: "with"),
    (r"\bSt\.", _saint),
    (rf"\b({_ABBREVIATED})\.", _abbreviation),
    (r"(?<=[^\W\d_])/(?=[^\W\d_])", lambda match: " or " if match.string[match.end() : match.end() + 3] != "or " else " "),
    (r"\b(and|or) or or\b", lambda match: f"{match[1]} or"),
    (rf"[{re.escape(''.join(_SYMBOLS))}]", lambda match: f" {_SYMBOLS[match[0]]} "),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), replace) for pattern, replace in _RULES)


def verbalise(text: str) -> str:
    """Replace numbers, symbols and abbreviations in `text` by the words in which they are spoken."""
    for pattern, replace in _COMPILED:
        text = pattern.sub(replace, text)
    return text
