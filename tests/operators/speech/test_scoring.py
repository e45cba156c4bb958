"""The error rate counts words that differ, and no spellings that differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.operators.speech.scoring import normalise_for_scoring, score
from tests.support.spoken_pairs import PAIRS

SAME = [
    ("The train leaves at 7:30 p.m. on March 3, 2021.", "the train leaves at seven thirty PM on March 3rd, 2021"),
    ("forty-five dollars and fifty cents", "$45.50"),
    ("Go to example dot com.", "go to example.com"),
    ("The train leaves at seven thirty.", "The train leaves at 7.30."),
    ("at ten o'clock", "At 10 o'clock."),
    ("twenty twenty-four", "2024"),
    ("two thousand and twenty-four", "2024"),
    ("the colour of my neighbour", "The color of my neighbor"),
    ("I cannot, it's OK", "I can't; it is okay"),
    ("fifteen percent of eighty", "15% of 80"),
    ("a hundred years", "100 years"),
    ("Doctor Smith", "Dr. Smith"),
    ("minus five degrees Celsius", "-5°C"),
    ("the town was under water", "the town was underwater"),
]


ONE_PRONUNCIATION = {
    "en": [
        ("ten US dollars", "10 US dollars", "US$10", "ten U.S. dollars", "US $10", "$10", "ten American dollars"),
        ("ten dollars", "$10", "10 dollars", "Ten dollars.", "$10.00"),
        ("five Australian dollars", "5 Australian dollars", "A$5", "AUD 5"),
        ("five hundred rupees", "500 rupees", "₹500", "Rs 500"),
        ("twenty cents", "20 cents", "20¢"),
        ("ten dollars and fifty cents", "$10.50", "10 dollars and 50 cents", "ten dollars fifty cents", "10 dollars 50 cents"),
        ("four pounds and fifty pence", "£4.50", "4 pounds 50 pence"),
        ("two rupees and fifty paise", "₹2.50", "2 rupees 50 paise"),
        ("two thousand dollars", "$2,000", "2000 dollars", "$2000"),
        ("one point five billion dollars", "$1.5 billion", "1.5 billion dollars", "$1.5bn"),
        ("five to ten dollars", "$5-10", "5 to 10 dollars", "$5 to $10"),
        ("twenty-five degrees Celsius", "25 degrees Celsius", "25°C", "25 degrees celsius", "25℃"),
        ("minus five degrees", "negative five degrees", "-5 degrees", "-5°", "minus 5 degrees"),
        (
            "one hundred kilometers per hour",
            "100 km/h",
            "100 kilometers per hour",
            "a hundred kilometres per hour",
            "100 kilometres per hour",
        ),
        (
            "nine point eight meters per second squared",
            "9.8 m/s²",
            "9.8 meters per second squared",
            "9.8 metres per second squared",
        ),
        ("fifteen percent", "15%", "15 percent", "15 per cent"),
        ("five to ten percent", "5-10%", "5 to 10%", "5 to 10 percent"),
        ("one half cup", "1/2 cup", "half cup", "a half cup", "½ cup"),
        ("three quarters", "3/4", "three-quarters", "3 quarters"),
        ("two thirds", "2/3", "two-thirds", "2 thirds"),
        ("two and one half cups", "2½ cups", "two and a half cups", "2 and a half cups", "2 1/2 cups", "2.5 cups"),
        ("seven oh five", "7:05", "7.05", "seven o five", "7 05"),
        ("seven thirty PM", "7:30 p.m.", "7:30pm", "7.30 PM", "730 pm"),
        ("seven o'clock", "7:00", "7 o'clock", "seven o’clock"),
        ("nineteen hundred to twenty thirty", "19:00–20:30", "19:00 to 20:30", "1900 to 2030"),
        ("one hour and thirty minutes", "1h30m", "1 hour and 30 minutes", "one hour thirty minutes", "1 hour, 30 minutes"),
        ("two hours thirty minutes and fifteen seconds", "2:30:15", "2 hours, 30 minutes and 15 seconds"),
        ("March fifth, twenty twenty-four", "March 5, 2024", "2024-03-05", "March 5th 2024", "March 5 2024"),
        ("nineteen ninety to nineteen ninety-five", "1990–1995", "1990 to 1995", "1990-1995"),
        ("the nineteen nineties", "the 1990s", "the nineteen-nineties"),
        ("the eighties", "the 80s", "the 80's", "the '80s"),
        ("twenty-first", "21st"),
        ("Henry the eighth", "Henry VIII", "Henry the 8th"),
        ("World War two", "World War II", "World War 2"),
        ("five five five, one two three four", "555-1234", "555 1234", "5551234", "five five five one two three four"),
        ("two zero two, five five five, zero one four three", "202-555-0143", "(202) 555-0143", "2025550143", "202 555 0143"),
        ("nine one one", "911", "9-1-1", "9 1 1"),
        ("version two point zero point one", "v2.0.1", "version 2.0.1", "Version 2.0.1"),
        ("three to one", "3-1", "3 to 1", "3:1"),
        ("one million two hundred thousand", "1,200,000", "1.2 million", "1200000", "one million, two hundred thousand"),
        ("one hundred and fifty", "150", "one hundred fifty", "a hundred and fifty"),
        ("zero point five", "0.5", "point five", ".5"),
        ("C sharp and C plus plus", "C# and C++", "c sharp and C++"),
        ("a four K TV", "a 4K TV", "a 4 K TV", "a 4k TV"),
        ("five G", "5G", "5 G"),
        ("MP three", "MP3", "MP 3", "mp3"),
        ("ten eighty p", "1080p", "1080 p", "1080P"),
        ("Wi-Fi", "WiFi", "wifi", "Wi Fi"),
        ("info at example dot com", "info@example.com"),
        ("R and D", "R&D", "R & D"),
        ("number one", "#1", "No. 1", "number 1"),
        ("six point zero two times ten to the power of twenty-three", "6.02×10²³", "6.02 times 10 to the power of 23"),
        ("twelve kilowatt hours", "12 kWh", "12 kilowatt-hours", "12 kilowatt hours"),
        ("sixteen gigabytes", "16 GB", "16GB", "16 gigabytes"),
        ("twenty dollars per hour", "$20/hour", "$20 per hour", "20 dollars per hour"),
    ],
    "zh": [
        ("十美元", "US$10", "10美元", "$10"),
        ("五澳元", "A$5", "5澳元"),
        ("二十五摄氏度", "25℃", "25摄氏度", "25°C"),
        ("百分之五十", "50%", "百分之50"),
        ("百分之五到百分之十", "5-10%", "5%到10%", "百分之5到百分之10"),
        ("七点零五分", "7:05", "7点05分", "七点零五", "7点5分"),
        ("两点三十分", "2:30", "2点30分", "两点半", "2点半"),
        ("十九点整", "19:00", "19点", "十九点"),
        ("一三八一二三四五六七八", "13812345678", "138 1234 5678", "138-1234-5678", "幺三八幺二三四五六七八"),
        ("三比一", "3:1", "3比1"),
        ("一九九零到一九九五年", "1990-1995年", "1990到1995年", "一九九〇到一九九五年"),
        ("一百二十元", "120元", "¥120", "一百二十元。"),
        ("两万", "2万", "20000", "20,000", "二万"),
        ("四K电视", "4K电视", "4k电视"),
        ("C sharp", "C#", "c sharp"),
        ("四分之三", "3/4"),
        ("二零二四年三月五日", "2024年3月5日", "2024-03-05", "2024/3/5", "2024年3月5号"),
        ("一百公里每小时", "100km/h", "100公里每小时", "100公里/小时"),
        ("负五度", "-5度", "-5°", "零下5度"),
        ("一千五百", "1500", "1,500", "1.5k"),
        ("第一名", "第1名"),
        ("一小时三十分钟", "1h30m", "1小时30分钟", "一小时三十分"),
    ],
}
"""Rows of texts that sound alike: first as it is spoken, then as recognisers and authors write it."""
FORMS = [(language, row[0], other) for language, rows in ONE_PRONUNCIATION.items() for row in rows for other in row[1:]]
OTHER_WORDS = {
    "en": [
        ("$10", "$100"),
        ("ten dollars", "ten euros"),
        ("ten US dollars", "ten Canadian dollars"),
        ("US$10", "A$10"),
        ("7:05", "7:50"),
        ("-5 degrees", "5 degrees"),
        ("25°C", "25°F"),
        ("3/4", "4/3"),
        ("1990–1995", "1990-1996"),
        ("20¢", "$20"),
        ("5 km", "5 m"),
        ("1.5 million", "1.5 billion"),
        ("555-1234", "555-1243"),
        ("v2.0.1", "v2.1"),
        ("C#", "C++"),
        ("one hour and thirty minutes", "one hour thirty seconds"),
        ("half", "a quarter"),
        ("five percent", "five"),
    ],
    "zh": [
        ("十美元", "十欧元"),
        ("7:05", "7:50"),
        ("七点零五", "七点五"),
        ("5%", "5‰"),
        ("25℃", "25℉"),
        ("3:1", "1:3"),
        ("2024年", "2025年"),
    ],
}


@pytest.mark.parametrize(("language", "spoken", "written"), FORMS)
def test_what_sounds_alike_is_equal_in_both_directions(language: str, spoken: str, written: str) -> None:
    assert score(spoken, written, language).wer == 0.0 == score(written, spoken, language).wer


@pytest.mark.parametrize(("language", "one", "other"), [(lang, *pair) for lang, pairs in OTHER_WORDS.items() for pair in pairs])
def test_what_sounds_different_is_not_equal(language: str, one: str, other: str) -> None:
    assert score(one, other, language).wer > 0.0 < score(other, one, language).wer


def test_the_table_of_spoken_text_is_equal_to_what_is_written() -> None:
    for language, written, spoken in PAIRS:
        assert score(written, spoken, language).wer == 0.0 == score(spoken, written, language).wer, written


@pytest.mark.parametrize(("reference", "hypothesis"), SAME)
def test_numbers_case_punctuation_contractions_and_spellings_do_not_count(reference: str, hypothesis: str) -> None:
    assert score(reference, hypothesis, "en").wer == 0.0 == score(hypothesis, reference, "en").wer


def test_words_count() -> None:
    found = score("please turn the heating down before you leave the house", "please turn the heating on before you leave", "en")
    assert found.wer == pytest.approx(3 / 10) and found.missing_end == 2


def test_silence_in_place_of_words_is_an_error_rate_of_one() -> None:
    found = score("hello there", "", "en")
    assert (found.wer, found.missing_end) == (1.0, 2)


def test_an_utterance_of_a_filler_is_still_compared() -> None:
    assert score("Hmm.", "hmm", "en").wer == 0.0 and score("Hmm.", "no", "en").wer == 1.0


def test_mandarin_is_compared_by_character() -> None:
    assert score("今天是二零二四年三月五日，两个人。", "今天是2024年3月5日,2个人", "zh").wer == 0.0
    assert score("今天天气很好", "今天天气真好", "zh").wer == pytest.approx(1 / 6)


@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_every_text_equals_itself_and_its_normal_form(text: str, language: str) -> None:
    assert score(text, text, language).wer == 0.0
    assert normalise_for_scoring(text, language) == " ".join(normalise_for_scoring(text, language).split())
