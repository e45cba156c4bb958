"""Verbalisation of English: dates, times, money, units, phone numbers, versions, abbreviations and symbols become words.

The rules run in order over the whole text. Those that read several symbols together, such as a date, come before those that
read a number alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from soundflow.operators.speech.english_readers import (
    ENGLISH_CURRENCIES,
    LONGEST,
    NUMBER,
    SCALES,
    cardinal,
    decade,
    digits,
    mark_inches,
    ordinal,
    pairs,
    read_address,
    read_cents,
    read_clock_duration,
    read_coordinate,
    read_digit_groups,
    read_duration,
    read_fraction,
    read_greek,
    read_money,
    read_numbered,
    read_quantity,
    read_regnal,
    read_url,
    roman,
    signed,
    unit_in_words,
    year,
)
from soundflow.operators.speech.quantities import CENTS, PER, PERIODS, UNIT

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
        "≥|at least,≠|is not,@|at,%|percent,‰|per mille,°|degrees,¢|cents,§|section,√|square root of,∞|infinity,→|to,−|minus,"
        "©|copyright"
    ).split(",")
) | {
    symbol: names.unit[1]
    for symbol, names in ENGLISH_CURRENCIES.items()
    if unicodedata.category(symbol[0]) == "Sc" and len(symbol) == 1
}
_MONTH: Final = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS) + r"|Sept\.?"
_YEAR: Final = r"1[1-9]\d\d|20\d\d"
_DOMAINS: Final = "com|org|net|edu|gov|info|io|ai|dev|app|co|uk|de|fr|cn|eu|us|tv|me"
_SUFFIXES: Final = "js|ts|py|rs|go|cpp|html|css|json|yaml|csv|txt|pdf|docx?|xlsx?|pptx?|zip|jpe?g|png|gif|wav|mp[34]|md|exe|sh"
"""Suffixes of file names, whose dot is spoken."""
_SECTIONS: Final = (
    "Act|Appendix|Article|Book|Chapter|Class|Division|Episode|Figure|Grade|Level|Mark|Part|Phase|Scene|Season|Section|Stage|Step|"
    "Super Bowl|Table|Title|Type|Volume|World War"
)
"""Words before a Roman numeral that is read as a number."""
_RULERS: Final = (
    "Alexander|Benedict|Carl|Catherine|Charles|Christian|Clement|Edward|Elizabeth|Ferdinand|Francis|Frederick|George|Gregory|Gustav|"
    "Harald|Henry|Innocent|Ivan|James|John|John Paul|Julius|Leo|Louis|Mary|Napoleon|Nicholas|Otto|Paul|Peter|Philip|Pius|Ptolemy|"
    "Ramesses|Richard|Robert|Umberto|Urban|Victor|Wilhelm|William"
)
"""Names before a Roman numeral that is read as an ordinal."""


def _stopwatch(match: re.Match[str]) -> str:
    """Read `2:30:15` as a duration, or as a time of day behind a word such as `at`."""
    hours, minutes, seconds = (int(match[place]) for place in (2, 3, 4))
    if match[1]:
        if not seconds:
            return f"{match[1]}{hours}:{match[3]}"
        return f"{match[1]}{hours}:{match[3]} and {seconds} second{'' if seconds == 1 else 's'}"
    named = [(hours, "hour"), (minutes, "minute"), (seconds, "second")]
    parts = [f"{cardinal(str(count))} {name}{'' if count == 1 else 's'}" for count, name in named if count] or ["zero seconds"]
    return " and ".join(filter(None, (" ".join(parts[:-1]), parts[-1])))


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2] or 0), (match[3] or "").replace(".", "").upper()
    stop = "." if half and match[3].endswith(".") and _ends_sentence(match) else ""
    if hour in (0, 24) and not minute and not half:
        return "midnight"
    spoken = cardinal(str(hour)) if hour or half else "zero"
    if minute:
        spoken += f" {'oh ' if minute < 10 else ''}{cardinal(str(minute))}"
    elif not half:
        spoken += " o'clock" if 0 < hour <= 12 else " hundred"
    return f"{spoken} {half}".rstrip() + stop


def _date(month: int, day: int, number: str = "") -> str:
    return f"{_MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(number))}" if number else "")


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, start=1) if name[:3] == month[:3])


def _iso_date(match: re.Match[str]) -> str:
    clock = f" at {match[5]}" if match[5] else ""
    return _date(int(match[3]), int(match[4]), match[1]) + clock + (" UTC" if match[6] else "")


def _month_first(match: re.Match[str]) -> str:
    date = _date(_month(match[1]), int(match[2]))
    last = f" to {ordinal(int(match[3]))}" if match[3] else ""
    return date + last + (f", {year(int(match[4]))}" if match[4] else "")


def _day_first(match: re.Match[str]) -> str:
    days = f"the {ordinal(int(match[1]))}" + (f" to the {ordinal(int(match[2]))}" if match[2] else "")
    date = f"{days} of {_MONTHS[_month(match[3]) - 1]}"
    if re.search(r"\bthe\s$", match.string[: match.start()]):
        date = date.removeprefix("the ")
    return f"{date} {year(int(match[4]))}" if match[4] else date


def _dotted_date(match: re.Match[str]) -> str:
    day, month = int(match[1]), int(match[2])
    return f"the {ordinal(day)} of {_MONTHS[month - 1]} {year(int(match[3]))}"


def _slashed(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[3])
    month, day = (first, second) if first <= 12 else (second, first)
    number = match[4] if len(match[4]) == 4 else f"{'19' if match[4] >= '50' else '20'}{match[4]}"
    return _date(month, day, number) if 1 <= month <= 12 and 1 <= day <= 31 else match[0].replace(match[2], " slash ")


def _decade(match: re.Match[str]) -> str:
    number = int(match[2])
    if not match[1] and _TAKES.search(match.string[: match.start()]):
        return f"{cardinal(match[2])} seconds"
    return decade(number + 1900 if number < 100 and match[1] else number)


def _version(match: re.Match[str]) -> str:
    spoken = " point ".join(cardinal(part) for part in match[2].split("."))
    is_named = re.search(r"(?i)\bversion\s$", match.string[: match.start()])
    return f"version {spoken}" if match[1] and not is_named else spoken


def _resolution(match: re.Match[str]) -> str:
    return f"{cardinal(match[1] or match[2])} K"


def _abbreviation(match: re.Match[str]) -> str:
    return _ABBREVIATIONS[match[1]] + ("." if match[1] in _LAST and _ends_sentence(match) else "")


def _ends_sentence(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :]
    return not rest.strip() or re.match(r"\s+[A-Z]", rest) is not None


def _saint(match: re.Match[str]) -> str:
    return "Saint" if re.match(r"\s+[A-Z]", match.string[match.end() :]) else "Street"


def _range(match: re.Match[str]) -> str:
    return f"{_ABBREVIATIONS.get(match[1], match[1])} to {_ABBREVIATIONS.get(match[2], match[2])}"


def _code_before(match: re.Match[str]) -> str:
    """Drop the `$` of `AUD$5`."""
    return f"{match[1]} " if match[1] in ENGLISH_CURRENCIES else match[0]


def _any_of(symbols: list[str]) -> str:
    return "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))


_SIGN: Final = r"(?:(?<![\w.])[-−])?"
_DASH: Final = r"\s?[-–—~]\s?"
_ABBREVIATED: Final = "|".join(sorted(_ABBREVIATIONS, key=len, reverse=True))
_SHORT_DAY: Final = "Mon|Tues?|Wed|Thu(?:rs)?|Fri|Sat|Sun"
_SHORT_MONTH: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
_HALF: Final = r"[AaPp]\.[Mm]\.|[AaPp][Mm]\b"
_BEFORE: Final = rf"(?<![A-Za-z])(?:{_any_of(list(ENGLISH_CURRENCIES))})"
_BEHIND: Final = (
    rf"(?:{_any_of([symbol for symbol in ENGLISH_CURRENCIES if symbol not in ('R$', 'Rs', 'Rs.', 'RM')])})(?!\w)(?!\s?\d)"
)
_CODES: Final = _any_of([symbol for symbol in ENGLISH_CURRENCIES if re.fullmatch("[A-Z]{3}", symbol)])
_AMOUNT: Final = rf"\d{{1,3}}(?:\.\d{{3}})+,\d\d(?!\d)|\d+,\d\d(?![\d,])|{NUMBER}"
_SCALE: Final = r"(?:\s?(?:k|K|m|M|mn|bn|b|B|tn|T)|[\s-]?(?:hundred|thousand|million|billion|trillion|lakh|crore))\b"
_DAYS: Final = r"([1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_CLOCK_WORDS: Final = r"(?:\b(?:at|by|until|till|since|around|after|before|from)\s|@\s?)"
_TAKES: Final = re.compile(
    r"(?i)\b(?:for|within|after|every|lasts?|lasted|took|takes?|taking|waits?|waited|about|only|under|over|than)\s$"
)
"""Words before `90s` that make it ninety seconds and not the nineties."""
_PHONES: Final = (
    # +44 20 7946 0958, (555) 123-4567
    r"(?<![\w.])(?:\+(?=(?:\D{0,3}\d){7})\d{1,3}(?:[ -]?\(\d{1,4}\))?(?:[ -]?\d{1,8}){1,6}|"
    r"(?:1[ -])?\(\d{2,4}\)\s?\d{3}[ -]?\d{4})(?![\w-])",
    # 1-800-555-0199, 555.123.4567, 555-1234
    r"(?<![\w.-])(?:1[-.\s])?\d{3}([-. ])\d{3}\1\d{4}(?![\w-])|(?<![\w.-])\d{3}-\d{4}(?![\w-])",
    # 020 7946 0958
    r"(?<![\w.,-])0\d{2,4}[ -]\d{2,4}(?:[ -]?\d{3,4}){1,2}(?![\w-])|(?<![\w.,-])0\d{9,10}(?![\w-])",
    # 123-45-6789, 978-3-16-148410-0, 4111 1111 1111 1111
    r"(?<![\w.-])(?:\d{3}-\d\d-\d{4}|\d{1,5}(?:-\d{1,7}){3,8}|\d{4}([ -])\d{4}\1\d{4}\1\d{4})(?![\w-])",
)
_CALLED: Final = (
    r"(?i)\b((?:call|dial|phone|ring|tel\.?|text)\s)(\d{3}|\d{7,11}|\d{3,4} \d{3,4})(?![\w.,:-]*\d)"
    r"(?!\s(?:people|times|of|friends))"
)
_DURATION: Final = (
    r"(?<![\w.])(?:(?:\d+d\s?)?\d+\s?h(?:rs?)?\s?\d+\s?m(?:ins?)?(?:\s?\d+\s?s(?:ecs?)?)?|\d+h\d\d|\d+\s?m(?:in)?\s?\d+\s?s(?:ec)?|"
    r"\d+d\s?\d+h)(?!\w)"
)
_CLOCK_DURATION: Final = (
    rf"({_CLOCK_WORDS})?(?<![\d:.])\b([1-9](?=.{{3}}\s?h)|\d{{1,3}}(?=.{{3}}\s?m)):([0-5]\d)\s?(h(?:ou)?rs?|min(?:ute)?s?)\b"
)
_QUANTITY_RANGE: Final = (
    rf"(\d(?:\s?(?:{UNIT})|{_SCALE}|st|nd|rd|th|\s?(?:[€£¥¢]|[A-Z]{{3}}\b))){_DASH}(?=[-−]?(?:{_BEFORE}\s?)?\.?\d)"
)
_MONEY: Final = (
    rf"(?P<a>\b[Aa]n?\s)?(?P<sign>(?<![\w.)])[-−])?(?P<currency>{_BEFORE})\s?(?P<sign_after>[-−])?"
    rf"(?:(?P<from>{NUMBER}) to (?=[\d.]))?(?P<amount>{_AMOUNT})(?P<scale>{_SCALE})?(?:\s?(?P<code>{_CODES})\b)?"
)
_MONEY_BEHIND: Final = rf"(?P<sign>(?<![\w.)])[-−])?(?P<amount>{_AMOUNT})(?P<scale>{_SCALE})?\s?(?P<currency>{_BEHIND})"
_QUANTITY: Final = (
    rf"(?P<a>\b[Aa]n?\s)?(?P<number>(?<![\d/.])(?:\d+\s)?\d{{1,3}}/\d{{1,3}}(?![\d/])|{_SIGN}(?:{NUMBER}))"
    rf"(?P<scale>\s(?:hundred|thousand|million|billion|trillion))?(?P<gap>[\s-]?)(?P<unit>{UNIT})"
)
_BARE_UNIT: Final = r"(?<![\w/])(?:km|m|mi|kg|g|mg|[kMG]B|[kMG]b)/(?:h|s|L|l|dL|min|m\^[23])(?![\w/])"
_MILLIONS: Final = (
    r"(?<=\d)\s?m(?=\s(?:people|users|views|followers|copies|customers|subscribers|downloads|visitors|jobs|homes)\b)"
)
_RATING: Final = r"(?i)\b((?:rate|rated|rating|score|scored|gave|give|got)\b[\w ',]{0,20}?\d+)/(5|10|100)\b"
_PATH: Final = (
    rf"(?<![\w./-])[\w.-]{{1,64}}(?:/[\w.-]{{1,64}}){{1,16}}\.(?:{_SUFFIXES})\b|(?<![\w./-])(?:/[\w.-]{{1,64}}){{2,16}}(?<=\w)"
)
_Rule = tuple[str, Callable[[re.Match[str]], str]]
_RULES: Final[tuple[_Rule, ...]] = (
    (rf"\d{{{LONGEST + 1},}}", lambda match: f" {digits(match[0])} "),
    # Addresses and names.
    (r"\b(?:https?://|ftp://|www\.)(?:www\.)?([\w.:-]+)((?:/[\w./-]*)?)(?:[?#]\S*)?", read_url),
    (r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b", lambda match: read_address(match[0])),
    (rf"\b((?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}(?:{_DOMAINS}))\b((?:/[\w./-]*)?)", read_url),
    (_PATH, lambda match: read_address(match[0])),
    (rf"(?<=\w)\.(?=(?:{_SUFFIXES})\b)", lambda match: " dot "),
    (r"\b([A-Z])\.(\d{3,})\b", lambda match: f"{match[1]} dot {digits(match[2])}"),
    (r"(?<!\S)\.(?=[A-Z]{2})", lambda match: " dot "),
    (r"\s?\[\d+\]", lambda match: ""),
    (r"\b([A-G])[#♯](?!\w)", lambda match: f"{match[1]} sharp"),
    (r"(?<=\w)\+\+", lambda match: " plus plus "),
    (r"(?<=\d)\s?x\s?(?=10\^)|(?<=\d)\s?[×*]\s?(?=10\^)", lambda match: " times "),
    (r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-−+]?\d{1,3})\b", lambda match: f"{match[1]} times 10^{match[2].lstrip('+')}"),
    (r"(?<![\w.,$€£¥])([24568]|16)\s?K\b|\b([248])k(?=\s(?:TV|[a-z]*(?:video|display|monitor|screen|resolution)))", _resolution),
    (r"(?<![\w.])(\d{3,4})[pi]\b", lambda match: f"{pairs(int(match[1]))} {match[0][-1]}"),
    (rf"\b({_SECTIONS}) ([IVXL]+)\b", read_numbered),
    (rf"\b({_RULERS}) ([IVXL]{{2,}}|[VX])\b", read_regnal),
    (rf"\b((?:King|Queen|Pope|Emperor|Empress|Tsar|Kaiser) (?:{_RULERS})) (I)\b", read_regnal),
    (r"\b([IVXL]+)(?:th|st|nd|rd)? (?=[Cc]entury\b)", lambda m: f"{ordinal(roman(m[1]))} " if roman(m[1]) else m[0]),
    # Dates.
    (
        r"\b(\d{4})([-/])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?:(?:T|\s)(\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|\+00:00)?)?(?![\d-])",
        _iso_date,
    ),
    (r"\b(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d{2})\b(?!-)", _slashed),
    (r"\b(0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])\.((?:19|20)\d\d)\b", _dotted_date),
    (rf"\b({_SHORT_DAY})\.?\s?[-–—]\s?({_SHORT_DAY})\b", _range),
    (rf"\b({_SHORT_MONTH})\.?\s?[-–—]\s?({_SHORT_MONTH})\b", _range),
    (rf"\b({_MONTH})\s+{_DAYS}(?:{_DASH}{_DAYS})?(?:,?\s+({_YEAR}))?\b(?![:/])", _month_first),
    (rf"\b{_DAYS}(?:{_DASH}{_DAYS})?\s+({_MONTH})(?:,?\s+({_YEAR}))?\b", _day_first),
    (rf"\b({_SHORT_MONTH})\.?\s(?=(?:{_YEAR})\b)", lambda match: f"{_MONTHS[_month(match[1]) - 1]} "),
    # Phone numbers and other numbers that are read digit by digit.
    *((pattern, read_digit_groups) for pattern in _PHONES),
    (r"(?<![\w.-])1-(8\d\d)-(?=[A-Z])", lambda match: f"one, {digits(match[1])}, "),
    (_CALLED, lambda match: match[1] + ", ".join(map(digits, match[2].split()))),
    (r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)", lambda match: " dot ".join(map(cardinal, match[0].split(".")))),
    (r"(?<![\w.])(v(?=\d)|V(?=\d+\.\d))(\d+(?:\.\d+)*)(?!\w)", _version),
    (r"(?<![\w.])()(\d+(?:\.\d+){2,})(?!\w)", _version),
    # Clock times, durations, ratios.
    (rf"({_CLOCK_WORDS})?(?<![\d:])\b(\d{{1,3}}):([0-5]\d):([0-5]\d)(?:\.\d+)?(?![\d:]|\s?(?:{_HALF}))", _stopwatch),
    (r"(?i)\b((?:ratio|scale|odds)(?: of| is)? \d+):(?=\d)", lambda match: f"{match[1]} to "),
    (rf"(?<=\d){_DASH}(?=(?:1[0-2]|[1-9])(?:[:.][0-5]\d)?\s?(?:{_HALF}))", lambda match: " to "),
    (rf"(?<=\d:\d\d){_DASH}(?=\d\d?:\d\d)", lambda match: " to "),
    (rf"(\d\s?(?:[AaPp]\.[Mm]\.|[AaPp][Mm])){_DASH}(?=\d)", lambda match: f"{match[1]} to "),
    (rf"\b([01]?\d|2[0-4]):([0-5]\d):([0-5]\d)\s*({_HALF})", lambda m: f"{m[1]}:{m[2]} and {cardinal(m[3])} seconds {m[4]}"),
    (_CLOCK_DURATION, read_clock_duration),
    (rf"\b([01]?\d|2[0-4]):([0-5]\d)(?:\s*({_HALF}))?(?![\d:])", _time),
    (rf"\b(1[0-2]|0?[1-9])(?:\.([0-5]\d))?\s?({_HALF})", _time),
    (r"\b([01]\d|2[0-3])(00)(?=\s(?:hours|hrs)\b)", lambda match: f"{cardinal(str(int(match[1])))} hundred"),
    (r"(?<![\w:])(\d+):(\d+)(?![\w:])", lambda match: f"{match[1]} to {match[2]}"),
    (_DURATION, read_duration),
    (r"(\d{1,3})°\s?(\d{1,2})['′’](?:\s?(\d{1,2}(?:\.\d+)?)[\"″”])?\s?([NSEW])?(?!\w)", read_coordinate),
    (r"(\d{1,3}(?:\.\d+)?)°()()\s?([NSEW])(?!\w)", read_coordinate),
    (r"\b(\d)['′’]\s?(\d{1,2})(?:\"|″|”|'')?(?!\w)", lambda match: f"{cardinal(match[1])} foot {cardinal(match[2])}"),
    (r"(?<![\w.])((?:\d+\s)?\d+/\d+|\d+(?:\.\d+)?)(?:\"|\s?in\.)(?!\w)", mark_inches),
    (r"(?<=\bft\s)(\d+)\s?in\b", lambda match: f"{match[1]}″"),
    (r"(?<![\w.])(\d+)['′](?=\s(?:tall|long|wide|high|deep|by)\b)", lambda match: f"{match[1]} ft"),
    (r"\b(degrees?) ([CF])\b", lambda match: f"{match[1]} {'Celsius' if match[2] == 'C' else 'Fahrenheit'}"),
    # Decades and years.
    (r"(?<=\d0s)[-–—](?=['’]?\d)", lambda match: " to "),
    (r"(?<![\d.,'’])(['’]?)\b((?:1[1-9]|20)\d0|[2-9]0)['’]?s\b", _decade),
    (rf"(?<=\()({_YEAR}){_DASH}({_YEAR})(?=\))", lambda match: f"{year(int(match[1]))} to {year(int(match[2]))}"),
    (rf"\b(from|between|during)\s({_YEAR}){_DASH}({_YEAR})\b", lambda m: f"{m[1]} {year(int(m[2]))} to {year(int(m[3]))}"),
    (r"\b(\d{1,4})(?=\s(?:BCE?|CE|AD)\b)|(?<=\bAD\s)(\d{1,4})\b", lambda match: year(int(match[1] or match[2]))),
    # Ranges: a dash between two quantities.
    (r"(?<=\d)\s?−\s?(?=\d)|(?<=\d)\s?-\s?(?=\d[\d.,]*\s?=)", lambda match: " minus "),
    (rf"(\d\s?(?:{UNIT}))\s?/\s?(?=[-−]?\d)(?!10+\s?[a-z])", lambda match: f"{match[1]} or "),
    (r"\b(\d{3,4})[x×](\d{3,4})\b(?!\s?=)", lambda match: f"{pairs(int(match[1]))} by {pairs(int(match[2]))}"),
    (rf"(\d\s?(?:{UNIT}))\s?[x×]\s?(?=\d)|(?<=\d)()[x×](?=\d)(?!\d+\s?=)", lambda match: f"{match[1] or ''} by "),
    (r"(?<=[\dm.])\s?[-–—]\s?(?=(?:noon|midnight|present|now|today)\b)", lambda match: " to "),
    (_QUANTITY_RANGE, lambda match: f"{match[1]} to "),
    (rf"(?<=\d)(?:\s?[–—~]\s?|\s?-\s?)(?=(?:{_any_of(list(ENGLISH_CURRENCIES))})\s?\d)", lambda match: " to "),
    (r"(?<!\S)[–](?=\d+(?:\.\d+)?\s?°)", lambda match: "-"),
    (rf"({_BEFORE}\s?(?:{NUMBER})){_DASH}(?=(?:{NUMBER}))", lambda match: f"{match[1]} to "),
    (r"~(?=\s?[-−$£€¥₹]?\d)", lambda match: " about "),
    # Money.
    (r"\b([A-Z]{2,3})\s?\$(?=\s?\d)", lambda m: f"{m[1]}$" if f"{m[1]}$" in ENGLISH_CURRENCIES else _code_before(m)),
    (_MONEY, read_money),
    (_MONEY_BEHIND, read_money),
    (rf"(?<![\w.,])({NUMBER})\s?{CENTS}|{CENTS}({NUMBER})", read_cents),
    (r"(?<![\w.,])(\d{1,2})p\b", lambda match: f"{cardinal(match[1])} {'penny' if match[1] == '1' else 'pence'}"),
    # Quantities.
    (r"[-=]>", lambda match: " to "),
    (r"!=", lambda match: " is not "),
    (r"\b(pp?)\.\s?(?=\d)", lambda match: "pages " if match[1] == "pp" else "page "),
    (r"(?<!\w)#(?=[^\W\d])", lambda match: "hashtag "),
    (r"#\s?(?=\d)", lambda match: "number "),
    (_MILLIONS, lambda match: " million"),
    (r"(?<=\d)\s?(?:[–—~]\s?|-(?=\d+(?:\.\d+)?(?![\d-]))(?<!\d-\d-))(?=\d)", lambda match: " to "),
    (r"(?<=\d)\s-\s(?=\d)", lambda match: " to "),
    (rf"(?<=10)\^([-−]?\d{{1,3}}?)\s?({UNIT})", lambda m: f" to the power of {m[1]} {unit_in_words(m[2], plural=True)}"),
    (_QUANTITY, read_quantity),
    (_BARE_UNIT, lambda match: unit_in_words(match[0], plural=True)),
    (rf"(?<=[a-z\d])({PER})", lambda match: f" {unit_in_words(match[1], plural=False)}"),
    (rf"(?<=[a-z\d])\s?/\s?(?=(?:{PERIODS})\b)(?<!or\s/)", lambda match: " per "),
    (r"(?<=\d)\sK\b", lambda match: " kelvin"),
    # Numbers.
    (rf"(?<=\bper\s)({UNIT})", lambda match: unit_in_words(match[1], plural=False)),
    (r"\b(?:(24)/7|9/11)\b", lambda match: "twenty-four seven" if match[1] else "nine eleven"),
    (_RATING, lambda match: f"{match[1]} out of {match[2]}"),
    (r"(?:(?<![\w.,])(\d+)\s+)?\b(\d{1,3})[/⁄](\d{1,3})\b(?!/)", read_fraction),
    (r"\b(\d{1,3}(?:,\d{3})+|\d{1,15})(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1].replace(",", "")))),
    (r"(?<![\d.,-])(19\d\d|20\d\d)\b(?![.,]\d)", lambda match: year(int(match[1]))),
    (
        r"\b(in|since|from|until|till|by|year|after|before|around|circa|to)\s+(1[1-8]\d\d)\b(?![.,]\d)",
        lambda match: f"{match[1]} {year(int(match[2]))}",
    ),
    (r"\bNo\.\s?(?=\d)", lambda match: "number "),
    (r"(?<=\d)\s?(k|K|m|M|bn|tn)\b", lambda match: f" {SCALES[match[1].lower()]}"),
    (r"\b(\d+(?:\.\d+)?)x\b", lambda match: f"{cardinal(match[1])} times"),
    (r"(?<=\d)\s?[*xX]\s?(?=\d)", lambda match: " times "),
    (r"(?<=[\w)])\^2(?![\d.])", lambda match: " squared"),
    (r"(?<=[\w)])\^3(?![\d.])", lambda match: " cubed"),
    (r"(?<=[\w)])\s*\^\s*(?=[\w-])", lambda match: " to the power of "),
    (rf"({_SIGN}(?:{NUMBER}))", lambda match: f" {signed(match[0])} "),
    # Abbreviations and symbols.
    (r"\b(?:[A-Z]\.){2,}(?=(\s+[A-Z]|\s*$)?)", lambda match: match[0].replace(".", "") + ("." if match[1] is not None else "")),
    (r"\be\.g\.,?", lambda match: "for example,"),
    (r"\bi\.e\.,?", lambda match: "that is,"),
    (r"\ba\.k\.a\.", lambda match: "also known as"),
    (r"\bw/o\b", lambda match: "without"),
    (r"\bw/(?=\s)", lambda match: "with"),
    (r"\b[nN]/[aA]\b", lambda match: "not applicable"),
    (r"\bc/o\b", lambda match: "care of"),
    (r"\bSt\.", _saint),
    (rf"\b({_ABBREVIATED})\.", _abbreviation),
    (r"(?<=[A-Z])/(?=[A-Z])", lambda match: " "),
    (r"(?<=[^\W\d_])/(?=[^\W\d_])", lambda match: " or " if match.string[match.end() : match.end() + 3] != "or " else " "),
    (r"\b(and|or) or or\b", lambda match: f"{match[1]} or"),
    (r"(?<![\u0370-\u03ff])[\u0391-\u03a9\u03b1-\u03c9](?![\u0370-\u03ff])", read_greek),
    (rf"[{re.escape(''.join(_SYMBOLS))}]", lambda match: f" {_SYMBOLS[match[0]]} "),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), replace) for pattern, replace in _RULES)


def verbalise(text: str) -> str:
    """Replace numbers, symbols and abbreviations in `text` by the words in which they are spoken."""
    for pattern, replace in _COMPILED:
        text = pattern.sub(replace, text)
    return text
