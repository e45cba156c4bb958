"""Say in English words: cardinals, ordinals, years, fractions, digits, Roman numerals; and what a rule of `english` has matched.

A function `read_…` takes the match and returns its words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from num2words import num2words

from soundflow.operators.speech.quantities import CURRENCIES, ENGLISH_YEN, Currency, factors

LONGEST: Final = 15
"""Maximum digits of a number that is read as a whole. Longer ones are read digit by digit."""
NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d|,\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+"
"""Pattern of a number without sign. Groups have three digits, or two in the Indian system: `12,34,567`."""
ENGLISH_CURRENCIES: Final[dict[str, Currency]] = {**CURRENCIES, "¥": ENGLISH_YEN}
SCALES: Final = {
    "k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion", "t": "trillion",
}  # fmt: skip
"""Letters behind a number that multiply it, in lower case."""
_FRACTIONS: Final = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_LONGEST_QUOTATION: Final = 300
"""Characters in which a quotation mark is searched that a mark behind a number may close."""
_NOUN: Final = re.compile(r" (?!(?:x|by|and|or|to|in|of|is|at) |wide|long|tall|high|deep)[a-z]")
"""What follows a quantity that is an adjective: `27" monitor`, but not `27" wide`."""
_ROMAN: Final = re.compile(r"(?=[IVXL])(X{0,3}|XL|L)(IX|IV|V?I{0,3})")
_ROMAN_TENS: Final = {"": 0, "X": 10, "XX": 20, "XXX": 30, "XL": 40, "L": 50}
_ROMAN_ONES: Final = {one: value for value, one in enumerate(["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"])}


def cardinal(text: str) -> str:
    """Return a number without sign in words: `1,234.5` → one thousand two hundred and thirty-four point five."""
    whole, _, decimals = text.replace(",", "").partition(".")
    if not whole:
        spoken = ""
    elif len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        spoken = digits(whole)
    else:
        spoken = str(num2words(int(whole))).replace(",", "")
    return f"{spoken} point {digits(decimals)}".lstrip() if decimals else spoken


def signed(text: str) -> str:
    """Return a number with an optional sign in words."""
    return ("minus " if text[0] in "-−" else "") + cardinal(text.lstrip("-−+"))


def digits(text: str) -> str:
    """Return the names of the digits: `007` → zero zero seven."""
    return " ".join(str(num2words(int(digit))) for digit in text)


def ordinal(number: int) -> str:
    """Return an ordinal number in words: 1 → first."""
    return str(num2words(number, to="ordinal")).replace(",", "")


def year(number: int) -> str:
    """Return a year in words: 1969 → nineteen sixty-nine."""
    return str(num2words(number, to="year")).replace(",", "")


def decade(number: int) -> str:
    """Return the name of a decade: 1990 → nineteen nineties, 90 → nineties."""
    spoken = year(number) if number >= 100 else cardinal(str(number))
    return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"


def pairs(number: int) -> str:
    """Return a number of three or four digits as it is said in names: 1080 → ten eighty, 720 → seven twenty."""
    high, low = divmod(number, 100)
    if not low:
        return cardinal(str(number))
    return f"{num2words(high)} {'oh ' if low < 10 else ''}{num2words(low)}"


def fraction(over: int, under: int) -> str:
    """Return a fraction in words: 3, 4 → three quarters; 22, 7 → twenty-two over seven."""
    if not 2 <= under <= 100 or over >= under:
        return f"{cardinal(str(over))} over {cardinal(str(under))}"
    singular, plural = _FRACTIONS.get(under, (ordinal(under), f"{ordinal(under)}s"))
    return f"{num2words(over)} {singular if over == 1 else plural}"


def roman(text: str) -> int:
    """Return the value of a Roman numeral of up to 59; 0 if the text is none."""
    match = _ROMAN.fullmatch(text)
    return _ROMAN_TENS[match[1]] + _ROMAN_ONES[match[2]] if match else 0


def read_money(match: re.Match[str]) -> str:
    """Read an amount with its currency before or behind it: `-US$1.5bn`, `$5-10`, `€1.250,50`, `$5 CAD`, `a $5 bill`."""
    found = match.groupdict()
    code = found.get("code") or found["currency"]
    currency = ENGLISH_CURRENCIES["US$" if code == "USD" and found.get("code") else code]  # `$5 USD` is said in full
    amount, scale = _without_groups(found["amount"]), (found.get("scale") or "").strip(" -")
    is_adjective = bool(found.get("a"))
    spoken = "minus " if found.get("sign") or found.get("sign_after") else ""
    if found.get("from"):
        spoken += f"{cardinal(_without_groups(found['from']))} to "
    whole, _, decimals = amount.partition(".")
    if scale:
        named = cardinal(amount)
        spoken += f"{named} {SCALES.get(scale.lower(), scale.lower())} {currency.unit[0 if is_adjective else 1]}"
    elif len(decimals) == 2 and currency.part[0] and not found.get("from"):
        has_whole = int(whole or 0) or not int(decimals)
        parts = [f"{cardinal(whole)} {currency.unit[0 if int(whole) == 1 else 1]}"] if has_whole else []
        if int(decimals):
            parts.append(f"{cardinal(str(int(decimals)))} {currency.part[0 if int(decimals) == 1 else 1]}")
        spoken += " and ".join(parts)
    else:
        is_one = amount == "1" and not found.get("from")
        spoken += f"{cardinal(amount)} {currency.unit[0 if is_one or is_adjective else 1]}"
    return (found.get("a") or "") + spoken


def _without_groups(amount: str) -> str:
    """Return an amount with a decimal point and without separators: `1.250,50` → 1250.50, `1,250.50` → 1250.50."""
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})*,\d\d|\d+,\d\d", amount):
        amount = amount.replace(".", "").replace(",", ".")
    return amount.replace(",", "")


def read_cents(match: re.Match[str]) -> str:
    """Read cents: `20¢`, `¢20`."""
    amount = match[1] or match[2]
    return f"{cardinal(amount)} {'cent' if amount == '1' else 'cents'}"


def read_quantity(match: re.Match[str]) -> str:
    """Read a number with its unit: `5 km/h`, `1/2 kg`, `3 million km`, `a 10 kg bag`, `a 10-kg bag`."""
    number, scale = match["number"], match["scale"] or ""
    is_adjective = bool(match["a"]) or match["gap"] == "-"
    is_one = number.lstrip("-−") == "1" and not scale
    article = match["a"] or ""
    if "/" in number:
        whole, over, under = re.fullmatch(r"(?:(\d+)\s)?(\d+)/(\d+)", number).groups()  # type: ignore[union-attr]
        if whole is None and int(over) < int(under):
            part = "half" if (over, under) == ("1", "2") else f"{fraction(int(over), int(under))} of"
            singular = unit_in_words(match["unit"], plural=False)
            return f"{article}{part} {'an' if re.match('[aeiou]|hour', singular) else 'a'} {singular}"
        spoken = (f"{cardinal(whole)} and " if whole else "") + fraction(int(over), int(under))
    else:
        spoken = signed(number) + scale
    return f"{article}{spoken} {unit_in_words(match['unit'], plural=not (is_one or is_adjective))}"


def unit_in_words(text: str, plural: bool) -> str:
    """Return a unit in words: `km/h` → kilometers per hour; `text` matches `UNIT` or `PER`."""
    spoken = []
    parts = factors(text)
    last = max((place for place, factor in enumerate(parts) if not factor.is_per), default=-1)
    for place, factor in enumerate(parts):
        count = f"{cardinal(factor.multiple)} " if factor.multiple else ""
        is_plural = (place == last and plural) if not factor.is_per else factor.multiple not in ("", "1")
        spoken.append(f"{'per ' if factor.is_per else ''}{count}{factor.english[is_plural]}")
    return " ".join(spoken)


def read_duration(match: re.Match[str]) -> str:
    """Read `1h30m`, `2 min 5 s`: consecutive parts with units of time."""
    names = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
    parts = [
        f"{cardinal(count)} {names[unit]}{'' if count == '1' else 's'}"
        for count, unit in re.findall(r"(\d+)\s?([dhms])", match[0])
    ]
    if re.search(r"\d$", match[0]):  # 1h30
        parts.append(f"{cardinal(re.findall(r'[0-9]+$', match[0])[0])} minutes")
    return " ".join([*parts[:-1], "and", parts[-1]])


def read_clock_duration(match: re.Match[str]) -> str:
    """Read `1:30 hours` and `4:15 minutes`; `at 1:30 hours` is a time of day."""
    count, rest = int(match[2]), int(match[3])
    is_hours = match[4].startswith("h")
    if is_hours and match[1]:
        return match[0]
    larger, smaller = ("hour", "minute") if is_hours else ("minute", "second")
    if rest == 30 and count:
        return f"{match[1] or ''}{cardinal(match[2])} and a half {larger}s"
    named = [(count, larger), (rest, smaller)]
    parts = [f"{cardinal(str(number))} {name}{'' if number == 1 else 's'}" for number, name in named if number]
    return (match[1] or "") + (" and ".join(parts) or f"zero {larger}s")


def read_digit_groups(match: re.Match[str]) -> str:
    """Read numbers digit by digit, with a pause between groups: `555-1234`."""
    number = match[0].replace("(0)", " ") if match[0].startswith("+") else match[0]
    return ", ".join(digits(group) for group in re.findall(r"\d+", number))


def read_fraction(match: re.Match[str]) -> str:
    """Read a fraction, or the same number twice: `1 1/2`, `50/50`."""
    whole, over, under = match[1], int(match[2]), int(match[3])
    if over == under and whole is None:
        return f"{cardinal(match[2])} {cardinal(match[3])}"
    if whole and over >= under:
        return f"{whole} {fraction(over, under)}"
    return (f"{cardinal(whole)} and " if whole else "") + fraction(over, under)


def read_numbered(match: re.Match[str]) -> str:
    """Read `World War II`."""
    return f"{match[1]} {cardinal(str(value))}" if (value := roman(match[2])) else match[0]


def read_regnal(match: re.Match[str]) -> str:
    """Read `Henry VIII`."""
    return f"{match[1]} the {ordinal(value)}" if (value := roman(match[2])) else match[0]


def read_coordinate(match: re.Match[str]) -> str:
    """Read `40°42'46"N`."""
    names = {"N": "north", "S": "south", "E": "east", "W": "west", None: ""}
    parts = [(match[1], "degree"), (match[2], "minute"), (match[3], "second")]
    spoken = [f"{cardinal(count)} {name}{'' if count == '1' else 's'}" for count, name in parts if count]
    return " ".join([*spoken, names[match[4]]]).rstrip()


def read_greek(match: re.Match[str]) -> str:
    """Read a Greek letter by its name."""
    return f" {unicodedata.name(match[0]).partition('LETTER ')[2].replace('FINAL ', '').replace('LAMDA', 'LAMBDA').lower()} "


def mark_inches(match: re.Match[str]) -> str:
    """Write inches with the symbol of the unit, with a hyphen before a noun: `27" monitor`."""
    before, is_quoted = match.string[max(match.start() - _LONGEST_QUOTATION, 0) : match.start()], False
    for mark in re.finditer('"', before):  # a mark that follows a digit outside quotations means inches
        is_quoted = not is_quoted and not before[max(mark.start() - 1, 0) : mark.start()].isdigit()
    if is_quoted:
        return match[0]
    is_adjective = _NOUN.match(match.string, match.end())
    return f"{match[1]}{'-' if is_adjective else ''}″"


def read_url(match: re.Match[str]) -> str:
    """Read the host and the path of an address on the web; a sentence may end with it."""
    whole = f"{match[1]}{match[2] or ''}"
    address = whole.rstrip("/.,;:!?")
    return read_address(address) + whole[len(address) :].replace("/", "")


def read_address(text: str) -> str:
    """Read an address or path: the symbols in it are named."""
    for symbol, spoken in ((".", "dot"), ("/", "slash"), ("-", "dash"), ("_", "underscore"), ("@", "at"), (":", "colon")):
        text = text.replace(symbol, f" {spoken} ")
    return f" {text} "
