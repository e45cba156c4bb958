"""The rule rewriter: what is written as it is spoken, and what holds for any text at all."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.speech.mandarin import cardinal
from soundflow.operators.speech.normalise import to_spoken_form
from tests.support.spoken_pairs import PAIRS

ENGLISH = {
    "The meeting is on 2024-03-05 at 14:05.": "The meeting is on March fifth, twenty twenty-four at fourteen oh five.",
    "On March 3, 2021, we met.": "On March third, twenty twenty-one, we met.",
    "the 4th of July in 1776": "the fourth of July in seventeen seventy-six",
    "Born 12 Jan. 1969.": "Born the twelfth of January nineteen sixty-nine.",
    "It starts at 7:30 p.m. Be there by 7:00.": "It starts at seven thirty PM. Be there by seven o'clock.",
    "It costs $1,250.50.": "It costs one thousand two hundred and fifty dollars and fifty cents.",
    "not €3.5m": "not three point five million euros",
    "$0.99 or 45 USD": "ninety-nine cents or forty-five dollars",
    "5-10 km at -5 °C and 60 km/h": "five to ten kilometers at minus five degrees Celsius and sixty kilometers per hour",
    "1 kg, 250g, 3 m²": "one kilogram, two hundred and fifty grams, three square meters",
    "the 1990s and the '80s": "the nineteen nineties and the nineteen eighties",
    "1st, 22nd, 103rd": "first, twenty-second, one hundred and third",
    "1/2, 3/4, 2½ cups": "one half, three quarters, two and one half cups",
    "Call +1 555-123-4567.": "Call one, five five five, one two three, four five six seven.",
    "version 3.11.2, GPT-4, H2O": "version three point eleven point two, GPT four, H two O",
    "Dr. Smith vs. Mrs. Jones, e.g. on Mon.": "Doctor Smith versus Missus Jones, for example, on Monday",
    "Apples, pears, etc. They are ripe.": "Apples, pears, et cetera. They are ripe.",
    "The U.S. economy": "The US economy",
    "15% & 3 < 5 + 1": "fifteen percent and three less than five plus one",
    "5 * 3 = 15, 2^10": "five times three equals fifteen, two to the power of ten",
    "info@example.com or www.example.com/a_b": "info at example dot com or example dot com slash a underscore b",
    "#Python @user #1": "hashtag Python at user number one",
    "and/or he/she": "and or he or she",
    "007 and 1111111111111111": "zero zero seven and" + 16 * " one",
    "# Title\n\nSome **bold** `code`, [a link](https://x.com/?q=1).\n\n* one\n* 2": "Title. Some bold code, a link. one. two",
    "| a | b |\n|---|---|\n| 1 | 2 |": "a. b. one. two",
    "Look:\n```python\nprint(1)\n```\nDone.": "Look: Done.",
    "Don't — \u201creally\u201d… (see below) [1]": "Don't, really. see below",
    "From 9-5, Mon-Fri.": "From nine to five, Monday to Friday.",
    "Jan. – Mar 2024": "January to March twenty twenty-four",
    "10%-20% or $5-$10": "ten percent to twenty percent or five dollars to ten dollars",
    "10:30-11:45, 9am-5pm": "ten thirty to eleven forty-five, nine AM to five PM",
    "the 3rd-5th and the Mar-a-Lago": "the third to fifth and the Mar-a-Lago",
    "-$5": "minus five dollars",
    "1e-3, 2.5E6": "one times ten to the power of minus three, two point five times ten to the power of six",
    "pp. 12-15, p. 7 at 5 p.m.": "pages twelve to fifteen, page seven at five PM.",
    "a -> b, x != y": "a to b, x is not y",
    "😀": "grinning face",
    "***": "asterisk asterisk asterisk",
    "Thanks 😀!": "Thanks!",
}  # fmt: skip
MANDARIN = {
    "今天是2024年3月5日，25°C，湿度50%。": "今天是二零二四年三月五日，二十五摄氏度，湿度百分之五十。",
    "2024-03-05 12:30": "二零二四年三月五日十二点三十分",
    "价格是¥1,250.50，约5km，3-5天，2个人": "价格是一千二百五十点五元，约五公里，三到五天，两个人",
    "电话13812345678": "电话幺三八幺二三四五六七八",
    "**重点**：1/3，-5℃，π≈3.14": "重点：三分之一，负五摄氏度，π约等于三点一四",
    "1,000元，1,007人，007，二〇二四": "一千元，一千零七人，零零七，二零二四",
    "5月1日-3日，2小时": "五月一日到三日，两小时",
    "第1名和GPT-4": "第一名和GPT 四",
}


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_written_as_it_is_spoken(text: str) -> None:
    assert to_spoken_form(text, "en") == ENGLISH[text]


@pytest.mark.parametrize("text", MANDARIN)
def test_mandarin_is_written_as_it_is_spoken(text: str) -> None:
    assert to_spoken_form(text, "zh-CN") == MANDARIN[text]


UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen".split()
UNITS += ["eighteen", "nineteen"]
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def read_english(words: str) -> int:
    """Read a cardinal number in words back."""
    total = group = 0
    for word in words.replace("-", " ").split():
        if word in UNITS:
            group += UNITS.index(word)
        elif word in TENS:
            group += 10 * (TENS.index(word) + 2)
        elif word == "hundred":
            group *= 100
        elif word != "and":
            total += group * 1000 ** (1 + ("thousand", "million", "billion", "trillion").index(word))
            group = 0
    return total + group


def read_mandarin(words: str) -> int:
    """Read a cardinal number in characters back."""
    total = group = digit = 0
    for char in words:
        if char in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(char)
        elif char in "十百千":
            group += (digit or 1) * 10 ** (1 + "十百千".index(char))
            digit = 0
        elif char == "万":
            total, group, digit = total + (group + digit) * 10**4, 0, 0
        else:
            total, group, digit = (total + group + digit) * 10**8, 0, 0
    return total + group + digit


def test_the_tables_are_as_long_as_they_should_be() -> None:
    assert len(PAIRS) >= 300 and len({(language, written) for language, written, _ in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("language", "written", "spoken"), PAIRS)
def test_text_is_spoken_as_in_the_table(language: str, written: str, spoken: str) -> None:
    assert to_spoken_form(written, language) == spoken
    assert to_spoken_form(spoken, language) == spoken


@given(st.integers(0, 10**12), st.sampled_from(["{}", "{:,}", "{:_}"]))
def test_numbers_are_read_back_equal(number: int, form: str) -> None:
    text = form.format(number)
    if not (form == "{}" and (1900 <= number < 2100)):  # these are years
        assert read_english(to_spoken_form(f"x {text} y", "en")[2:-2]) == number
    assert read_mandarin(to_spoken_form(f"甲，{text}，乙", "zh")[2:-2]) == number if form != "{:_}" else True


@given(st.integers(2, 10**9), st.sampled_from(["US${}", "A${}", "₹{}", "{} km/h", "{}℃", "{}%", "-{} kg"]))
def test_numbers_with_a_symbol_are_read_back_equal(number: int, form: str) -> None:
    words = to_spoken_form(form.format(number), "en").replace("minus ", "").split()
    count = next(place for place, word in enumerate(words) if not is_number(word))
    assert read_english(" ".join(words[:count])) == number


def is_number(word: str) -> bool:
    return all(part in (*UNITS, *TENS, "hundred", "thousand", "million", "billion", "and") for part in word.split("-"))


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        ("0", "零"), ("10", "十"), ("12", "十二"), ("110", "一百一十"), ("1005", "一千零五"), ("10203", "一万零二百零三"),
        ("100000", "十万"), ("1000010", "一百万零一十"), ("100000001", "一亿零一"), ("120000000", "一亿二千万"),
    ],
)  # fmt: skip
def test_mandarin_numbers(number: str, spoken: str) -> None:
    assert cardinal(number) == spoken


PIECES = st.sampled_from(
    "12|3.5|-|/|:|$|%|Dr.|pm|a.m.|e.g.| |\n|*|_|#|`|[|]|(|)|~|>|1st|etc.|km|2024|March|'|\"|,|.|!|St.|U.S.|&|@|www.".split("|")
    + "US$|A$|€|₹|¢|℃|℉|‰|K|"
    "C#|++|v2|2:30|:15|m/s²|kWh|⁻¹|10^|π|Ω|µ|№|¥|£|万|元|7:05|~|–|−|XIV|(0)|+44|'|′|㎏|ª|º|①|年|月|第|/h|p|h|s".split("|")
    + "x.com|½|²|。|两|é|e\u0301|\ufe0f|😀|    |- |1. |\\|+|=|°C|x|^|Ⅷ|٣|ﬁ|No.|https://|<b>|```|1,000|a/b".split("|")
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=14).map("".join))
WRITTEN = re.compile(r"[*_#`\[\]()|~<>\\\d\n$%&@+=/^{}]")
"""Whatever markdown, a number or a symbol is made of."""


@given(TEXTS, st.sampled_from(["en", "zh"]))
def test_rewriting_is_idempotent_leaves_nothing_written_and_empties_no_text(text: str, language: str) -> None:
    spoken = to_spoken_form(text, language)
    assert to_spoken_form(spoken, language) == spoken
    assert not WRITTEN.search(spoken)
    assert all(char in " '-.,?!;:。，、？！；：" or unicodedata.category(char)[0] in "LM" for char in spoken)
    assert bool(spoken) == bool(text.strip())


def test_long_runs_of_one_character_cost_no_more_than_prose() -> None:
    for piece in ("1", "[", "-a", "1/2", "w.w", "+1 ", "$1", "1:", "10 ", "1km", "1-", "a1.", "h1m", "K/", "#a", "1/m"):
        assert to_spoken_form(piece * 1000, "en") and to_spoken_form(piece * 1000, "zh")
